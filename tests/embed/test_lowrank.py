"""`LowRank` equals the plain table that holds its products, and stores only the factors."""

import msgspec
import pytest
import torch

from clicksmith.embed.lowrank import LowRank, SlotRank
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.rows import row_stores
from clicksmith.embed.sockets import TableShape
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError
from clicksmith.models import MODELS
from clicksmith.testing.subject import Subject

SHAPE = TableShape((("user", 12), ("item", 9), ("city", 5), ("shop", 6)), 6)
RANKS = (SlotRank("shop", 2), SlotRank("user", 3), SlotRank("item", 2), SlotRank("strange", 1))
SLOTS = ("item", "user", "city", "user", "shop")


def ids(*leading: int) -> torch.Tensor:
    torch.manual_seed(1)
    sizes = dict(SHAPE.slots)
    return torch.stack([torch.randint(0, sizes[s], leading) for s in SLOTS], -1).int()


def built(rest=None) -> torch.nn.Module:
    torch.manual_seed(0)
    return LowRank(ranks=RANKS, rest=rest or Plain(std=1.0), std=1.0).build(SHAPE)


def by_hand(table: torch.nn.Module, slot: str, one: int) -> torch.Tensor:
    """The vector of an id, number by number."""
    if slot == "city":
        return table.rest(torch.tensor([one], dtype=torch.int32), ("city",))[0]
    i, k = table.places[slot]
    short, matrix = table.stores[i].weight[table.stores[i].starts[slot] + one], table.maps[i][k]
    return torch.stack([sum(short[r] * matrix[r, d] for r in range(len(short))) for d in range(SHAPE.dim)])


@pytest.mark.parametrize("leading", [(16,), (3, 4), (0,)])
def test_it_equals_products_by_hand(leading):
    table, asked = built(), ids(*leading)
    found = table(asked, SLOTS)
    assert found.shape == (*leading, len(SLOTS), SHAPE.dim)
    for got, row in zip(found.flatten(0, -3), asked.flatten(0, -2), strict=True):
        for vector, slot, one in zip(got, SLOTS, row.tolist(), strict=True):
            torch.testing.assert_close(vector, by_hand(table, slot, one))


def test_gradients_are_those_of_the_products():
    table, asked, weights = built(), ids(64), torch.randn(64, len(SLOTS), 6)
    (table(asked, SLOTS) * weights).pow(2).sum().backward()
    i, k = table.places["item"]
    short = table.stores[i].weight.detach().clone().requires_grad_()
    matrix = table.maps[i][k].detach().clone().requires_grad_()
    rows = short[table.stores[i].starts["item"] + asked[:, 0].long()]
    ((rows @ matrix) * weights[:, 0]).pow(2).sum().backward()
    own = slice(table.stores[i].starts["item"] + 1, table.stores[i].starts["item"] + 9)  # padding learns nothing
    torch.testing.assert_close(table.stores[i].weight.grad[own], short.grad[own])
    torch.testing.assert_close(table.maps[i].grad[k], matrix.grad)


def test_padding_stays_zero_when_everything_else_is_poisoned():
    table = built()
    with torch.no_grad():
        for maps in table.maps:
            maps.fill_(1e6)
    found = table(torch.zeros(2, len(SLOTS), dtype=torch.int32), SLOTS)
    assert torch.equal(found, torch.zeros_like(found))


def test_the_other_slots_keep_the_table_they_have():
    blocks = (MixedBlock("city", 2, 5, (1,)),)
    table, asked = built(Mixed(blocks=blocks, std=1.0)), ids(32)
    found = table(asked, SLOTS)[:, 2]
    torch.testing.assert_close(found, table.rest(asked[:, 2:3], ("city",))[:, 0], rtol=0, atol=0)
    rare = asked[:, 2] >= 2
    assert torch.equal(found[rare][:, [0, 2, 3, 4, 5]], torch.zeros(int(rare.sum()), 5))
    everything = LowRank(ranks=tuple(SlotRank(slot, 2) for slot, _ in SHAPE.slots)).build(SHAPE)
    assert everything.rest is None and everything(asked, SLOTS).shape == (32, len(SLOTS), 6)


def test_a_table_that_is_traced_reads_the_same():
    table = built()

    class Looked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table

        def forward(self, given):
            return self.table(given, SLOTS)

    exported = torch.export.export(Looked(), (ids(8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(exported.module()(ids(33)), table(ids(33), SLOTS))


def test_it_stores_the_factors_alone():
    table = built()
    short = sum(rows * rank for rows, rank in ((12, 3), (9, 2), (6, 2)))
    assert sum(store.weight.numel() for store in row_stores(table)) == short + 5 * 6  # city is whole
    assert sum(maps.numel() for maps in table.maps) == (3 + 2 + 2) * 6


def test_products_are_drawn_with_the_deviation_of_plain_vectors():
    torch.manual_seed(0)
    table = LowRank(ranks=(SlotRank("a", 8),), std=0.5).build(TableShape((("a", 20_000),), 16))
    found = table(torch.arange(1, 20_000, dtype=torch.int32).unsqueeze(-1), ("a",))
    assert found.detach().std().item() == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("name", MODELS)
def test_a_backbone_gives_the_logits_it_has_with_the_products(name):
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    plain = subject.model()
    if not isinstance(spec.embed.table, Plain) or plain.embedder.columns is None or spec.embed.dim < 2:
        return
    store = plain.embedder.columns.table.store
    ranks = tuple(SlotRank(slot, 1 + i % (spec.embed.dim - 1)) for i, (slot, _) in enumerate(store.slots) if i != 1)
    embed = msgspec.structs.replace(spec.embed, table=LowRank(ranks=ranks, std=0.1))
    low = subject.model(spec=msgspec.structs.replace(spec, embed=embed))
    table = low.embedder.columns.table
    main = "embedder.columns.table."
    own = {name: tensor for name, tensor in low.state_dict().items() if name.startswith(main)}
    low.load_state_dict(own | {n: t for n, t in plain.state_dict().items() if not n.startswith(main)})
    with torch.no_grad():
        for slot, rows in store.slots:
            every = torch.arange(rows, dtype=torch.int32).unsqueeze(-1)
            store.weight[store.starts[slot] : store.starts[slot] + rows] = table(every, (slot,))[:, 0]
    inputs = subject.inputs(32)
    torch.testing.assert_close(low(inputs).logits, plain(inputs).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ((SlotRank("user", 6),), r"'user' have rank 6; give each slot one rank, from 1 to 5: vectors have 6 columns"),
        ((SlotRank("user", 0),), "'user' have rank 0"),
        ((SlotRank("user", 2), SlotRank("user", 3)), "'user' have rank 2 and another one"),
    ],
)
def test_ranks_that_cannot_be_are_refused(ranks, words):
    with pytest.raises(CompositionError, match=words):
        LowRank(ranks=ranks).build(SHAPE)
