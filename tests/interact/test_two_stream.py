"""FinalMLP's fusion: the bilinear form and its identities."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.compose import Flat, Stacked
from clicksmith.interact.copies import Copies
from clicksmith.interact.fm import FM
from clicksmith.interact.mlp import MLP
from clicksmith.interact.two_stream import BilinearForm, TwoStream

SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(3)), 4)
LEFT, RIGHT = 6, 4


def form(heads, left=LEFT, right=RIGHT):
    return BilinearForm(left, right, heads=heads).double()


def streams(left=LEFT, right=RIGHT):
    return torch.randn(5, left, dtype=torch.float64), torch.randn(5, right, dtype=torch.float64)


def test_the_form_sums_over_heads_and_both_widths():
    module, (x, y) = form(2), streams()
    expected = torch.zeros(5, 1, dtype=torch.float64)
    for b in range(5):
        for h in range(2):
            for i in range(LEFT // 2):
                for j in range(RIGHT // 2):
                    expected[b] += x[b, h * LEFT // 2 + i] * module.weight[h, i, j] * y[b, h * RIGHT // 2 + j]
    torch.testing.assert_close(module(x, y), expected)


@pytest.mark.parametrize("heads", [1, 2])
def test_heads_are_a_block_diagonal_matrix(heads):
    module, (x, y) = form(heads), streams()
    matrix = torch.block_diag(*module.weight)
    torch.testing.assert_close(module(x, y).squeeze(1), ((x @ matrix) * y).sum(1))


def test_as_many_heads_as_coordinates_weigh_the_elementwise_product():
    module, (x, y) = form(4, 4, 4), streams(4, 4)
    torch.testing.assert_close(module(x, y).squeeze(1), (x * y) @ module.weight.flatten())


def test_swapping_streams_with_transposed_matrices_changes_nothing():
    module, (x, y) = form(2), streams()
    other = form(2, RIGHT, LEFT)
    with torch.no_grad():
        other.weight.copy_(module.weight.transpose(1, 2))
    torch.testing.assert_close(other(y, x), module(x, y))


def test_fm_is_the_form_of_unit_blocks_off_the_diagonal():
    fields, dim = len(SHAPE.fields), SHAPE.dim
    module = form(1, fields * dim, fields * dim)
    upper = torch.triu(torch.ones(fields, fields), 1).double()
    with torch.no_grad():
        module.weight.copy_(torch.kron(upper, torch.eye(dim).double()).unsqueeze(0))
    x = torch.randn(5, fields, dim, dtype=torch.float64)
    flat = Flat().build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(module(flat, flat), FM().build(SHAPE)(Fields(x)).logit)


@pytest.mark.reference("two_stream")
def test_the_block_gives_both_vectors_and_the_form():
    part = TwoStream(first=Stacked(then=(MLP(units=(6,)),)), second=Stacked(then=(MLP(units=(4,)),)), heads=2)
    module, fields = part.build(SHAPE).double(), Fields(torch.randn(5, 3, 4, dtype=torch.float64))
    first, second = module.first(fields).vector, module.second(fields).vector
    hidden = module(fields)
    torch.testing.assert_close(hidden.vector, torch.cat([first, second], 1))
    for b in range(5):
        expected = sum(
            first[b, h * 3 + i] * module.form.weight[h, i, j] * second[b, h * 2 + j]
            for h in range(2)
            for i in range(3)
            for j in range(2)
        )
        torch.testing.assert_close(hidden.logit[b, 0], expected)
    assert (part.out(SHAPE).width, part.out(SHAPE).logit) == (10, True)


def test_gradients_are_those_of_finite_differences():
    module, (x, y) = form(2), streams()
    run = lambda x, y, w: torch.func.functional_call(module, {"weight": w}, (x, y))  # noqa: E731
    assert torch.autograd.gradcheck(run, (x.requires_grad_(), y.requires_grad_(), module.weight))


def test_heads_that_do_not_divide_both_widths_are_refused():
    part = TwoStream(first=Stacked(then=(MLP(units=(400,)),)), second=Stacked(then=(MLP(units=(90,)),)), heads=20)
    message = (
        r"^stream widths 400 and 90 are not both divisible by heads=20; "
        r"use a number of heads that divides the last width of both streams\.$"
    )
    with pytest.raises(CompositionError, match=message):
        part.out(SHAPE)


def test_a_stream_without_vector_is_refused():
    with pytest.raises(CompositionError, match=r"^a stream of 'two_stream' gives no vector; end each with Flat\(\)"):
        TwoStream(first=FM(), second=Flat()).out(SHAPE)


def test_copies_stand_around_the_streams_and_not_in_them():
    streams = Stacked(then=(MLP(units=(6,)),)), Stacked(then=(MLP(units=(4,)),))
    part = TwoStream(first=streams[0], second=Copies(block=streams[1], count=3))
    with pytest.raises(CompositionError, match=r"^a stream of 'two_stream' gives 3 groups, .*; put Copies around 'two"):
        part.out(SHAPE)
    assert Copies(block=TwoStream(first=streams[0], second=streams[1]), count=3).out(SHAPE).groups == 3
