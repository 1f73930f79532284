"""FinalMLP's fusion: two streams that meet in a bilinear form."""

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, reads_of
from clicksmith.errors import CompositionError
from clicksmith.kernels.small import bmm


class TwoStream(Block, frozen=True):
    """Two blocks and the multi-head bilinear product of what they give; the head's linear map is their linear part.

    Paper: finalmlp, stream-level interaction aggregation.
    """

    first: Block
    second: Block
    heads: int = 1
    """Both widths are cut into so many pieces; piece j of one meets piece j of the other."""
    bias_each: bool = False
    """Add a second, redundant constant, as published parameter counts have it."""

    def reads(self) -> tuple[View | str, ...]:
        """Read what the streams read."""
        return tuple(dict.fromkeys((*reads_of(self.first), *reads_of(self.second))))

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give both vectors side by side, and the bilinear form as a logit.

        Raises CompositionError: a stream gives no vector, or several, or one that the heads do not divide.
        """
        streams = self.first.out(shape), self.second.out(shape)
        widths = streams[0].width, streams[1].width
        if any(stream.groups > 1 for stream in streams):
            raise CompositionError(
                f"a stream of 'two_stream' gives {max(stream.groups for stream in streams)} groups, and a bilinear "
                "form needs one vector of each; put Copies around 'two_stream'."
            )
        if not all(widths):
            raise CompositionError("a stream of 'two_stream' gives no vector; end each with Flat() or layers.")
        if self.heads < 1 or any(width % self.heads for width in widths):
            raise CompositionError(
                f"stream widths {widths[0]} and {widths[1]} are not both divisible by heads={self.heads}; "
                "use a number of heads that divides the last width of both streams."
            )
        return HiddenShape(sum(widths), logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        widths = self.first.out(shape).width, self.second.out(shape).width
        form = BilinearForm(*widths, heads=self.heads)
        return TwoStreamBlock(self.first.build(shape), self.second.build(shape), form, bias=self.bias_each)


class TwoStreamBlock(nn.Module):
    """Runs the streams and their fusion.

    Shape:
        out.vector: [batch, first width + second width]
        out.logit:  [batch, 1]
    """

    def __init__(self, first: nn.Module, second: nn.Module, form: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.first, self.second, self.form = first, second, form
        self.bias = nn.Parameter(torch.zeros(1)) if bias else None

    def forward(self, fields: Fields) -> Hidden:
        """Fuse the streams."""
        first: Hidden = self.first(fields)
        second: Hidden = self.second(fields)
        if first.vector is None or second.vector is None:
            raise CompositionError("a stream of 'two_stream' gives no vector; end each with Flat() or layers.")
        logit = self.form(first.vector, second.vector)
        for more in (first.logit, second.logit, self.bias):
            logit = logit if more is None else logit + more
        return Hidden(torch.cat([first.vector, second.vector], 1), logit)


class BilinearForm(nn.Module):
    """`sum_j x_j^T W_j y_j` over `heads` pieces of x and y: a bilinear form with a block-diagonal matrix.

    Shape:
        x: [batch, left], y: [batch, right]
        out: [batch, 1]
    Cost: left * right / heads parameters.
    Paper: finalmlp, multi-head bilinear fusion.
    """

    def __init__(self, left: int, right: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(heads, left // heads, right // heads))
        nn.init.normal_(self.weight, std=(2.0 / (self.weight.numel() + 1)) ** 0.5)  # as one map to one number

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Multiply piece by piece."""
        pieces = x.unflatten(1, (self.heads, -1)).transpose(0, 1)  # [heads, batch, left / heads]
        mapped = bmm(pieces, self.weight.to(x.dtype)).transpose(0, 1).flatten(1)
        return (mapped * y).sum(1, keepdim=True, dtype=torch.promote_types(y.dtype, torch.float32))
