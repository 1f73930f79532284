"""Losses against loops."""

import math

import pytest
import torch

from clicksmith.batch.batch import Targets
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Task
from clicksmith.errors import CompositionError, DataError
from clicksmith.loss import BinaryCrossEntropy, SelfDistilled, Weighted
from clicksmith.parts import from_plain, to_plain

TASKS = (Task("click"), Task("buy"))


def random_case(seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, 2, generator=random)
    labels = torch.randint(0, 2, (5, 2), generator=random).float()
    return logits, labels, torch.rand(5, generator=random)


def looped(logits, labels, pos_weight):
    return [
        [
            -pos_weight * math.log(1 / (1 + math.exp(-z))) if y else -math.log(1 - 1 / (1 + math.exp(-z)))
            for z, y in zip(zs, ys, strict=True)
        ]
        for zs, ys in zip(logits.double().tolist(), labels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("pos_weight", [1.0, 3.0])
def test_cross_entropy_is_its_definition_per_row_and_task(pos_weight):
    logits, labels, _ = random_case()
    values = BinaryCrossEntropy(pos_weight=pos_weight).build(TASKS)(Output(logits), Targets(labels))
    assert torch.allclose(values.double(), torch.tensor(looped(logits, labels, pos_weight)).double(), rtol=1e-5)


def test_a_masked_label_adds_nothing_even_if_it_is_not_a_number():
    logits, labels, _ = random_case()
    logits.requires_grad_()
    mask = torch.ones(5, 2, dtype=torch.bool)
    mask[1, 0] = False
    poisoned = labels.clone()
    poisoned[1, 0] = float("nan")
    values = BinaryCrossEntropy().build(TASKS)(Output(logits), Targets(poisoned, mask))
    values.sum().backward()
    whole = BinaryCrossEntropy().build(TASKS)(Output(logits), Targets(labels))
    assert values[1, 0] == 0 and torch.equal(values[mask], whole[mask])
    assert logits.grad is not None and logits.grad[1, 0] == 0 and bool(logits.grad.isfinite().all())


def test_weights_multiply_rows():
    logits, labels, weight = random_case()
    plain = BinaryCrossEntropy().build(TASKS)(Output(logits), Targets(labels))
    for mean in (1.0, 4.0):
        values = Weighted(mean=mean).build(TASKS)(Output(logits), Targets(labels, weight=weight))
        for row in range(5):
            assert torch.allclose(values[row], plain[row] * weight[row] / mean)


def test_large_logits_are_stable_and_bf16_logits_are_widened():
    logits = torch.tensor([[-500.0], [500.0]])
    values = BinaryCrossEntropy().build((Task("click"),))(
        Output(logits.bfloat16()), Targets(torch.tensor([[1.0], [0.0]]))
    )
    assert values.dtype == torch.float32 and bool(((values - 500).abs() < 2).all())


def test_losses_are_values():
    loss = Weighted(inner=BinaryCrossEntropy(pos_weight=2.0))
    assert from_plain(to_plain(loss)) == loss


def test_messages():
    with pytest.raises(CompositionError, match="task 'hazard' has 4 outputs and binary_cross_entropy takes one; "):
        BinaryCrossEntropy().build((Task("hazard", 4),))
    with pytest.raises(DataError, match=r"the rows have 1 labels and the model 2 outputs \(click, buy\); "):
        BinaryCrossEntropy().build(TASKS)(Output(torch.zeros(3, 2)), Targets(torch.zeros(3, 1)))
    with pytest.raises(DataError, match="the loss weighs rows and they have no weight; declare a weight column"):
        Weighted().build(TASKS)(Output(torch.zeros(3, 2)), Targets(torch.zeros(3, 2)))


def test_self_distillation_teaches_each_branch_the_mean_and_the_mean_only_the_labels():
    random = torch.Generator().manual_seed(1)
    branches = (3 * torch.randn(2, 5, 2, generator=random)).double().requires_grad_()
    _, labels, _ = random_case()
    targets = Targets(labels.double())
    output = Output(branches.mean(0), {"branches": branches})
    found = SelfDistilled().build(TASKS)(output, targets)
    sigmoid = lambda z: 1 / (1 + math.exp(-z))  # noqa: E731
    z = branches.detach().tolist()
    for row in range(5):
        for task in range(2):
            p = sigmoid((z[0][row][task] + z[1][row][task]) / 2)
            wanted = -math.log(p if labels[row, task] else 1 - p)
            for branch in range(2):
                q = sigmoid(z[branch][row][task])
                wanted -= p * math.log(q) + (1 - p) * math.log(1 - q)
            assert found[row, task].item() == pytest.approx(wanted, rel=1e-5)
    found.sum().backward()
    for branch in range(2):  # d/dz_i = (p - y) / 2 + (q_i - p): the teacher gives no gradient
        p, q = output.logits.detach().sigmoid(), branches.detach()[branch].sigmoid()
        torch.testing.assert_close(branches.grad[branch], (p - labels) / 2 + q - p, rtol=1e-5, atol=1e-6)
    mask = torch.ones(5, 2, dtype=torch.bool)
    mask[2, 1] = False
    masked = SelfDistilled().build(TASKS)(output, Targets(labels.double(), mask=mask))
    assert masked[2, 1] == 0 and torch.equal(masked[mask], found[mask])
    with pytest.raises(CompositionError, match=r"this one's head gives none; use head=BranchMean"):
        SelfDistilled().build(TASKS)(Output(branches.mean(0)), targets)
