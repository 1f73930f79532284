from typing import Any

import pytest
import torch
from torch import nn

from clicksmith.embed.rows import RowStore
from clicksmith.kernels import native, ops, rowwise
from clicksmith.kernels.scale import scaled

SLOTS = (("a", 40), ("b", 25))


def some_ids(rows: int = 50, *, low: int = 0) -> torch.Tensor:
    return torch.stack([torch.randint(low, 40, (rows,)), torch.randint(low, 25, (rows,))], 1).int()


def grads_of_lookup(store: Any, ids: torch.Tensor, direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    store.weight.grad = None
    out = store(ids, store.offsets(("a", "b")))
    (out.float() * direction).sum().backward()
    return out.detach(), store.weight.grad


@pytest.mark.parametrize("dim", [1, 10, 16, 17])
def test_lookup_and_its_gradient_equal_indexing_in_float64(way: str, dim: int):
    store, ids, direction = RowStore(SLOTS, dim, std=1.0), some_ids(), torch.randn(50, 2, dim)
    out, grad = grads_of_lookup(store, ids, direction)
    weight = nn.Parameter(store.weight.detach().double())
    expected = weight[ids + store.offsets(("a", "b"))]
    (expected * direction.double() * (ids != 0).unsqueeze(-1)).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(out.double(), expected.detach(), atol=0, rtol=0)
    torch.testing.assert_close(grad.double(), weight.grad, atol=1e-5, rtol=1e-5)


def test_lookup_takes_any_leading_shape_and_an_empty_batch(way: str):
    store = RowStore(SLOTS, 16, std=1.0)
    offsets = store.offsets(("a", "b"))
    ids = some_ids(24).reshape(2, 3, 4, 2)
    assert torch.equal(store(ids, offsets), store.weight[ids + offsets])
    out = store(ids[:0], offsets)
    out.sum().backward()
    assert out.shape == (0, 3, 4, 2, 16)
    assert store.weight.grad is not None
    assert store.weight.grad.abs().max() == 0


def test_under_autocast_rows_come_in_bfloat16_and_gradients_in_float32(way: str):
    store, ids = RowStore(SLOTS, 16, std=1.0), some_ids(low=1)
    with torch.autocast("cpu", torch.bfloat16):
        out, grad = grads_of_lookup(store, ids, torch.ones(50, 2, 16))
        first_order = RowStore(SLOTS, 1)(ids, store.offsets(("a", "b")))
    assert torch.equal(out, store.weight[ids + store.offsets(("a", "b"))].to(torch.bfloat16))
    assert grad.dtype == torch.float32
    assert first_order.dtype == torch.float32


def test_bfloat16_rounds_to_nearest_even_and_keeps_nan_and_infinity():
    if native.library() is None:
        pytest.skip("the kernels are not built")
    store = RowStore((("a", 64),), 16)
    with torch.no_grad():
        store.weight.copy_(torch.randn(64, 16) * 10.0 ** torch.randint(-20, 20, (64, 16)))
        store.weight[1, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
        store.weight[2, :2] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])  # ties: to the even neighbour
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = store(torch.arange(64, dtype=torch.int32).unsqueeze(1), store.offsets(("a",)))
    torch.testing.assert_close(out.squeeze(1), store.weight.detach().to(torch.bfloat16), atol=0, rtol=0, equal_nan=True)


def test_an_id_outside_the_table_is_an_error(way: str):
    store = RowStore(SLOTS, 4)
    for bad in (torch.tensor([[1, 25]]), torch.tensor([[-1, 3]])):
        ids = bad.int()
        if way == "torch" and int(ids.min()) < 0:
            continue  # torch counts negative rows from the end
        with pytest.raises(IndexError):
            store(ids, store.offsets(("a", "b")))


