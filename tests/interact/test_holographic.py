"""Circular convolutions and correlations of pairs against loops over coordinates."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.interact.fm import BiInteraction
from clicksmith.interact.holographic import Holographic

N, DIM = 4, 5
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)
SIGNS = {"circular_convolution": -1, "circular_correlation": 1}
KINDS = ["hadamard_product", *SIGNS]


def combined(a, b, interaction):
    if interaction == "hadamard_product":
        return a * b
    sign = SIGNS[interaction]  # convolution reads b_{k-d}, correlation b_{k+d}
    return torch.stack([sum(a[d] * b[(k + sign * d) % DIM] for d in range(DIM)) for k in range(DIM)])


def looped(x, interaction):
    """Return [batch, pairs, dim]."""
    pairs = list(itertools.combinations(range(N), 2))
    return torch.stack([torch.stack([combined(row[i], row[j], interaction) for i, j in pairs]) for row in x])


@pytest.mark.reference("holographic")
@pytest.mark.parametrize("interaction", KINDS)
def test_every_pair_is_combined_in_order(interaction):
    part, x = Holographic(interaction=interaction), torch.randn(3, N, DIM, dtype=torch.float64)
    given = part.build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(given, looped(x, interaction).flatten(1))
    assert part.out(SHAPE).width == given.shape[1]


@pytest.mark.reference("holographic")
@pytest.mark.parametrize("interaction", KINDS)
def test_the_sum_needs_no_pairs_and_has_their_gradient(interaction):
    part = Holographic(interaction=interaction, summed=True)
    x = torch.randn(3, N, DIM, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, DIM, dtype=torch.float64)
    given, expected = part.build(SHAPE)(Fields(x)).vector, looped(x, interaction).sum(1)
    torch.testing.assert_close(given, expected)
    assert part.out(SHAPE).width == given.shape[1]
    ours, theirs = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (given, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("interaction", SIGNS)
def test_it_is_what_the_fourier_transform_gives(interaction):
    x = torch.randn(3, 2, DIM, dtype=torch.float64)
    first, second = torch.fft.fft(x[:, 0]), torch.fft.fft(x[:, 1])
    first = first.conj() if interaction == "circular_correlation" else first
    two = FieldShape(SHAPE.fields[:2], DIM)
    given = Holographic(interaction=interaction).build(two)(Fields(x)).vector
    torch.testing.assert_close(given, torch.fft.ifft(first * second).real)


def test_the_summed_product_is_bi_interaction():
    x = torch.randn(3, N, DIM, dtype=torch.float64)
    given = Holographic(interaction="hadamard_product", summed=True).build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(given, BiInteraction().build(SHAPE)(Fields(x)).vector)
