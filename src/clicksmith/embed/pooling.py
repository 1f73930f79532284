"""Masked mean and sum over bags and behaviour sequences; the pools that need no candidate."""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.sockets import HistoryShape, Pool
from clicksmith.kernels.small import bmm

Reduce = Literal["mean", "sum"]


class Mean(Pool, frozen=True):
    """The mean of the behaviours, column by column; an empty history gives zero."""

    def interests(self, shape: HistoryShape) -> int:
        """One per column, paired or not."""
        return len(shape.paired) + len(shape.only)

    def build(self, shape: HistoryShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return Pooled("mean")


class Sum(Pool, frozen=True):
    """The sum of the behaviours, column by column: the base model of the DIN paper."""

    def interests(self, shape: HistoryShape) -> int:
        """One per column, paired or not."""
        return len(shape.paired) + len(shape.only)

    def build(self, shape: HistoryShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return Pooled("sum")


def masked_pool(vectors: Tensor, mask: Tensor, reduce: Reduce) -> Tensor:
    """Return the mean or sum over the second axis where `mask` holds.

    Shape:
        vectors: [batch, time, width]
        mask:    [batch, time] bool
        out:     [batch, width]
    """
    weight = mask.to(vectors.dtype)
    if reduce == "mean":
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1.0)
    return bmm(weight.unsqueeze(1), vectors).squeeze(1)


class Pooled(nn.Module):
    """Pools once per user; reading is a gather."""

    def __init__(self, reduce: Reduce) -> None:
        super().__init__()
        self.reduce: Reduce = reduce

    def encode(self, keys: Tensor, only: Tensor | None, mask: Tensor) -> dict[str, Tensor]:
        """Pool keys [users, time, paired, dim] (and `only`): {"pooled": [users, columns, dim]}."""
        every = keys if only is None else torch.cat([keys, only], 2)
        return {"pooled": masked_pool(every.flatten(2), mask, self.reduce).unflatten(1, every.shape[2:])}

    def read(self, state: dict[str, Tensor], query: Tensor, owner: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the owner's pooled vectors: [batch, columns, dim]."""
        return state["pooled"] if owner is None else state["pooled"].index_select(0, owner)
