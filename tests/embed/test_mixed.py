"""`Mixed` equals the plain table whose other columns are held at zero, and stores only what is left."""

import pytest
import torch

from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.rows import row_stores
from clicksmith.embed.sockets import TableShape
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError

SHAPE = TableShape((("user", 12), ("item", 9), ("city", 5)), 6)
BLOCKS = (
    MixedBlock("user", 2, 5, (0, 1, 2)),
    MixedBlock("user", 5, 9, (1, 4)),
    MixedBlock("user", 9, 12, (0, 1, 2)),
    MixedBlock("item", 3, 9, ()),
    MixedBlock("strange", 2, 9, (0,)),
)
SLOTS = ("item", "user", "city", "user")


def mask() -> torch.Tensor:
    """1 where a number is kept: [rows of all slots, dim], slots one after another."""
    kept, starts = torch.ones(26, 6), {"user": 0, "item": 12, "city": 21}
    for block in BLOCKS[:-1]:
        rows = slice(starts[block.slot] + block.first, starts[block.slot] + block.last)
        kept[rows] = 0.0
        kept[rows, list(block.columns)] = 1.0
    return kept


def pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    """The plain table with masked numbers, and the mixed one with the same numbers."""
    torch.manual_seed(0)
    plain, mixed = Plain(std=1.0).build(SHAPE), Mixed(blocks=BLOCKS).build(SHAPE)
    with torch.no_grad():
        plain.store.weight.mul_(mask())
        for i, store in enumerate(mixed.stores):
            for slot, pieces in mixed.pieces[i].items():
                for piece in pieces:
                    rows = slice(plain.store.starts[slot] + piece.first, plain.store.starts[slot] + piece.last)
                    at = store.starts[slot] + piece.start
                    store.weight[at : at + piece.last - piece.first] = plain.store.weight[rows][:, mixed.kinds[i]]
    return plain, mixed


def ids(*leading: int) -> torch.Tensor:
    torch.manual_seed(1)
    sizes = dict(SHAPE.slots)
    return torch.stack([torch.randint(0, sizes[s], leading) for s in SLOTS], -1).int()


@pytest.mark.parametrize("leading", [(64,), (7, 5), (0,)])
def test_it_equals_the_masked_plain_table(leading):
    plain, mixed = pair()
    torch.testing.assert_close(mixed(ids(*leading), SLOTS), plain(ids(*leading), SLOTS), rtol=0, atol=0)


def test_gradients_are_those_of_the_masked_table():
    plain, mixed = pair()
    weights = torch.randn(64, 4, 6)
    for table in (plain, mixed):
        (table(ids(64), SLOTS) * weights).pow(2).sum().backward()
    expected = plain.store.weight.grad * mask()
    for i, store in enumerate(mixed.stores):
        for slot, pieces in mixed.pieces[i].items():
            for piece in pieces:
                rows = slice(plain.store.starts[slot] + piece.first, plain.store.starts[slot] + piece.last)
                at = store.starts[slot] + piece.start
                found = store.weight.grad[at : at + piece.last - piece.first]
                torch.testing.assert_close(found, expected[rows][:, mixed.kinds[i]])


def test_it_stores_what_is_left_and_a_padding_row_per_store_and_slot():
    mixed = Mixed(blocks=BLOCKS).build(SHAPE)
    kept = int(mask().sum()) - 3 * 6  # padding rows of the plain table
    paddings = sum(len(store.slots) * store.dim for store in row_stores(mixed))
    assert sum(store.weight.numel() for store in row_stores(mixed)) == kept + paddings


def test_without_blocks_it_is_the_plain_table():
    plain, mixed = Plain(std=1.0).build(SHAPE), Mixed(blocks=()).build(SHAPE)
    with torch.no_grad():
        mixed.stores[0].weight.copy_(plain.store.weight)
    torch.testing.assert_close(mixed(ids(32), SLOTS), plain(ids(32), SLOTS), rtol=0, atol=0)


def test_a_table_without_columns_gives_zeros():
    table = Mixed(blocks=(MixedBlock("a", 1, 4, ()),)).build(TableShape((("a", 4),), 3))
    assert table(torch.tensor([[1], [3]], dtype=torch.int32), ("a",)).tolist() == [[[0.0] * 3]] * 2
    assert not list(table.parameters())


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (MixedBlock("user", 5, 13, (0,)), "ends beyond its 12 ids"),
        (MixedBlock("user", 5, 5, (0,)), "is empty"),
        (MixedBlock("user", 5, 7, (6,)), r"columns \(6,\) of 6"),
    ],
)
def test_blocks_that_cannot_be_are_refused(block, words):
    with pytest.raises(CompositionError, match=words):
        Mixed(blocks=(block,)).build(SHAPE)
