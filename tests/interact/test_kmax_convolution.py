"""CCPM's convolutions and poolings against their loops."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.kmax_convolution import KMaxConvolution, largest

N, DIM = 5, 2
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def convolved(maps, conv):
    """[channels][fields] to [channels after][fields + kernel - 1], zeros beyond both ends."""
    after, before, _, kernel = conv.weight.shape
    height = len(maps[0])
    out = []
    for c in range(after):
        row = []
        for at in range(height + kernel - 1):
            total = conv.bias[c]
            for b in range(before):
                for k in range(kernel):
                    f = at + k - (kernel - 1)
                    if 0 <= f < height:
                        total = total + conv.weight[c, b, 0, k] * maps[b][f]
            row.append(total)
        out.append(row)
    return out


def kept_in_order(row, count):
    chosen = sorted(range(len(row)), key=lambda i: row[i])[-count:]
    return [row[i] for i in sorted(chosen)]


@pytest.mark.reference("k_max_convolution")
@pytest.mark.parametrize("activation", ["tanh", "linear"])
@torch.no_grad()
def test_levels_convolve_keep_the_largest_and_activate(activation):
    part = KMaxConvolution(channels=(3, 2), kernels=(4, 2), activation=activation)
    module, x = part.build(SHAPE).double(), torch.randn(3, N, DIM, dtype=torch.float64)
    torch.nn.init.normal_(module.convolutions[0].bias)
    act = torch.tanh if activation == "tanh" else lambda v: v
    got = module(Fields(x)).vector
    assert part.kept(N) == (3, 3)
    assert got.shape == (3, part.out(SHAPE).width)
    for b in range(3):
        for d in range(DIM):
            maps = [list(x[b, :, d])]
            for conv, count in zip(module.convolutions, part.kept(N), strict=True):
                maps = [[act(v) for v in kept_in_order(row, count)] for row in convolved(maps, conv)]
            torch.testing.assert_close(got[b].view(2, DIM, 3)[:, d], torch.tensor(maps, dtype=torch.float64))


def test_few_fields_keep_what_there_is():
    part = KMaxConvolution(channels=(2,), kernels=(1,))
    one = FieldShape(SHAPE.fields[:1], DIM)
    assert part.kept(1) == (1,)
    assert part.build(one)(Fields(torch.randn(2, 1, DIM))).vector.shape == (2, part.out(one).width)


def test_poolings_keep_as_many_as_the_paper_says():
    assert KMaxConvolution(channels=(1, 1, 1, 1), kernels=(3, 3, 3, 3)).kept(20) == (19, 15, 5, 3)


def test_the_largest_stay_in_order():
    x = torch.randn(4, 7, dtype=torch.float64)
    expected = torch.tensor([kept_in_order(list(row), 3) for row in x], dtype=torch.float64)
    torch.testing.assert_close(largest(x, 3), expected)


def test_channels_and_kernels_that_do_not_match_are_refused():
    with pytest.raises(CompositionError, match=r"channels=\(4,\) and kernels=\(6, 5, 3\): give as many of one"):
        KMaxConvolution(channels=(4,)).out(SHAPE)
