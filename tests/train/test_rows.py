import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clicksmith.embed.rows import RowStore
from clicksmith.errors import UsageError
from clicksmith.kernels import native, ops
from clicksmith.train.rows import RowAdagrad, RowAdam, RowOptimizers, RowSGD, row_optimizers

SLOTS = (("a", 40), ("b", 25))


def store_of(dim: int = 10, *, std: float = 0.1) -> RowStore:
    torch.manual_seed(3)
    return RowStore(SLOTS, dim, std=std)


def batches(steps: int, rows: int = 30, *, seed: int = 0, low: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Ids [rows, 2] of both slots, skewed so that many rows are missed for long, and a direction for the loss."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(steps):
        a = (torch.rand(rows, generator=random) ** 3 * 40).long().clamp(low, 39)
        b = (torch.rand(rows, generator=random) ** 3 * 25).long().clamp(low, 24)
        made.append((torch.stack([a, b], 1).int(), torch.randn(rows, 2, generator=random)))
    return made


def loss_of(vectors: Tensor, direction: Tensor) -> Tensor:
    """A loss whose gradient depends on the weights, so that a wrong weight shows."""
    return ((vectors.sum(-1) - direction) ** 2).mean()


def dense_reference(store: RowStore, data: list[Any], optimizer: Any, lr: Any, l2: float = 0.0) -> Tensor:
    """Plain torch in float64: dense gradients, torch's optimiser, L2 in the loss."""
    weight = nn.Parameter(store.weight.detach().double())
    steps = optimizer([weight])
    offsets = store.offsets(("a", "b"))
    for i, (ids, direction) in enumerate(data):
        steps.param_groups[0]["lr"] = lr(i)
        loss = loss_of(weight[ids + offsets] * (ids != 0).unsqueeze(-1), direction.double())
        (loss + l2 / 2 * weight.square().sum()).backward()
        steps.step()
        steps.zero_grad()
    return weight.detach()


def train(store: RowStore, optimizer: Any, data: list[Any], lr: Any) -> Tensor:
    offsets = store.offsets(("a", "b"))
    for i, (ids, direction) in enumerate(data):
        loss_of(store(ids, offsets), direction).backward()
        optimizer.step(lr(i))
    optimizer.flush()
    return store.weight.detach()


def change(start: Tensor, ours: Tensor, expected: Tensor) -> float:
    """Distance of two results relative to how far the weights moved."""
    return float((ours.double() - expected).norm() / (expected - start).norm())


@pytest.mark.parametrize("dim", [1, 10, 16, 17])
@pytest.mark.parametrize("update", ["exact", "dense"])
def test_adam_equals_the_dense_adam_of_torch(way: str, dim: int, update: Any):
    store, data = store_of(dim), batches(60)
    start = store.weight.detach().double()
    expected = dense_reference(store, data, torch.optim.Adam, lambda i: 0.01 / (1 + i % 7))
    ours = train(store, RowAdam(store, update=update), data, lambda i: 0.01 / (1 + i % 7))
    assert change(start, ours, expected) < 1e-4


def test_exact_adam_brings_back_rows_missed_for_more_than_400_steps(way: str):
    store = store_of(16)
    start = store.weight.detach().double()
    first = (torch.tensor([[7, 9], [8, 3]], dtype=torch.int32), torch.ones(2, 2))
    between = [(torch.tensor([[2, 2], [2, 2]], dtype=torch.int32), torch.ones(2, 2))] * 450
    data = [first, *between, first, first]
    expected = dense_reference(store, data, torch.optim.Adam, lambda i: 0.01 if i < 200 else 0.003)
    ours = train(store, RowAdam(store, update="exact"), data, lambda i: 0.01 if i < 200 else 0.003)
    assert change(start, ours, expected) < 1e-4
    assert change(start[[7, 8]], ours[[7, 8]], expected[[7, 8]]) < 1e-4


def test_exact_adam_holds_where_gradients_are_as_small_as_epsilon(way: str):
    store, data = store_of(10), batches(40)
    start = store.weight.detach().double()
    tiny = [(ids, direction) for ids, direction in data]
    expected = dense_reference(store, tiny, lambda p: torch.optim.Adam(p, eps=1e-3), lambda _: 0.01)
    ours = train(store, RowAdam(store, update="exact", eps=1e-3), tiny, lambda _: 0.01)
    assert change(start, ours, expected) < 1e-3


def test_lazy_adam_moves_touched_rows_only(way: str):
    store = store_of()
    before, optimizer = store.weight.detach().clone(), RowAdam(store, update="lazy")
    train(store, optimizer, [(torch.tensor([[5, 6]], dtype=torch.int32), torch.ones(1, 2))] * 3, lambda _: 0.1)
    moved = (store.weight.detach() != before).any(1)
    assert moved.nonzero().flatten().tolist() == [5, 46]


def test_dense_l2_reaches_every_row_but_padding(way: str):
    store, data = store_of(), batches(20)
    start = store.weight.detach().double()
    expected = dense_reference(store, data, torch.optim.Adam, lambda _: 0.01, l2=0.05)
    ours = train(store, RowAdam(store, update="dense", l2=0.05), data, lambda _: 0.01)
    assert change(start, ours, expected) < 1e-4
    assert ours[[0, 40]].abs().max() == 0


def test_adagrad_and_sgd_equal_the_dense_ones_of_torch(way: str):
    for made, reference in (
        (RowAdagrad, lambda p: torch.optim.Adagrad(p, lr=1.0)),
        (RowSGD, lambda p: torch.optim.SGD(p, lr=1.0)),
    ):
        store, data = store_of(17), batches(15)
        start = store.weight.detach().double()
        expected = dense_reference(store, data, reference, lambda _: 0.05)
        assert change(start, train(store, made(store), data, lambda _: 0.05), expected) < 1e-5


def test_l2_of_touched_rows_and_mini_batch_aware_l2_are_the_explicit_penalty(way: str):
    counts = torch.arange(65, dtype=torch.float32)
    ids = torch.tensor([[5, 6], [5, 0], [9, 6]], dtype=torch.int32)
    for mode, factor in (("touched", torch.ones(65)), ("batch", 1 / counts.clamp(min=1))):
        store = store_of()
        weight, offsets = store.weight.detach().double(), store.offsets(("a", "b"))
        optimizer = RowSGD(store, l2=0.3, l2_mode=mode, counts=counts if mode == "batch" else None)  # type: ignore[arg-type]
        (store(ids, offsets) * 0).sum().backward()
        optimizer.step(0.1)
        touched = [5, 9, 46]
        expected = weight.clone()
        expected[touched] -= 0.1 * 0.3 * factor[touched, None].double() * weight[touched]
        torch.testing.assert_close(store.weight.detach().double(), expected, atol=1e-8, rtol=1e-6)


def test_padding_rows_get_no_gradient_even_when_poisoned(way: str):
    for made in (lambda s: RowAdam(s, update="lazy"), lambda s: RowAdam(s, update="exact"), RowSGD, RowAdagrad):
        store = store_of()
        optimizer = made(store)
        with torch.no_grad():
            store.weight[[0, 40]] = 1e3
        ids = torch.tensor([[0, 3], [4, 0]], dtype=torch.int32)
        loss_of(store(ids, store.offsets(("a", "b"))), torch.ones(2, 2)).backward()
        optimizer.step(0.1)
        optimizer.flush()
        assert (store.weight[[0, 40]] == 1e3).all()


def test_several_collects_before_a_step_add_up(way: str):
    whole, parts = store_of(), store_of()
    one, two = RowAdam(whole, update="exact"), RowAdam(parts, update="exact")
    for ids, direction in batches(5, rows=40):
        offsets = whole.offsets(("a", "b"))
        loss_of(whole(ids, offsets), direction).backward()
        for half in (slice(0, 20), slice(20, 40)):
            (loss_of(parts(ids[half], offsets), direction[half]) / 2).backward()
        assert one.square_sum() == pytest.approx(two.square_sum(), rel=1e-5)
        one.step(0.01)
        two.step(0.01)
    torch.testing.assert_close(whole.weight, parts.weight, atol=1e-6, rtol=1e-4)


def test_the_norm_and_the_scale_are_those_of_the_dense_gradient(way: str):
    sparse, dense = store_of(), store_of()
    optimizer = RowSGD(sparse)
    (ids, direction) = batches(1)[0]
    offsets = sparse.offsets(("a", "b"))
    loss_of(sparse(ids, offsets), direction).backward()
    loss_of(dense(ids, offsets), direction).backward()
    grad = dense.weight.grad
    assert grad is not None
    assert optimizer.square_sum() == pytest.approx(float(grad.double().square().sum()), rel=1e-5)
    optimizer.step(1.0, scale=0.25)
    torch.testing.assert_close(sparse.weight.detach(), dense.weight.detach() - 0.25 * grad, atol=1e-7, rtol=1e-5)
    assert optimizer.square_sum() == 0.0


def test_one_and_two_threads_give_the_same_bits():
    if native.library() is None:
        pytest.skip("the kernels are not built")
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            store = store_of(16)
            results.append(train(store, RowAdam(store, update="exact"), batches(10, rows=3000), lambda _: 0.01).clone())
        finally:
            torch.set_num_threads(1)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("update", ["exact", "dense", "lazy"])
def test_a_resumed_optimiser_gives_the_same_bits(way: str, update: Any):
    data = batches(12)
    straight, stopped = store_of(), store_of()
    whole, first = RowAdam(straight, update=update), RowAdam(stopped, update=update)
    expected = train(straight, whole, data[:6], lambda _: 0.01)
    expected = train(straight, whole, data[6:], lambda _: 0.01)
    train(stopped, first, data[:6], lambda _: 0.01)
    weights, state = copy.deepcopy(stopped.state_dict()), copy.deepcopy(first.state_dict())
    again = store_of(std=0.7)
    again.load_state_dict(weights)
    second = RowAdam(again, update=update)
    second.load_state_dict(state)
    assert torch.equal(train(again, second, data[6:], lambda _: 0.01), expected)


def test_weights_read_between_steps_are_up_to_date_where_they_were_looked_up(way: str):
    store, data = store_of(), batches(30)
    reference = dense_reference(store, data, torch.optim.Adam, lambda _: 0.01)
    start = store.weight.detach().double()
    optimizer, offsets = RowAdam(store, update="exact"), store.offsets(("a", "b"))
    for ids, direction in data:
        loss_of(store(ids, offsets), direction).backward()
        optimizer.step(0.01)
    every = torch.arange(1, 25, dtype=torch.int32).unsqueeze(1).expand(-1, 2)
    with torch.no_grad():
        read = store(every, offsets)
    torch.testing.assert_close(
        read.double(), reference[every + offsets], atol=float((reference - start).std()) * 1e-2, rtol=0
    )


def test_row_optimizers_finds_every_store_and_spares_gates_the_l2():
    model = nn.ModuleDict({"table": store_of(), "gate": RowStore(SLOTS, 1, group="gate")})
    optimizers = row_optimizers(model, l2=0.1)
    assert [o.decay.l2 for o in optimizers.optimizers] == [0.1, 0.0]
    assert [o.store for o in optimizers.optimizers] == [model["table"], model["gate"]]
    assert RowOptimizers(optimizers.optimizers).square_sum() == 0.0
    optimizers.detach()
    assert all(o.store.sink is None for o in optimizers.optimizers)


def test_l2_means_one_thing_in_all_tables_of_a_model(monkeypatch):
    model = nn.ModuleDict({"wide": store_of(16), "narrow": store_of(1), "gate": RowStore(SLOTS, 1, group="gate")})
    wide, narrow = model["wide"].weight.numel(), model["narrow"].weight.numel()

    def modes(l2: float) -> list[tuple[str, str]]:
        made = row_optimizers(model, l2=l2).optimizers
        return [(o.update, o.l2_mode) for o in made if isinstance(o, RowAdam)]

    assert modes(0.1) == [("dense", "dense")] * 3
    monkeypatch.setattr("clicksmith.train.rows.DENSE_LIMIT", (wide + narrow) // 2)
    assert modes(0.1) == [("exact", "touched"), ("exact", "touched"), ("dense", "dense")]
    assert modes(0.0) == [("exact", "touched"), ("dense", "dense"), ("dense", "dense")]


def test_impossible_settings_say_what_to_do():
    with pytest.raises(UsageError, match=r"l2_mode='dense' does not go with update='exact': L2 on all rows needs"):
        RowAdam(store_of(), update="exact", l2=0.1, l2_mode="dense")
    with pytest.raises(UsageError, match=r"betas \(0.99, 0.9\) do not allow the exact row update"):
        RowAdam(store_of(), update="exact", betas=(0.99, 0.9))
    with pytest.raises(UsageError, match=r"l2_mode='batch' with counts missing; mini-batch-aware L2 is"):
        RowSGD(store_of(), l2=0.1, l2_mode="batch")
    with pytest.raises(
        UsageError, match=r"l2_mode='batch' divides by .* not known of slot 'b' .*use l2_mode='touched'"
    ):
        row_optimizers(store_of(), l2=0.1, counts={"a": torch.ones(40)})
    optimizer = RowAdam(store_of(), update="lazy")
    with pytest.raises(UsageError, match=r"the saved row optimiser is exact, this one is update='lazy'"):
        optimizer.load_state_dict(RowAdam(store_of(), update="exact").state_dict())
    with pytest.raises(UsageError, match=r"the saved state has 0 tables, the model 1; load it into the model"):
        row_optimizers(store_of()).load_state_dict({})


def test_merge_of_a_batch_that_is_one_row_all_over(way: str):
    grad = torch.randn(5000, 16)
    rows, sums = ops.merge(torch.full((5000,), 17), grad)
    torch.testing.assert_close(sums[rows == 17].double(), grad.double().sum(0, keepdim=True), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("bad", [65, 10**6])
def test_an_id_outside_the_table_is_an_error_with_a_row_optimiser_too(way: str, bad: int):
    store = store_of()
    optimizer = RowAdam(store, update="exact")
    for ids, direction in batches(2):
        loss_of(store(ids, store.offsets(("a", "b"))), direction).backward()
        optimizer.step(0.01)
    ids[3, 0] = bad
    with pytest.raises(IndexError, match=r"^an id is outside its table: smallest -?\d+, largest row \d+ of 65\.$"):
        store(ids, store.offsets(("a", "b")))


def test_a_traced_step_that_would_pass_the_optimiser_by_is_refused():
    store, (ids, direction) = store_of(), batches(1)[0]
    optimizers = row_optimizers(store)
    offsets = store.offsets(("a", "b"))
    with FlopCounterMode(display=False):
        with pytest.raises(
            UsageError, match=r"^a table of 65 rows has an optimiser of its own, which gets no gradient"
        ):
            store(ids, offsets)
        with torch.no_grad():
            seen = store(ids, offsets)
    optimizers.detach()
    torch.testing.assert_close(seen, store(ids, offsets).detach())
    with FlopCounterMode(display=False):
        loss_of(store(ids, offsets), direction).backward()
    assert store.weight.grad is not None
