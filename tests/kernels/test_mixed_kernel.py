"""Rows of several widths: every function beside a loop over ids, with the kernels and with torch operations."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clicksmith.embed.mixed import Mixed, MixedBlock, MixedTable
from clicksmith.embed.rows import row_stores
from clicksmith.embed.sockets import TableShape
from clicksmith.kernels import mixed, native
from clicksmith.train.rows import row_optimizers

DIM = 18
SHAPE = TableShape((("user", 60), ("item", 45), ("city", 9)), DIM)
BLOCKS = (
    MixedBlock("user", 2, 20, tuple(range(17))),
    MixedBlock("user", 20, 33, (3, 1, 16)),
    MixedBlock("user", 33, 50, ()),
    MixedBlock("user", 50, 60, (5, 6, 7)),
    MixedBlock("item", 2, 30, (0, 1, 2)),
    MixedBlock("item", 30, 45, (17,)),
    MixedBlock("city", 3, 9, (0,)),
)
SLOTS = ("city", "user", "item", "user", "item")


def table() -> MixedTable:
    torch.manual_seed(0)
    return Mixed(blocks=BLOCKS, std=1.0).build(SHAPE)  # type: ignore[return-value]


def some_ids(*leading: int) -> torch.Tensor:
    torch.manual_seed(1)
    rows = dict(SHAPE.slots)
    return torch.stack([torch.randint(0, rows[slot], leading) for slot in SLOTS], -1).int()


def places(held: MixedTable) -> dict[tuple[str, int], tuple[int, int, tuple[int, ...]]]:
    """Return (slot, id) -> the store, its row and the columns of the numbers; without an entry there is no vector."""
    columns = {(slot, i): tuple(range(DIM)) for slot, rows in SHAPE.slots for i in range(1, rows)}
    for block in BLOCKS:
        columns |= {(block.slot, i): block.columns for i in range(block.first, block.last)}
    found: dict[tuple[str, int], tuple[int, int, tuple[int, ...]]] = {}
    for number, store in enumerate(row_stores(held)):
        row = -1
        for slot, first, last in store.runs:
            for i in range(first, last):
                row += 1
                if i:
                    found[slot, i] = (number, row, columns[slot, i])
    return found


def looped(held: MixedTable, ids: torch.Tensor) -> np.ndarray:
    """Return the vectors of ids [rows, columns], one by one."""
    at, stores = places(held), row_stores(held)
    out = np.zeros((*ids.shape, DIM), np.float32)
    for r, row in enumerate(ids.tolist()):
        for c, i in enumerate(row):
            if (SLOTS[c], i) in at:
                store, local, columns = at[SLOTS[c], i]
                out[r, c, list(columns)] = stores[store].weight[local].detach().numpy()
    return out


def test_vectors_are_those_of_a_loop(way: str):
    held, ids = table(), some_ids(300)
    assert (held(ids, SLOTS).detach().numpy() == looped(held, ids)).all()
    deep = some_ids(6, 50)
    assert (held(deep, SLOTS).detach().flatten(0, 1).numpy() == looped(held, deep.flatten(0, 1))).all()


def test_under_autocast_they_are_rounded_once(way: str):
    held, ids = table(), some_ids(300)
    with torch.autocast("cpu", torch.bfloat16):
        found = held(ids, SLOTS)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.from_numpy(looped(held, ids)).to(torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_sums_over_the_places_of_a_row(way: str, dtype: torch.dtype):
    held, ids = table(), some_ids(300)
    direction = torch.randn(300, len(SLOTS), DIM).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        (held(ids, SLOTS) * direction).sum().backward()
    at, stores = places(held), row_stores(held)
    expected = [np.zeros(store.weight.shape) for store in stores]
    for r, row in enumerate(ids.tolist()):
        for c, i in enumerate(row):
            if (SLOTS[c], i) in at:
                store, local, columns = at[SLOTS[c], i]
                expected[store][local] += direction[r, c, list(columns)].double().numpy()
    for store, sums in zip(stores, expected, strict=True):
        assert store.weight.grad is not None
        np.testing.assert_allclose(store.weight.grad.numpy(), sums, rtol=1e-5, atol=1e-5)


class Sink:
    """Remembers what it is told."""

    def __init__(self, *, catches_up: bool = False) -> None:
        self.catches_up, self.read, self.rows, self.grad = catches_up, set[int](), list[int](), list[torch.Tensor]()

    def before(self, rows: torch.Tensor) -> None:
        self.read |= set(rows.flatten().tolist()) - {-1}

    def collect(self, rows: torch.Tensor, grad: torch.Tensor) -> None:
        self.rows += rows.tolist()
        self.grad.append(grad)


@pytest.mark.parametrize("catches_up", [True, False])
def test_sinks_are_told_their_own_rows_each_once(way: str, catches_up: bool):
    held, ids = table(), some_ids(40)
    plain = table()
    plain(ids, SLOTS).pow(3).sum().backward()
    at, stores, sinks = places(held), row_stores(held), list[Sink]()
    for store in stores:
        sinks.append(Sink(catches_up=catches_up))
        store.sink = sinks[-1]
    held(ids, SLOTS).pow(3).sum().backward()
    touched = [at[SLOTS[c], i] for row in ids.tolist() for c, i in enumerate(row) if (SLOTS[c], i) in at]
    for number, (store, sink, alone) in enumerate(zip(stores, sinks, row_stores(plain), strict=True)):
        mine = {local for held_by, local, _ in touched if held_by == number}
        assert sink.read == (mine if catches_up else set())
        kept = [row for row in sink.rows if row >= 0]
        assert set(kept) == mine
        assert len(kept) == len(mine)
        assert store.weight.grad is None
        dense = torch.zeros_like(store.weight)
        grads = torch.cat(sink.grad)[[n for n, row in enumerate(sink.rows) if row >= 0]]
        dense[kept] = grads
        torch.testing.assert_close(dense, alone.weight.grad)


@pytest.mark.parametrize("update", ["dense", "exact"])
def test_row_optimisers_train_it_as_torch_does(way: str, update: Any):
    rows, dense = table(), table()
    adam, ours = torch.optim.Adam(dense.parameters(), lr=0.05), row_optimizers(rows, update=update)
    for step in range(12):
        torch.manual_seed(step)
        ids = torch.stack([torch.randint(0, dict(SHAPE.slots)[slot], (4,)) for slot in SLOTS], -1).int()
        for held in (rows, dense):
            adam.zero_grad()
            held(ids, SLOTS).pow(2).sum().backward()
            if held is rows:
                ours.step(0.05)
            else:
                adam.step()
    ours.flush()
    for mine, theirs in zip(row_stores(rows), row_stores(dense), strict=True):
        torch.testing.assert_close(mine.weight, theirs.weight, rtol=1e-5, atol=1e-6)


def test_second_derivatives(way: str):
    held, ids = table(), some_ids(20)
    stores, at = row_stores(held), places(held)
    weights = [store.weight for store in stores]
    first = torch.autograd.grad(held(ids, SLOTS).pow(3).sum(), weights, create_graph=True)
    second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), weights)
    read = [torch.zeros(len(store.weight), 1) for store in stores]
    for row in ids.tolist():
        for c, i in enumerate(row):
            if (SLOTS[c], i) in at:
                store, local, _ = at[SLOTS[c], i]
                read[store][local] += 1
    # a row that n places read has the gradient 3 n w^2, its square 9 n^2 w^4 the derivative 36 n^2 w^3
    for n, w, g, gg in zip(read, weights, first, second, strict=True):
        torch.testing.assert_close(g, 3 * n * w.square(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gg, 36 * n.square() * w**3, rtol=1e-4, atol=1e-3)


def test_sinks_get_merged_rows_when_a_second_derivative_is_wanted_elsewhere(way: str):
    held, ids, factor = table(), some_ids(40), torch.ones((), requires_grad=True)
    sinks = [Sink() for _ in row_stores(held)]
    for store, sink in zip(row_stores(held), sinks, strict=True):
        store.sink = sink
    with torch.autocast("cpu", torch.bfloat16):
        loss = (held(ids, SLOTS).float() * factor).pow(2).sum()
    torch.autograd.grad(
        loss, [factor, *(store.weight for store in row_stores(held))], create_graph=True, allow_unused=True
    )
    for sink in sinks:
        kept = [row for row in sink.rows if row >= 0]
        assert len(kept) == len(set(kept)) > 0
        assert all(grad.dtype == torch.float32 for grad in sink.grad)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_outside_their_slot_are_refused(way: str, dtype: torch.dtype):
    held, ids = table(), some_ids(40).to(dtype)
    for wrong in (-1, 60):
        bad = ids.clone()
        bad[17, 1] = wrong
        with pytest.raises(IndexError, match="outside its table"):
            held(bad, SLOTS)


def test_weights_of_another_shape_are_refused_and_of_another_type_read():
    held, ids = table(), some_ids(40)
    whole = {name: weight.detach() for name, weight in held.named_parameters()}
    one = dict(whole)
    one["stores.0.weight"] = one["stores.0.weight"][:1]
    with pytest.raises(IndexError, match="a store holds weights"):
        torch.func.functional_call(held, one, (ids, SLOTS))
    whole["stores.1.weight"] = whole["stores.1.weight"].to(torch.bfloat16)
    found = torch.func.functional_call(held, whole, (ids, SLOTS))
    torch.testing.assert_close(found, held(ids, SLOTS), rtol=1e-2, atol=1e-2)
    double = table().double()
    torch.testing.assert_close(double(ids, SLOTS).float(), table()(ids, SLOTS), rtol=0, atol=0)


def test_64_bit_ids_no_columns_and_no_rows(way: str):
    held, ids = table(), some_ids(40)
    assert torch.equal(held(ids.long(), SLOTS), held(ids, SLOTS))
    assert held(ids[:, :0], ()).shape == (40, 0, DIM)
    assert held(ids[:, :0].long(), ()).shape == (40, 0, DIM)
    held(ids[:0], SLOTS).sum().backward()
    assert all(not store.weight.grad.any() for store in row_stores(held))  # type: ignore[union-attr]


def test_it_may_be_transformed_or_traced_before_anything_else():
    ids = some_ids(8)
    held = table()
    weights = {name: weight.detach() for name, weight in held.named_parameters()}
    torch.func.grad(lambda w: torch.func.functional_call(held, w, (ids, SLOTS)).pow(2).sum())(weights)
    expected = looped(held, ids)
    assert (held(ids, SLOTS).detach().numpy() == expected).all()
    traced = torch.jit.trace(Looked(), (ids,))
    assert (traced(ids).detach().numpy() == expected).all()


class Looked(nn.Module):
    """A table that knows its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.held = table()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.held(ids, SLOTS)


