"""FGCNN against loops, its shape algebra, and what the convolution may and may not see."""

from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.fields.fgcnn import FGCNN

DIM = 2


def shape(n, dim=DIM):
    names = tuple(Field(f"f{i}", "id") for i in range(n))
    return FieldShape(names, dim, base=names)


def built(part, n):
    module = part.build(shape(n, part.dim)).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def run(module, x, second=None):
    views = {"generation": x if second is None else second}
    return module(Fields(x, views=views)).vectors


def level_by_hand(level, maps, part):
    """One row: maps[channel][field][coordinate] -> pooled maps, new fields."""
    weight, bias = level.conv.weight[..., 0], level.conv.bias
    height, dim = len(maps[0]), len(maps[0][0])
    above = (part.kernel - 1) // 2
    out = []
    for c in range(len(weight)):
        column = []
        for f in range(height):
            row = []
            for d in range(dim):
                total = bias[c]
                for before in range(len(maps)):
                    for k in range(part.kernel):
                        if 0 <= f + k - above < height:
                            total = total + weight[c, before, k] * maps[before][f + k - above][d]
                row.append(torch.tanh(total))
            column.append(row)
        out.append(
            [
                [
                    max((column[g][d] for g in range(f, min(f + part.pool, height))), key=lambda v: v.item())
                    for d in range(dim)
                ]
                for f in range(0, height, part.pool)
            ]
        )
    flat = torch.stack([value for channel in out for row in channel for value in row])
    new = torch.tanh(level.recombine.weight @ flat + level.recombine.bias)
    return out, new.view(-1, dim)


@pytest.mark.reference("fgcnn")
@pytest.mark.parametrize(("kernel", "pool"), [(3, 2), (4, 3), (1, 1), (6, 2)])
def test_levels_equal_the_loops_of_the_paper(kernel, pool):
    part = FGCNN(dim=DIM, channels=(2, 3), kernel=kernel, pool=pool, maps=2, batch_norm=False)
    module, x = built(part, 7), torch.randn(2, 7, DIM, dtype=torch.float64)
    second = torch.randn(2, 7, DIM, dtype=torch.float64)
    expected = []
    for row, source in zip(x, second, strict=True):
        maps, every = [list(source)], [row]
        for level in module.levels:
            maps, new = level_by_hand(level, maps, part)
            every.append(new)
        expected.append(torch.cat(every))
    torch.testing.assert_close(run(module, x, second), torch.stack(expected), atol=1e-10, rtol=1e-10)


def test_gradients_are_those_of_finite_differences():
    module = built(FGCNN(dim=DIM, channels=(2,), kernel=3, maps=1, batch_norm=False), 5)
    assert torch.autograd.gradcheck(
        lambda x: run(module, x), torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 9), st.integers(1, 3), st.integers(0, 3))
def test_the_number_of_fields_and_parameters_is_that_of_the_formula(n, pool, kernel, maps, levels):
    part = FGCNN(dim=1, channels=tuple(range(2, 2 + levels)), kernel=kernel, pool=pool, maps=maps, batch_norm=False)
    grown = part.grow(shape(n, 1))
    height, before, fields, parameters = n, 1, n, 0
    for channels in part.channels:
        height = ceil(height / pool)
        parameters += kernel * before * channels + channels
        parameters += (height * channels) * (height * maps) + height * maps
        fields, before = fields + height * maps, channels
    module = part.build(shape(n, 1))
    assert len(grown.fields) == fields == len({f.name for f in grown.fields})
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert run(module, torch.randn(2, n, 1)).shape == (2, fields, 1)


def test_an_even_kernel_is_padded_to_the_same_height():
    module = built(FGCNN(dim=DIM, channels=(3,), kernel=6, pool=1, maps=1), 10)
    assert run(module, torch.randn(2, 10, DIM, dtype=torch.float64)).shape == (2, 20, DIM)


