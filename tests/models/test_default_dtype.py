"""Models of float32 do not ask what torch's default type is."""

import pytest
import torch
from torch import Tensor

from clicksmith.batch.batch import Batch
from clicksmith.kernels import dense, settled
from clicksmith.kernels.replay import Replay
from clicksmith.models import MODELS
from clicksmith.models.spec import CTRModel
from clicksmith.parts import edited
from clicksmith.testing.subject import Subject, click_loss

MIXED = {"kind": "mixed", "blocks": [{"slot": "user", "first": 3, "last": 20, "columns": [0, 2]}]}
CASES = [
    ("autoint", {"norm": "pre_relu"}, {}),
    ("afn", {}, {}),
    ("dcnv2", {}, {}),
    ("din", {"attention_dropout": 0.2}, {}),
    ("dlrm", {}, {}),
    ("xdeepfm", {}, {}),
    ("dnn", {"batch_norm": True}, {"embed.table": MIXED}),
]


def computed(model: CTRModel, batch: Batch, precision: torch.dtype) -> list[Tensor]:
    """Return the gradients of a step and the logits of settled weights, with nothing known of earlier probes."""
    for probe in (dense._pointwise, dense.multiplies, settled._packs):
        probe.cache_clear()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        loss = click_loss(model.train()(batch.inputs).logits.float(), batch.targets.labels)
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        settled.settle(model.eval())
        with torch.inference_mode():
            logits = model(batch.inputs).logits
    return [logits, *(g for g in grads if g is not None)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "options", "changes"), CASES, ids=str)
def test_gradients_and_logits_are_the_same_under_a_default_of_float64(name, options, changes, precision):
    subject = Subject(MODELS[name], edited(MODELS[name](**options), changes))
    model, other, batch = subject.model(), subject.model(), subject.batch(32)
    try:
        torch.set_default_dtype(torch.float64)
        found = computed(other, batch, precision)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, expected in zip(found, computed(model, batch, precision), strict=True):
        torch.testing.assert_close(one, expected, rtol=0, atol=0)


def test_the_table_of_missed_steps_is_of_float32_whatever_the_default():
    replay = Replay((0.9, 0.999), 1e-8)
    replay.advance(0.1)
    try:
        torch.set_default_dtype(torch.float64)
        other = Replay((0.9, 0.999), 1e-8)
        other.load_state_dict(replay.state_dict())
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(other.table, replay.table, rtol=0, atol=0)
