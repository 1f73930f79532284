"""`Mixed` equals the plain table whose other columns are held at zero, and stores only what is left."""

import msgspec
import pytest
import torch

from backbones import WITH_VECTORS
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.rows import row_stores
from clicksmith.embed.sockets import TableShape
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError
from clicksmith.models import MODELS
from clicksmith.testing.subject import Subject, click_loss

SHAPE = TableShape((("user", 12), ("item", 9), ("city", 5)), 6)
BLOCKS = (
    MixedBlock("user", 2, 5, (0, 1, 2)),
    MixedBlock("user", 5, 9, (1, 4)),
    MixedBlock("user", 9, 12, (0, 1, 2)),
    MixedBlock("item", 3, 9, ()),
    MixedBlock("strange", 2, 9, (0,)),
)
SLOTS = ("item", "user", "city", "user")


WHOLE_FIRST = (
    MixedBlock("user", 2, 5, (0, 1, 2, 3, 4, 5)),
    MixedBlock("user", 5, 12, (3,)),
    MixedBlock("item", 1, 3, ()),
)
"""The block of the first known ids is the second of its store; that of another slot has no columns."""


def mask(blocks: tuple[MixedBlock, ...] = BLOCKS) -> torch.Tensor:
    """1 where a number is kept: [rows of all slots, dim], slots one after another."""
    kept, starts = torch.ones(26, 6), {"user": 0, "item": 12, "city": 21}
    for block in (block for block in blocks if block.slot in starts):
        rows = slice(starts[block.slot] + block.first, starts[block.slot] + block.last)
        kept[rows] = 0.0
        kept[rows, list(block.columns)] = 1.0
    return kept


def pair(blocks: tuple[MixedBlock, ...] = BLOCKS) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The plain table with masked numbers, and the mixed one with the same numbers."""
    torch.manual_seed(0)
    plain, mixed = Plain(std=1.0).build(SHAPE), Mixed(blocks=blocks).build(SHAPE)
    with torch.no_grad():
        plain.store.weight.mul_(mask(blocks))
    mixed.fill(plain.store.weight.detach(), plain.store.starts)
    return plain, mixed


def ids(*leading: int) -> torch.Tensor:
    torch.manual_seed(1)
    sizes = dict(SHAPE.slots)
    return torch.stack([torch.randint(0, sizes[s], leading) for s in SLOTS], -1).int()


@pytest.mark.parametrize("blocks", [BLOCKS, WHOLE_FIRST])
@pytest.mark.parametrize("leading", [(64,), (7, 5), (0,)])
def test_it_equals_the_masked_plain_table(leading, blocks):
    plain, mixed = pair(blocks)
    torch.testing.assert_close(mixed(ids(*leading), SLOTS), plain(ids(*leading), SLOTS), rtol=0, atol=0)


@pytest.mark.parametrize("blocks", [BLOCKS, WHOLE_FIRST])
def test_gradients_are_those_of_the_masked_table(blocks):
    plain, mixed = pair(blocks)
    weights = torch.randn(64, 4, 6)
    for table in (plain, mixed):
        (table(ids(64), SLOTS) * weights).pow(2).sum().backward()
    expected = plain.store.weight.grad * mask(blocks)
    held = Mixed(blocks=blocks).build(SHAPE)
    held.fill(expected, plain.store.starts)
    for mine, theirs in zip(mixed.stores, held.stores, strict=True):
        real = theirs.weight != 0  # padding rows of `held` were drawn as zeros
        torch.testing.assert_close(mine.weight.grad[real], theirs.weight[real], rtol=0, atol=0)


def test_a_table_that_is_traced_reads_the_same():
    plain, mixed = pair()
    exported = torch.export.export(_Looked(mixed), (ids(8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(exported.module()(ids(33)), plain(ids(33), SLOTS), rtol=0, atol=0)


class _Looked(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, ids):
        return self.table(ids, SLOTS)


@pytest.mark.parametrize("steps", [4, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WITH_VECTORS)
def test_training_with_it_is_training_the_masked_table(name, steps):
    """Steps of Adam on every backbone: the numbers that are kept go the same way."""
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    plain = subject.model()
    dim, slots = spec.embed.dim, dict(plain.embedder.columns.table.store.slots)
    blocks = tuple(MixedBlock(s, 2, max(3, n // 2), (0,) if dim < 3 else (0, 2)) for s, n in slots.items() if n > 2)
    blocks += tuple(MixedBlock(s, n // 2, n, ()) for s, n in slots.items() if n > 6)
    blocks = tuple(sorted(blocks, key=lambda b: (b.slot, b.first)))
    embed = msgspec.structs.replace(spec.embed, table=Mixed(blocks=blocks))
    mixed = subject.model(spec=msgspec.structs.replace(spec, embed=embed))
    store, table = plain.embedder.columns.table.store, mixed.embedder.columns.table
    kept = torch.ones_like(store.weight)
    for block in blocks:
        rows = slice(store.starts[block.slot] + block.first, store.starts[block.slot] + block.last)
        kept[rows] = 0.0
        kept[rows, list(block.columns)] = 1.0
    with torch.no_grad():
        store.weight.mul_(kept)
    table.fill(store.weight.detach(), store.starts)
    main = "embedder.columns.table."
    own = {name: tensor for name, tensor in mixed.state_dict().items() if name.startswith(main)}
    mixed.load_state_dict(own | {n: t for n, t in plain.state_dict().items() if not n.startswith(main)})
    batch = subject.batch(24)
    assert torch.equal(mixed(batch.inputs).logits, plain(batch.inputs).logits)
    store.weight.register_hook(lambda grad: grad * kept)  # the mask of a refit
    for model in (plain, mixed):
        adam = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(steps):
            adam.zero_grad()
            seen = subject.batch(24, seed=step)
            click_loss(model(seen.inputs).logits, seen.targets.labels).backward()
            adam.step()
    torch.testing.assert_close(mixed(batch.inputs).logits, plain(batch.inputs).logits, rtol=1e-4, atol=1e-5)


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
