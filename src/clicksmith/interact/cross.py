"""Cross networks: DCN, DCNv2 with full, low-rank and mixture-of-experts matrices, and GDCN. Layers on a flat vector."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear, cross, draw_apart
from clicksmith.kernels.small import bmm


class _CrossLayer(Layer, frozen=True):
    """A layer that keeps the width and reads nothing but the vector handed on."""

    layers: int = 3
    """Number of cross layers; the order of interaction grows by one with each."""

    def reads(self) -> tuple[View | str, ...]:
        """Read nothing but the vector handed on."""
        return ()

    def width(self, width: int) -> int:
        """Keep the width."""
        if self.layers < 1:
            raise CompositionError(f"a cross network of {self.layers} layers crosses nothing; give layers=1 or more.")
        return width


class Cross(_CrossLayer, frozen=True):
    """The cross network of DCN (Wang et al., ADKDD 2017): `x_{l+1} = x_0 (w_l . x_l) + b_l + x_l`."""

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return CrossNet(width, self.layers)


class CrossNet(nn.Module):
    """`x_{l+1} = x_0 (w_l . x_l) + b_l + x_l`, without walking over the width at each layer.

    By induction `x_l = a_l x_0 + c_l` with a number a_l per row and a constant vector c_l = b_0 + ... + b_{l-1}, and
    `a_{l+1} = a_l + a_l (w_l . x_0) + w_l . c_l`. So one product with all w_l and one pass at the end are enough.

    Shape:
        x, out: [batch, width]
    Cost: 2 * width * layers multiplications a row.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, width))
        nn.init.normal_(self.weight, std=(2.0 / (width + 1)) ** 0.5)  # Xavier-normal of a map to one number
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Cross [batch, width] with itself."""
        dots = nn.functional.linear(x, self.weight).to(self.weight.dtype)  # [batch, layers], not rounded by autocast
        constants = torch.cat([self.bias.new_zeros(1, self.bias.shape[1]), self.bias]).cumsum(0)
        shifts = (self.weight * constants[:-1]).sum(1)
        scale = torch.ones_like(dots[:, :1])
        for layer, dot in enumerate(dots.split(1, 1)):
            scale = torch.addcmul(scale + shifts[layer], scale, dot)
        return torch.addcmul(constants[-1], x, scale)


class MatrixCross(_CrossLayer, frozen=True):
    """The cross network of DCNv2 (Wang et al., WWW 2021): `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`."""

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return CrossStack(Linear(width, width) for _ in range(self.layers))


class LowRankCross(_CrossLayer, frozen=True):
    """DCNv2 with `W_l = U_l V_l` of a given rank."""

    rank: int = 32
    """Inner width; at the full width it is as expressive as the full matrix."""

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        _needs_rank(self.rank)
        return CrossStack(
            nn.Sequential(Linear(width, self.rank, bias=False), Linear(self.rank, width)) for _ in range(self.layers)
        )


class CrossStack(nn.Module):
    """`x_{l+1} = x_0 * map_l(x_l) + x_l` for a list of affine maps.

    Shape:
        x, out: [batch, width]
    """

    def __init__(self, maps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Cross [batch, width] with itself."""
        crossed = x
        for linear in cast("Iterable[nn.Module]", self.maps):
            if isinstance(linear, Linear):
                crossed = cross(x, crossed, linear)
            else:
                crossed = torch.addcmul(crossed, x, linear(crossed))
        return crossed


class GatedCross(_CrossLayer, frozen=True):
    """The cross network of GDCN (Wang et al., CIKM 2023): what a layer adds passes a gate of its own."""

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return GatedCrossNet(width, self.layers)


class GatedCrossNet(nn.Module):
    """`x_{l+1} = x_0 * (W_l x_l + b_l) * sigmoid(V_l x_l) + x_l`; W and V are one product.

    Shape:
        x, out: [batch, width]
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(Linear(width, 2 * width, bias=False) for _ in range(layers))
        for linear in self.maps:
            draw_apart(cast("Linear", linear), 2)
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Cross [batch, width] with itself."""
        crossed = x
        for layer, linear in enumerate(self.maps):
            value, gate = linear(crossed).chunk(2, 1)
            crossed = torch.addcmul(crossed, x, (value + self.bias[layer]) * torch.sigmoid(gate))
        return crossed


class CrossMixture(_CrossLayer, frozen=True):
    """DCN-V2's mixture of low-rank experts (Wang et al., WWW 2021): each has its own subspace, a gate weighs them."""

    rank: int = 32
    """Width of each expert's subspace."""
    experts: int = 4
    """Number of subspaces."""

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        _needs_rank(self.rank)
        if self.experts < 1:
            raise CompositionError(f"a mixture of {self.experts} experts crosses nothing; give experts=1 or more.")
        return CrossMixtureNet(width, self.layers, rank=self.rank, experts=self.experts)


class CrossMixtureNet(nn.Module):
    """`x_{l+1} = sum_i p_i(x_l) x_0 * (U_i tanh(C_i tanh(V_i x_l)) + b_l) + x_l`, p the softmax of the gates.

    The experts' maps into their subspaces are one product, and so are those back: the gate weighs the subspace, which
    is narrower than the vector.

    Shape:
        x, out: [batch, width]
    """

    def __init__(self, width: int, layers: int, *, rank: int, experts: int) -> None:
        super().__init__()
        self.experts = experts
        self.down = nn.ModuleList(Linear(width, experts * rank, bias=False) for _ in range(layers))
        self.core = nn.ParameterList(nn.init.xavier_normal_(torch.empty(experts, rank, rank)) for _ in range(layers))
        self.up = nn.ModuleList(Linear(experts * rank, width, bias=False) for _ in range(layers))
        self.bias = nn.Parameter(torch.zeros(layers, width))
        self.gate = Linear(width, experts, bias=False)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Cross [batch, width] with itself."""
        crossed = x
        for layer, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            gates = torch.softmax(self.gate(crossed), 1).unsqueeze(-1)  # [batch, experts, 1]
            inner = torch.tanh(down(crossed)).unflatten(1, (self.experts, -1)).transpose(0, 1)
            inner = torch.tanh(bmm(inner, self.core[layer].transpose(1, 2))).transpose(0, 1)
            mixed = up((inner * gates).flatten(1)) + self.bias[layer]  # the gates add up to 1
            crossed = torch.addcmul(crossed, x, mixed)
        return crossed


def _needs_rank(rank: int) -> None:
    if rank < 1:
        raise CompositionError(f"a cross network of rank {rank} crosses nothing; give rank=1 or more.")