def test_merge_reads_columns_of_a_wider_gradient_where_they_are(way: str):
    wide, rows = torch.randn(30, 5, 16), torch.randint(-1, 9, (30, 2))
    part = wide[:, 1:3]
    found, sums = ops.merge(rows, part)
    for row in range(9):
        expected = part.double()[rows == row].sum(0)
        torch.testing.assert_close(sums[found == row].double().sum(0), expected, atol=1e-5, rtol=1e-5)
    assert sorted(r for r in found.tolist() if r >= 0) == sorted({r for r in rows.flatten().tolist() if r >= 0})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merge_has_the_same_bits_for_any_number_of_threads(dtype: torch.dtype):
    if native.library() is None:
        pytest.skip("the kernels are not built")
    rows, grad, results = torch.randint(0, 500, (20_000,)), torch.randn(20_000, 17).to(dtype), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            results.append(ops.merge(rows, grad))
        finally:
            torch.set_num_threads(1)
    for found, sums in results[1:]:
        assert torch.equal(found, results[0][0])
        used = found >= 0
        assert torch.equal(sums[used], results[0][1][used])


def test_rows_beyond_two_to_the_31_values_are_reached():
    rows = 2**27 + 5
    try:
        weight = torch.empty(rows, 17)  # 9 GB of addresses; only the pages touched below exist
    except RuntimeError:
        pytest.skip("the system does not hand out this much address space")
    weight[-1], ids = torch.arange(17.0), torch.tensor([[3]], dtype=torch.int32)
    offsets = torch.tensor([rows - 4])
    assert ops.number(ids, offsets).tolist() == [[rows - 1]]
    assert ops._gather(weight, ids, offsets, torch.float32).flatten().tolist() == list(range(17))
    rowwise.sgd_rows(weight, torch.tensor([rows - 1]), torch.ones(1, 17), 2.0, decay=rowwise.Decay())
    assert weight[-1].tolist() == [x - 2.0 for x in range(17)]
    huge = torch.tensor([[2_000_000_000]], dtype=torch.int32)
    assert ops.number(huge, torch.tensor([2_000_000_000])).tolist() == [[4_000_000_000]]


def test_lookup_differentiates_twice():
    store, ids = RowStore(SLOTS, 5, std=1.0), some_ids(8, low=1)
    out = store(ids, store.offsets(("a", "b")))
    (grad,) = torch.autograd.grad(out.pow(3).sum(), store.weight, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), store.weight)
    weight = store.weight.detach().requires_grad_()
    (expected,) = torch.autograd.grad(weight[ids + store.offsets(("a", "b"))].pow(3).sum(), weight, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad(expected.sum(), weight)[0])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dim", [1, 10, 16, 17])
def test_scaled_numbers_equal_the_loop_over_columns(way: str, dim: int, bias: bool):
    numeric = torch.randn(40, 3)
    numeric[torch.rand(40, 3) < 0.3] = float("nan")
    tables = [torch.randn(3, dim, requires_grad=True) for _ in range(3 if bias else 2)]
    exact = [t.detach().double().requires_grad_() for t in tables]
    direction = torch.randn(40, 5, dim)
    out = scaled(numeric, tables[0], tables[1], tables[2] if bias else None)
    (torch.cat([torch.zeros(40, 2, dim), out], 1) * direction).sum().backward()
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(40):
        for c in range(3):
            x = float(numeric[i, c])
            here = exact[1][c] if x != x else x * exact[0][c] + (exact[2][c] if bias else 0)
            torch.testing.assert_close(out[i, c].double(), here.detach(), atol=1e-6, rtol=1e-6)
            loss = loss + (here * direction[i, c + 2].double()).sum()
    loss.backward()
    for ours, expected in zip(tables, exact, strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.double(), expected.grad, atol=1e-5, rtol=1e-5)


def test_scaled_numbers_give_a_gradient_to_the_numbers_when_asked():
    numeric = torch.randn(6, 2, requires_grad=True)
    weight = torch.randn(2, 4)
    scaled(numeric, weight, torch.zeros(2, 4), None).sum().backward()
    torch.testing.assert_close(numeric.grad, weight.sum(1).expand(6, 2))
