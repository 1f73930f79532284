"""MaskNet's blocks against loops over blocks and rows."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.masks import MaskBlocks, NormedFlat

SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(3)), 4, extra=2)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter)
    return module


def fields():
    return Fields(torch.randn(5, 3, 4, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64))


def normed(x, scale, shift):
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * scale + shift


@pytest.mark.reference("mask_blocks")
@pytest.mark.parametrize("norm", [True, False])
def test_each_block_masks_the_vector_and_maps_it(norm):
    width, units, count = 6, 5, 3
    module = randomly(MaskBlocks(units=units, count=count, ratio=0.5, norm=norm).build(width, SHAPE))
    given, x = fields(), torch.randn(5, width, dtype=torch.float64)
    expected = []
    for b in range(5):
        flat = torch.cat([*given.vectors[b], given.extra[b]])
        blocks = []
        for c in range(count):
            rows = slice(3 * c, 3 * c + 3)
            inner = torch.relu(module.gather.weight[rows] @ flat + module.gather.bias[rows])
            mask = inner @ module.spread.weight[c] + module.spread.bias[c]
            out = (mask * x[b]) @ module.hidden.weight[c]
            out = normed(out, module.norm.scale[c], module.norm.shift[c]) if norm else out + module.hidden.bias[c]
            blocks.append(torch.relu(out))
        expected.append(torch.cat(blocks))
    torch.testing.assert_close(module(x, given), torch.stack(expected))


@pytest.mark.reference("normed_flat")
def test_the_flat_vectors_are_normalised_field_by_field():
    module, given = randomly(NormedFlat().build(SHAPE)), fields()
    for b in range(5):
        parts = [normed(given.vectors[b, f], module.norm.scale[f], module.norm.shift[f]) for f in range(3)]
        torch.testing.assert_close(module(given).vector[b], torch.cat([*parts, given.extra[b]]))
    assert NormedFlat().out(SHAPE).width == 14


def test_nonsense_sizes_are_refused():
    with pytest.raises(
        CompositionError, match=r"^mask blocks of units=64, count=0, ratio=2\.0: all must be positive num"
    ):
        MaskBlocks(count=0).width(3)


def test_each_mask_is_drawn_as_if_it_stood_alone():
    torch.manual_seed(0)
    gather = MaskBlocks(units=5, count=8, ratio=2.0).build(20, SHAPE).gather.weight
    alone = (2 / (SHAPE.flat + 40)) ** 0.5  # Xavier-normal of one block: 40 outputs, not 320
    assert gather.std().item() == pytest.approx(alone, rel=0.1)