def test_the_last_field_is_not_lost_to_pooling():
    part = FGCNN(dim=DIM, channels=(2,), kernel=1, pool=3, maps=1, batch_norm=False)
    module, x = built(part, 5), torch.randn(1, 5, DIM, dtype=torch.float64)
    moved = []
    for change in (5, -5):  # one of them raises the maximum, whatever the sign of the weight
        changed = x.clone()
        changed[:, 4] += change
        before, after = (module.levels[0](v.unsqueeze(1))[0] for v in (x, changed))
        assert before.shape == (1, 2, 2, DIM)
        assert torch.equal(before[:, :, 0], after[:, :, 0])
        moved.append(not torch.equal(before[:, :, 1], after[:, :, 1]))
    assert any(moved)


def test_the_convolution_never_mixes_coordinates():
    module = built(FGCNN(dim=4, channels=(3,), kernel=3, pool=2), 6)
    x, order = torch.randn(2, 1, 6, 4, dtype=torch.float64), torch.tensor([2, 0, 3, 1])
    plain, permuted = module.levels[0](x)[0], module.levels[0](x[..., order])[0]
    torch.testing.assert_close(permuted, plain[..., order], atol=1e-12, rtol=0)


def test_a_field_sees_its_neighbours_under_the_kernel_only():
    module = built(FGCNN(dim=1, channels=(1,), kernel=3, pool=1, maps=1, batch_norm=False), 7)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: module.levels[0](x.view(1, 1, 7, 1))[0].flatten(), torch.randn(7, dtype=torch.float64)
    )
    far = (torch.arange(7)[:, None] - torch.arange(7)).abs() > 1
    assert (jacobian[far] == 0).all()
    assert (jacobian[~far] != 0).all()


def test_the_order_of_the_fields_matters():
    module, x = built(FGCNN(dim=DIM, channels=(2,), kernel=3), 6), torch.randn(1, 6, DIM, dtype=torch.float64)
    assert not torch.allclose(run(module, x)[:, 6:], run(module, x.flip(1))[:, 6:])


def test_a_level_reads_what_was_pooled_and_not_what_was_generated():
    module, x = built(FGCNN(dim=DIM, channels=(2, 2), kernel=3, maps=1), 6), torch.randn(1, 6, DIM, dtype=torch.float64)
    before = run(module, x)
    torch.nn.init.zeros_(module.levels[0].recombine.weight)
    after = run(module, x)
    assert not torch.equal(before[:, 6:9], after[:, 6:9])
    assert torch.equal(before[:, 9:], after[:, 9:])


def test_zero_recombination_generates_zeros():
    module, x = built(FGCNN(dim=DIM, channels=(2, 2), kernel=3), 6), torch.randn(1, 6, DIM, dtype=torch.float64)
    for level in module.levels:
        torch.nn.init.zeros_(level.recombine.weight)
        torch.nn.init.zeros_(level.recombine.bias)
    out = run(module, x)
    assert torch.equal(out[:, :6], x)
    assert (out[:, 6:] == 0).all()


def test_the_generator_reads_its_own_table_unless_shared():
    assert [view.name for view in FGCNN().reads() if view != "vectors"] == ["generation"]
    assert FGCNN(share=True).reads() == ("vectors",)
    assert FGCNN(channels=()).reads() == ("vectors",)


def test_another_dim_is_refused():
    with pytest.raises(
        CompositionError,
        match=r"^FGCNN generates fields of dim 16, and the fields before it have dim 2; use FGCNN\(dim=2\), "
        r"and put it before transforms that change the dim\.$",
    ):
        FGCNN().grow(shape(4))


def test_sizes_below_1_are_refused():
    with pytest.raises(
        CompositionError, match=r"^FGCNN kernel=0, pool=2, maps=3, channels=\(2,\): all must be 1 or more"
    ):
        FGCNN(channels=(2,), kernel=0).grow(shape(4))
