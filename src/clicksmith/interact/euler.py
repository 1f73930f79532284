"""EulerNet's layers: products of powers as sums of phases (Tian et al., SIGIR 2023)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear, dropping

TINY = 1e-8
"""Added to a squared modulus, so that its logarithm is finite."""


class Euler(Block, frozen=True):
    """Fields as complex vectors; each neuron multiplies all of them, raised to learned powers."""

    neurons: tuple[int, ...] = (20,)
    """Complex vectors that each layer gives."""
    norm: bool = True
    """Normalise each layer's real and imaginary parts."""
    dropout: float = 0.0
    """Share of logarithms and phases dropped in training."""
    linear_dropout: float = 0.0
    """Share of the linear part's inputs dropped in training."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give the last layer's real plus imaginary parts."""
        if not self.neurons or min(self.neurons) < 1:
            raise CompositionError(f"euler neurons {self.neurons} give no output; give positive numbers, as in 20,20.")
        if self.norm and shape.dim < 2:
            raise CompositionError("euler normalises vectors of dim=1 to zero, which has no phase; use norm=False.")
        return HiddenShape(self.neurons[-1] * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return EulerBlock(self, len(shape.fields), shape.dim)


class EulerBlock(nn.Module):
    """`z_i = mu_i exp(i e_i)`, then layers.

    One linear map of real and imaginary parts alike follows in the published model: that of their sum, so the head's.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, neurons[-1] * dim]
    """

    def __init__(self, part: Euler, fields: int, dim: int) -> None:
        super().__init__()
        self.modulus = nn.Parameter(torch.ones(fields, 1))
        sizes = zip((fields, *part.neurons[:-1]), part.neurons, strict=True)
        self.layers = nn.ModuleList(EulerLayer(part, before, after, dim) for before, after in sizes)

    def forward(self, fields: Fields) -> Hidden:
        """Map the fields to the complex plane and multiply."""
        phase = fields.vectors
        z = self.modulus * torch.stack([torch.cos(phase), torch.sin(phase)])
        for layer in cast("Iterable[nn.Module]", self.layers):
            z = layer(z)
        return Hidden((z[0] + z[1]).flatten(1))


class EulerLayer(nn.Module):
    """`out_k = prod_j z_j^(a_kj) exp(b_k + i c_k) + relu(W z + d)_k`, the product by logarithms and phases.

    Real and imaginary parts share a and W, so either is one matrix product for both.

    Shape:
        z:   [2, batch, fields, dim], real and imaginary parts
        out: [2, batch, neurons, dim]
    """

    def __init__(self, part: Euler, fields: int, neurons: int, dim: int) -> None:
        super().__init__()
        # A layer starts as the identity, or as one field of its own for each neuron: the authors' choice.
        start = torch.eye(fields) if fields == neurons else torch.softmax(100 * torch.randn(neurons, fields), 1)
        self.powers = nn.Parameter(start)
        self.shift = nn.Parameter(0.01 * torch.randn(2, 1, neurons, dim))
        self.linear = Linear(fields * dim, neurons * dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) if part.norm else nn.Identity() for _ in range(2))
        self.dropout = dropping(part.dropout)
        self.linear_dropout = dropping(part.linear_dropout)

    def forward(self, z: Tensor) -> Tensor:
        """Multiply powers, add the linear part."""
        real, imaginary = z
        logarithm = 0.5 * torch.log(real * real + imaginary * imaginary + TINY)
        polar = self.dropout(torch.stack([logarithm, torch.atan2(imaginary, real)]))
        logarithm, phase = torch.matmul(self.powers, polar).to(self.shift.dtype) + self.shift
        linear = torch.relu(self.linear(self.linear_dropout(z.flatten(2)))).unflatten(2, phase.shape[1:])
        out = torch.exp(logarithm) * torch.stack([torch.cos(phase), torch.sin(phase)]) + linear
        return torch.stack([norm(part) for norm, part in zip(self.norms, out, strict=True)])
