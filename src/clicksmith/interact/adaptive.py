"""APG's dense layers: a low-rank core made anew for each row (Yan et al., NeurIPS 2022)."""

from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.context import context_width
from clicksmith.embed.shape import Fields, FieldShape, Select, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import DenseStack, Linear, dropping
from clicksmith.kernels.small import bmm
from clicksmith.schema.columns import Role


class AdaptiveMLP(Layer, frozen=True):
    """Dense layers whose weights depend on a condition: chosen fields, or with none chosen each layer's own input."""

    name: str = "condition"
    """Name of the view; two such parts need two names."""
    dim: int = 16
    """Length of the chosen fields' vectors, from tables of the condition's own."""
    fields: tuple[str, ...] = ()
    """The chosen fields by name."""
    roles: tuple[Role, ...] = ()
    """The chosen fields by role; with `fields`, both must hold."""
    units: tuple[int, ...] = (400, 400, 400)
    """Width of each layer."""
    ranks: tuple[int, ...] = (8,)
    """Side of the square core that is made for each row: one for all layers, or one for each."""
    over: tuple[int, ...] = (64,)
    """Inner width of the products that the shared matrices are in training, likewise; 0: plain matrices."""
    generator_units: tuple[int, ...] = ()
    """Hidden layers between condition and core."""
    make_bias: bool = True
    """Make the bias for each row too."""
    activation: Activation = "relu"
    """What follows each map."""
    batch_norm: bool = False
    """Normalise before each activation."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the chosen fields."""
        return (self._view(),) if self.fields or self.roles else ()

    def width(self, width: int) -> int:  # noqa: ARG002
        """Return the width of the last layer."""
        if min(self.units, default=0) < 1 or min(self.ranks, default=0) < 1 or min(self.over, default=-1) < 0:
            raise CompositionError(
                f"adaptive layers of units={self.units}, ranks={self.ranks}, over={self.over} adapt nothing; "
                "give widths of 1 or more, as in units=400,400, ranks of 1 or more, and over=0 or more."
            )
        self.sizes()
        return self.units[-1]

    def build(self, width: int, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return AdaptiveLayers(self, width, context_width(self._view(), shape))

    def sizes(self) -> list[tuple[int, int, int]]:
        """Return width, rank and inner width of each layer.

        Raises CompositionError: there are ranks or inner widths for some of the layers only.
        """
        for name, given in (("ranks", self.ranks), ("over", self.over)):
            if len(given) not in (1, len(self.units)):
                raise CompositionError(
                    f"{name}={given} is for {len(given)} layers, units={self.units} makes {len(self.units)}; "
                    "give one number for all layers, or one for each."
                )
        ranks, over = (g if len(g) > 1 else g * len(self.units) for g in (self.ranks, self.over))
        return list(zip(self.units, ranks, over, strict=True))

    def _view(self) -> View:
        return View(self.name, self.dim, Select(names=self.fields, roles=self.roles))


class AdaptiveLayers(nn.Module):
    """Adaptive map, (batch norm), activation, (dropout), for each of the units.

    Shape:
        x:   [batch, width]
        out: [batch, units[-1]]
    """

    def __init__(self, part: AdaptiveMLP, width: int, condition: int) -> None:
        super().__init__()
        self.view = part.name if condition else None
        maps: list[nn.Module] = []
        after: list[nn.Module] = []
        for unit, rank, over in part.sizes():
            maps.append(AdaptiveLinear(part, width, unit, condition or width, rank=rank, over=over))
            norm = [nn.BatchNorm1d(unit)] if part.batch_norm else []
            after.append(nn.Sequential(*norm, activation(part.activation, unit), dropping(part.dropout)))
            width = unit
        self.maps, self.after = nn.ModuleList(maps), nn.ModuleList(after)

    def forward(self, x: Tensor, fields: Fields) -> Tensor:
        """Run the layers."""
        condition = None if self.view is None else fields.views[self.view].flatten(1)
        for linear, after in zip(self.maps, self.after, strict=True):
            x = after(linear(x, x if condition is None else condition))
        return x


class AdaptiveLinear(nn.Module):
    """`y = ((x U) S) V + b`, where S [rank, rank], and b if wanted, are made from the condition.

    With `over`, U and V are products of two matrices each, which trains better and computes the same. S starts near
    the identity: near zero, where small conditions would put it, nothing passes.

    Shape:
        x:         [batch, inputs]
        condition: [batch, condition]
        out:       [batch, outputs]
    """

    def __init__(self, part: AdaptiveMLP, inputs: int, outputs: int, condition: int, *, rank: int, over: int) -> None:
        super().__init__()
        self.rank = rank
        inner = (over,) if over else ()
        self.into = _factors(inputs, *inner, rank)
        self.out = _factors(rank, *inner, outputs)
        self.hidden = DenseStack(condition, part.generator_units)
        self.make = Linear(self.hidden.width, rank**2 + (outputs if part.make_bias else 0))
        with torch.no_grad():
            self.make.bias[: rank**2] = torch.eye(rank).flatten()
        self.bias = None if part.make_bias else nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map [batch, inputs] by weights of each row's own."""
        made = self.make(self.hidden(condition))
        core = made[:, : self.rank**2].unflatten(1, (self.rank, self.rank))
        low = torch.matmul(x, _product(self.into)).unsqueeze(1)
        out = torch.matmul(bmm(low, core.to(low.dtype)).squeeze(1), _product(self.out))
        return out + (made[:, self.rank**2 :] if self.bias is None else self.bias)


def _factors(*sizes: int) -> nn.ParameterList:
    return nn.ParameterList(nn.init.xavier_normal_(torch.empty(before, after)) for before, after in pairwise(sizes))


def _product(factors: nn.ParameterList) -> Tensor:
    first, *rest = cast("Iterable[Tensor]", factors)
    return torch.matmul(first, rest[0]) if rest else first
