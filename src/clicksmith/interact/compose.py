"""Composers: blocks made of blocks. They are parts themselves, so they nest."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, Layer, Transform, reads_of, writes_of
from clicksmith.errors import CompositionError
from clicksmith.parts import Part, kind_of


class Flat(Block, frozen=True):
    """All vectors and extras side by side."""

    def reads(self) -> tuple[View | str, ...]:
        """Read vectors and extras."""
        return ("vectors", "extra")

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give fields * dim + extra."""
        if not shape.flat:
            raise CompositionError("'flat' has nothing to flatten: the data has no fields; add columns to the schema.")
        return HiddenShape(shape.flat)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return Flatten()


class Flatten(nn.Module):
    """[batch, fields, dim] to [batch, fields * dim + extra]."""

    def forward(self, fields: Fields) -> Hidden:
        """Flatten."""
        return Hidden(fields.flat())


class Stacked(Block, frozen=True):
    """A block, then layers; `transforms` act on the fields of this branch alone."""

    only_products = True

    first: Block = Flat()
    then: tuple[Layer, ...] = ()
    transforms: tuple[Transform, ...] = ()

    def reads(self) -> tuple[View | str, ...]:
        """Read what its parts read."""
        return _reads((*self.transforms, self.first, *self.then))

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give the last layer's width; the first block's logit passes by the layers."""
        self._check_read()
        hidden = self.first.out(self._grow(shape)[-1])
        if self.then and not hidden.width:
            raise CompositionError(
                f"'{kind_of(type(self.then[0]))}' follows '{kind_of(type(self.first))}', which gives a logit and no "
                "vector; put the two side by side with Parallel, or choose a block that gives a vector."
            )
        if self.then and hidden.groups > 1:
            raise CompositionError(
                f"'{kind_of(type(self.then[0]))}' follows {hidden.groups} groups; put the layers inside Copies."
            )
        width = hidden.width
        for layer in self.then:
            width = layer.width(width)
        return HiddenShape(width, hidden.logit, hidden.groups)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return StackedBlock(self, self._grow(shape))

    def _grow(self, shape: FieldShape) -> list[FieldShape]:
        shapes = [shape]
        for transform in self.transforms:
            shapes.append(transform.grow(shapes[-1]))
        return shapes

    def _check_read(self) -> None:
        for i, transform in enumerate(self.transforms):
            after = _reads((*self.transforms[i + 1 :], self.first, *self.then))
            for written in writes_of(transform):
                if written not in after:
                    raise CompositionError(
                        f"'{kind_of(type(transform))}' writes {written}, and '{kind_of(type(self.first))}' after it "
                        f"reads none; choose a block that reads {written}, such as Flat()."
                    )


class StackedBlock(nn.Module):
    """Transforms, the first block, then the layers.

    Shape:
        out.vector: [batch, width of the last layer]
        out.logit:  that of the first block
    """

    def __init__(self, part: Stacked, shapes: list[FieldShape]) -> None:
        super().__init__()
        pairs = zip(part.transforms, shapes, strict=False)
        self.transforms = nn.ModuleList(transform.build(shape) for transform, shape in pairs)
        self.first = part.first.build(shapes[-1])
        width = part.first.out(shapes[-1]).width
        then: list[nn.Module] = []
        for layer in part.then:
            then.append(layer.build(width, shapes[-1]))
            width = layer.width(width)
        self.then = nn.ModuleList(then)

    def forward(self, fields: Fields) -> Hidden:
        """Run the branch."""
        for transform in cast("Iterable[nn.Module]", self.transforms):
            fields = transform(fields)
        hidden: Hidden = self.first(fields)
        if not len(self.then):
            return hidden
        x = cast("Tensor", hidden.vector)
        for layer in cast("Iterable[nn.Module]", self.then):
            x = layer(x, fields)
        return Hidden(x, hidden.logit)


class Parallel(Block, frozen=True):
    """Blocks side by side: vectors are joined, logits are added."""

    only_products = True

    blocks: tuple[Block, ...]
    bias_each: bool = False
    """Add a constant per block that gives a vector, the first excepted: what a separate output layer per block would
    hold. They are redundant; published parameter counts have them."""

    def reads(self) -> tuple[View | str, ...]:
        """Read what its blocks read."""
        return _reads(self.blocks)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give the sum of the widths."""
        if not self.blocks:
            raise CompositionError("Parallel got no blocks; give at least one.")
        hidden = [block.out(shape) for block in self.blocks]
        groups = {h.groups for h in hidden if h.width}
        if len(groups) > 1:
            raise CompositionError(
                f"Parallel joins blocks of {' and '.join(map(str, sorted(groups)))} groups; put Copies around all."
            )
        return HiddenShape(
            sum(h.width for h in hidden),
            any(h.logit for h in hidden) or (self.bias_each and self._biases(shape) > 0),
            max(groups, default=1),
        )

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        blocks = [block.build(shape) for block in self.blocks]
        return ParallelBlock(blocks, self._biases(shape) if self.bias_each else 0)

    def _biases(self, shape: FieldShape) -> int:
        return max(sum(block.out(shape).width > 0 for block in self.blocks) - 1, 0)


class ParallelBlock(nn.Module):
    """Runs blocks on the same fields.

    Shape:
        out.vector: [batch, sum of widths] (or [batch, groups, sum of widths]), None if no block gives one
        out.logit:  [batch, 1], None if no block gives one
    """

    def __init__(self, blocks: Iterable[nn.Module], biases: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.biases = nn.Parameter(torch.zeros(biases)) if biases else None

    def forward(self, fields: Fields) -> Hidden:
        """Join the vectors, add the logits."""
        parts: list[Hidden] = [block(fields) for block in cast("Iterable[nn.Module]", self.blocks)]
        vectors = [h.vector for h in parts if h.vector is not None]
        logits = [h.logit for h in parts if h.logit is not None]
        vector = vectors[0] if len(vectors) == 1 else torch.cat(vectors, -1) if vectors else None
        logit = logits[0] if logits else None
        for more in logits[1:]:
            logit = cast("Tensor", logit) + more
        if self.biases is not None:
            constant = self.biases.sum()
            logit = constant + (cast("Tensor", vector).new_zeros(len(fields.vectors), 1) if logit is None else logit)
        return Hidden(vector, logit)


def _reads(parts: Iterable[Part]) -> tuple[View | str, ...]:
    return tuple(dict.fromkeys(read for part in parts for read in reads_of(part)))
