"""FGCNN: a convolution over the fields generates new fields (Liu et al., WWW 2019)."""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clicksmith.embed.shape import Field, Fields, FieldShape, View
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear


class FGCNN(Transform, frozen=True):
    """Append generated fields to the raw ones; any block that reads vectors may follow.

    Paper: fgcnn, feature generation.
    """

    dim: int = 16
    """Length of the generator's own vectors: that of the fields it is put in front of."""
    channels: tuple[int, ...] = (14, 16, 18, 20)
    """Convolution channels of each level; none: nothing is generated."""
    kernel: int = 7
    """Fields under the convolution at once."""
    pool: int = 2
    """Neighbouring fields that become one."""
    maps: int = 3
    """New fields per pooled field and level."""
    batch_norm: bool = True
    """Normalise after each convolution."""
    share: bool = False
    """Generate from the fields' own vectors instead of a second table; the paper has two tables."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors and, unless shared, a second table."""
        return ("vectors",) if self.share or not self.channels else ("vectors", self._view())

    def grow(self, shape: FieldShape) -> FieldShape:
        """Add ceil(height / pool) * maps fields per level."""
        if min(self.kernel, self.pool, self.maps, *self.channels) < 1:
            raise CompositionError(
                f"FGCNN kernel={self.kernel}, pool={self.pool}, maps={self.maps}, channels={self.channels}: "
                "all must be 1 or more."
            )
        if self.channels and not self.share and self.dim != shape.dim:
            raise CompositionError(
                f"FGCNN generates fields of dim {self.dim}, and the fields before it have dim {shape.dim}; "
                f"use FGCNN(dim={shape.dim}), and put it before transforms that change the dim."
            )
        new = tuple(
            Field(f"fgcnn.{level}.{i}", "generated")
            for level, height in enumerate(self.heights(self._inputs(shape)))
            for i in range(height * self.maps)
        )
        return replace(shape, fields=shape.fields + new)

    def heights(self, fields: int) -> tuple[int, ...]:
        """Return how many fields are left after each level's pooling."""
        heights: list[int] = []
        for _ in self.channels:
            fields = ceil(fields / self.pool)
            heights.append(fields)
        return tuple(heights)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return FGCNNBlock(self, None if self.share else self._view().name, self._inputs(shape), shape.dim)

    def _inputs(self, shape: FieldShape) -> int:
        return len(shape.fields) if self.share or not self.channels else len(shape.selected(self._view()))

    def _view(self) -> View:
        return View("generation", self.dim)


class FGCNNBlock(nn.Module):
    """Levels one after another; each reads what the last one pooled, not what it generated.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vectors:    [batch, fields + generated, dim]
    """

    def __init__(self, part: FGCNN, view: str | None, inputs: int, dim: int) -> None:
        super().__init__()
        self.view = view
        before = (1, *part.channels[:-1])
        sizes = zip(before, part.channels, part.heights(inputs), strict=False)
        self.levels = nn.ModuleList(FGCNNLevel(part, c, after, height, dim) for c, after, height in sizes)

    def forward(self, fields: Fields) -> Fields:
        """Generate and append."""
        if not len(self.levels):
            return fields
        source = fields.vectors if self.view is None else fields.views[self.view]
        maps = source.unsqueeze(1)  # [batch, channels, height, dim]
        every = [fields.vectors]
        for level in cast("Iterable[nn.Module]", self.levels):
            maps, new = level(maps)
            every.append(new)
        return replace(fields, vectors=torch.cat(every, 1))


class FGCNNLevel(nn.Module):
    """Convolution over fields, tanh, pooling, recombination.

        S^i = maxpool(tanh(W^i * S^{i-1} + b^i)),   R^i = tanh(WR^i flatten(S^i) + BR^i)

    The convolution has height `kernel` and width 1: it never mixes coordinates. Padding is "same" for even kernels
    too, and the last pooling window may be short, so that no field is lost.

    Shape:
        x:      [batch, channels before, height before, dim]
        pooled: [batch, channels, height, dim]
        new:    [batch, height * maps, dim]
    Differs from the paper: tanh after pooling, which gives the same, since both are monotone, on a smaller tensor.
    Paper: fgcnn, feature generation: convolution, pooling, recombination.
    """

    def __init__(self, part: FGCNN, before: int, channels: int, height: int, dim: int) -> None:
        super().__init__()
        self.short = 1 - part.kernel % 2  # an even kernel has one field more below than above
        self.pool = part.pool
        self.conv = nn.Conv2d(before, channels, (part.kernel, 1), padding=((part.kernel - 1) // 2, 0))
        self.norm = nn.BatchNorm2d(channels) if part.batch_norm else None
        self.recombine = Linear(channels * height * dim, height * dim * part.maps)
        self.dim = dim
        nn.init.xavier_normal_(self.conv.weight)
        nn.init.zeros_(cast("Tensor", self.conv.bias))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the next level reads, and the new fields."""
        maps = self.conv(F.pad(x, (0, 0, 0, self.short)) if self.short else x)
        if self.norm is not None:
            maps = self.norm(maps)
        pooled = torch.tanh(F.max_pool2d(maps, (self.pool, 1), ceil_mode=True))
        return pooled, torch.tanh(self.recombine(pooled.flatten(1))).unflatten(1, (-1, self.dim))
