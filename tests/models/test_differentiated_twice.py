"""Gradients that are to be differentiated again (`create_graph=True`) are the gradients of training."""

import pytest
import torch
from torch import nn

from clicksmith.models import MODELS
from clicksmith.testing.subject import Subject, click_loss

CASES = [
    *((name, {}) for name in MODELS),
    ("autoint", {"norm": "pre_relu"}),
    ("autoint", {"residual": "identity", "width": 16}),
    ("autoint", {"residual": "identity", "width": 16, "norm": "pre_relu"}),
    ("dnn", {"batch_norm": True}),
    ("din", {"activation": "dice"}),
]


def gradients(name: str, options: dict, *, frozen: bool) -> list[dict[str, torch.Tensor]]:
    """Return the gradients of a model without dropout by its parameters, without and with a graph of their own."""
    subject = Subject(MODELS[name], MODELS[name](**options))
    model, batch = subject.model().train(), subject.batch(32)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if frozen:
        for part in (model.transforms, model.block, model.head):
            part.requires_grad_(False)
    by = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = []
    for again in (False, True):
        loss = click_loss(model(batch.inputs).logits, batch.targets.labels)
        grads = torch.autograd.grad(loss, list(by.values()), create_graph=again, allow_unused=True)
        found.append({name: g.detach() for name, g in zip(by, grads, strict=True) if g is not None})
    return found


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_they_are_the_same_whether_all_is_trained_or_the_tables_alone(name, options, frozen):
    plain, again = gradients(name, options, frozen=frozen)
    assert plain.keys() == again.keys()
    assert plain
    largest = max(float(g.abs().max()) for g in plain.values())
    for parameter, grad in plain.items():
        gap = float((again[parameter] - grad).abs().max())
        assert gap <= 1e-3 * float(grad.abs().max()) + 1e-5 * largest, parameter
