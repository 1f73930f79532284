"""The compressed interaction network of xDeepFM (Lian et al., KDD 2018)."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import needs_pairs
from clicksmith.kernels.again import derivatives
from clicksmith.kernels.layers import Linear
from clicksmith.kernels.ops import traced

CHUNK = 2**18
"""Products made at once in training: 1 MB in float32, where all of them would be hundreds."""


class CIN(Block, frozen=True):
    """Vector-wise interactions, one order higher with each layer; each feature map is summed over the coordinates."""

    units: tuple[int, ...] = (64, 64)
    """Feature maps of each layer."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a number per feature map."""
        needs_pairs(self, shape)
        if not self.units or min(self.units) < 1:
            raise CompositionError(f"CIN units {self.units} give no feature maps; give positive numbers, as in 64,64.")
        return HiddenShape(sum(self.units))

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return CINBlock(len(shape.fields), self.units)


class CINBlock(nn.Module):
    """`x^k_h = sum_ij W^k_hij (x^{k-1}_i * x^0_j) + b^k_h`, coordinate by coordinate; out: `sum_d x^k_hd`.

    The coordinates are laid beside the batch, so that a layer is one matrix product.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, sum of units]
        maps[k].weight: [units[k], fields * previous maps]
    Cost: units[k] * units[k-1] * fields * dim multiplications a row and layer.
    """

    def __init__(self, fields: int, units: tuple[int, ...]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            Linear(before * fields, after) for before, after in zip((fields, *units[:-1]), units, strict=True)
        )

    def forward(self, fields: Fields) -> Hidden:
        """Compress layer by layer."""
        vectors = fields.vectors
        dim = vectors.shape[2]
        first = vectors.transpose(1, 2).flatten(0, 1)  # [batch * dim, fields]
        x, sums = first, list[Tensor]()
        for layer in cast("Iterable[nn.Module]", self.maps):
            x = _compress(first, x, cast("Linear", layer))
            sums.append(x.unflatten(0, (-1, dim)).sum(1))
        return Hidden(torch.cat(sums, 1))


def _products(first: Tensor, x: Tensor) -> Tensor:
    return (first.unsqueeze(2) * x.unsqueeze(1)).flatten(1)


def _mapped(first: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, _products(first, x), weight.t())


def _compress(first: Tensor, x: Tensor, layer: Linear) -> Tensor:
    """Map the products of first [rows, fields] and x [rows, maps] to [rows, units]."""
    if torch.is_grad_enabled() and first.device.type == "cpu" and not traced():
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else first.dtype
        return cast(
            "Tensor", _Compress.apply(first.to(dtype), x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
        )
    return layer(_products(first, x))


class _Compress(torch.autograd.Function):
    """Makes the products chunk by chunk, and again in the backward pass, so that they are never written to memory."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(first, x, weight, bias)
        out = first.new_empty(first.shape[0], weight.shape[0])
        for rows in _chunks(weight, first):
            torch.addmm(bias, _products(first[rows], x[rows]), weight.t(), out=out[rows])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first, x, weight, _ = ctx.saved_tensors
        if torch.is_grad_enabled():
            return derivatives(_mapped, ctx.saved_tensors, ctx.needs_input_grad, grads[0])
        g, dfirst, dx = grads[0], torch.empty_like(first), torch.empty_like(x)
        dweight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for rows in _chunks(weight, first):
            slope = (g[rows] @ weight).unflatten(1, (first.shape[1], -1))  # [rows, fields, maps]
            dweight += g[rows].t() @ _products(first[rows], x[rows])
            torch.sum(slope * x[rows].unsqueeze(1), 2, out=dfirst[rows])
            torch.sum(slope * first[rows].unsqueeze(2), 1, out=dx[rows])
        return dfirst, dx, dweight.to(weight.dtype), g.sum(0)


def _chunks(weight: Tensor, first: Tensor) -> list[slice]:
    step = max(1, CHUNK // weight.shape[1])
    return [slice(start, start + step) for start in range(0, first.shape[0], step)]
