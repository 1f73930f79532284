"""The binary head against its formula."""

import pytest
import torch

from clicksmith.embed.shape import FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Task
from clicksmith.head.binary import Binary

SHAPE = FieldShape((), 4)
CLICK = (Task("click"),)


def head(hidden, tasks=CLICK, **options):
    return Binary(**options).build(hidden, SHAPE, tasks)


@pytest.mark.reference("binary")
def test_vector_and_logit_add_up():
    module = head(HiddenShape(3, logit=True))
    vector, logit = torch.randn(5, 3), torch.randn(5, 1)
    out = module(Hidden(vector, logit), None).logits
    for row in range(5):
        expected = sum(vector[row, j] * module.linear.weight[0, j] for j in range(3)) + module.linear.bias[0]
        torch.testing.assert_close(out[row, 0], expected + logit[row, 0])


def test_a_logit_alone_gets_a_constant():
    module = head(HiddenShape(0, logit=True))
    torch.nn.init.constant_(module.bias, 0.5)
    assert module(Hidden(None, torch.tensor([[1.0], [2.0]])), None).logits.tolist() == [[1.5], [2.5]]
    assert sum(p.numel() for p in module.parameters()) == 1


@pytest.mark.parametrize("width", [0, 3])
def test_without_a_bias_there_is_none(width):
    module = head(HiddenShape(width, logit=True), bias=False)
    assert sum(p.numel() for p in module.parameters()) == width


def test_groups_lie_side_by_side():
    module = head(HiddenShape(3, groups=2))
    vector = torch.randn(4, 2, 3)
    torch.testing.assert_close(module(Hidden(vector), None).logits, module.linear(vector.reshape(4, 6)))


def test_each_task_has_outputs_of_its_own():
    tasks = (Task("click"), Task("lifetime", 4))
    assert head(HiddenShape(3), tasks)(Hidden(torch.randn(2, 3)), None).logits.shape == (2, 5)
    module = head(HiddenShape(0, logit=True), tasks)
    torch.nn.init.normal_(module.bias)
    logit = torch.randn(2, 1)
    torch.testing.assert_close(module(Hidden(None, logit), None).logits, logit + module.bias)