def test_results_have_the_same_bits_for_any_number_of_threads():
    if native.library() is None:
        pytest.skip("the kernels are not built")
    ids, found = some_ids(5000), list[list[torch.Tensor]]()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            held = table()
            held(ids, SLOTS).pow(3).sum().backward()
            found.append([store.weight.grad for store in row_stores(held) if store.weight.grad is not None])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_both_ways_deal_rows_alike(monkeypatch: pytest.MonkeyPatch):
    if native.library() is None:
        pytest.skip("the kernels are not built")
    held, ids = table(), some_ids(200)
    shapes = tuple(tuple(store.weight.shape) for store in row_stores(held))
    pieces = mixed.Pieces(**dict(held.named_buffers(recurse=False)), shapes=shapes)  # type: ignore[arg-type]
    rows, _ = mixed.rows_of(pieces, ids, torch.tensor([held.numbers[slot] for slot in SLOTS]))
    grad = torch.randn(rows.numel(), DIM)
    fast, alone = mixed.split(pieces, rows.flatten(), grad), mixed.split(pieces, rows.flatten())
    monkeypatch.setattr(native, "library", lambda: None)
    for mine, bare, theirs in zip(fast, alone, mixed.split(pieces, rows.flatten(), grad), strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(bare[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("sinks", [False, True])
def test_frozen_stores_get_no_gradient(way: str, sinks: bool):
    held, ids = table(), some_ids(30)
    frozen, *others = row_stores(held)
    frozen.weight = nn.Parameter(frozen.weight.detach(), requires_grad=False)
    told = [Sink() for _ in row_stores(held)]
    for store, sink in zip(row_stores(held), told, strict=True):
        store.sink = sink if sinks else None
    held(ids, SLOTS).sum().backward()
    assert frozen.weight.grad is None
    assert not told[0].rows
    if sinks:
        assert all(sink.rows for sink in told[1:])
    else:
        assert all(store.weight.grad is not None for store in others)
