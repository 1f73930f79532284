"""Composers that hold one block several times: as experts, or one per domain."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, reads_of
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import CompositionError
from clicksmith.kernels.ops import recorded
from clicksmith.parts import kind_of


class Copies(Block, frozen=True):
    """The same block `count` times with weights of their own, as groups: the experts of a multi-task head."""

    block: Block
    count: int = 4

    def reads(self) -> tuple[View | str, ...]:
        """Read what the block reads; equal views are one table, shared by all copies."""
        return reads_of(self.block)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give `count` groups of the block's width."""
        hidden = self.block.out(shape)
        if not hidden.width or hidden.groups > 1 or self.count < 1:
            what = (
                "gives no vector" if not hidden.width else "gives groups already" if hidden.groups > 1 else "count < 1"
            )
            raise CompositionError(
                f"Copies of '{kind_of(type(self.block))}', count={self.count}: {what}; "
                "copy a block that gives one vector, at least once."
            )
        return HiddenShape(hidden.width, hidden.logit, self.count)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return CopiesBlock(self.block.build(shape) for _ in range(self.count))


class CopiesBlock(nn.Module):
    """Stacks the copies' vectors and averages their logits.

    Shape:
        out.vector: [batch, copies, width]
        out.logit:  [batch, 1] or None
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, fields: Fields) -> Hidden:
        """Run every copy on all rows."""
        parts: list[Hidden] = [block(fields) for block in cast("Iterable[nn.Module]", self.blocks)]
        vector = torch.stack([cast("Tensor", h.vector) for h in parts], 1)
        logits = [h.logit for h in parts if h.logit is not None]
        return Hidden(vector, torch.stack(logits).mean(0) if logits else None)


class PerDomain(Block, frozen=True):
    """A block per known domain, each trained on its own rows; rows of an unseen domain get the mean of all of them."""

    only_products = True

    block: Block

    def reads(self) -> tuple[View | str, ...]:
        """Read what the block reads."""
        return reads_of(self.block)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give what the block gives."""
        if shape.domains <= UNSEEN + 1:
            raise CompositionError(
                "'per_domain' needs the row's domain, and the data has none; name the domain column in the schema."
            )
        return self.block.out(shape)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return PerDomainBlock(self.block.build(shape) for _ in range(shape.domains - UNSEEN - 1))


class PerDomainBlock(nn.Module):
    """Sends each row through its domain's block.

    Rows are grouped, so that batch normalisation sees one domain at a time; an exported or traced program runs every
    block on every row and selects, which gives the same in evaluation.

    Shape:
        fields.domain: [batch], 1 for an unseen domain
        out: as the block's
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, fields: Fields) -> Hidden:
        """Route rows."""
        domain = cast("Tensor", fields.domain)
        blocks = list(cast("Iterable[nn.Module]", self.blocks))
        share = torch.stack([domain == i + UNSEEN + 1 for i in range(len(blocks))], 1)
        unseen = ~share.any(1, keepdim=True)
        weight = share.float() + unseen.float() / len(blocks)
        if recorded():  # a path must not depend on the rows
            parts = [_scaled(block(fields), weight[:, i : i + 1]) for i, block in enumerate(blocks)]
            return _added(parts)
        parts: list[Hidden] = []
        for i, block in enumerate(blocks):
            rows = (weight[:, i] > 0).nonzero().squeeze(1)
            if len(rows):
                given = _scaled(_run(block, _rows_of(fields, rows)), weight[rows, i : i + 1])
                parts.append(_scattered(given, rows, len(domain)))
        return _added(parts) if parts else blocks[0](fields)


def _run(block: nn.Module, fields: Fields) -> Hidden:
    """Run a block; a single row is normalised by the moving averages, since it has no variance of its own."""
    alone = block.training and len(fields.vectors) == 1
    if alone:
        block.eval()
    try:
        return block(fields)
    finally:
        if alone:
            block.train()


def _rows_of(fields: Fields, rows: Tensor) -> Fields:
    return replace(
        fields,
        vectors=fields.vectors.index_select(0, rows),
        extra=None if fields.extra is None else fields.extra.index_select(0, rows),
        views={name: view.index_select(0, rows) for name, view in fields.views.items()},
        domain=cast("Tensor", fields.domain).index_select(0, rows),
    )


def _scaled(hidden: Hidden, weight: Tensor) -> Hidden:
    vector, logit = hidden.vector, hidden.logit
    if vector is not None:
        vector = vector * (weight if vector.ndim == 2 else weight.unsqueeze(-1)).to(vector.dtype)
    return Hidden(vector, None if logit is None else logit * weight.to(logit.dtype))


def _scattered(hidden: Hidden, rows: Tensor, total: int) -> Hidden:
    def spread(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.new_zeros((total, *x.shape[1:])).index_copy(0, rows, x)

    return Hidden(spread(hidden.vector), spread(hidden.logit))


def _added(parts: list[Hidden]) -> Hidden:
    vectors = [h.vector for h in parts if h.vector is not None]
    logits = [h.logit for h in parts if h.logit is not None]
    return Hidden(torch.stack(vectors).sum(0) if vectors else None, torch.stack(logits).sum(0) if logits else None)
