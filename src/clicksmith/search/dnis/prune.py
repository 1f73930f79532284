"""From alpha and the table to blocks with their columns. Neither alone is a size: only their product is."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clicksmith.errors import UsageError
from clicksmith.plan.parts import Block
from clicksmith.search.dnis.blocks import Band

PIECE = 1 << 16


@torch.no_grad()
def column_sizes(bands: Sequence[Band], weight: Tensor, starts: dict[str, int], alpha: Tensor | None) -> Tensor:
    """Return the mean size of alpha * E in each column of each band: [bands, dim] float64; of E without alpha."""
    sizes = torch.zeros(len(bands), weight.shape[1], dtype=torch.float64)
    for i, band in enumerate(bands):
        at = starts[band.slot]
        for first in range(at + band.first, at + band.last, PIECE):
            rows = weight[first : min(first + PIECE, at + band.last)]
            sizes[i] += (rows if alpha is None else rows * alpha[band.row]).abs().sum(0, dtype=torch.float64).cpu()
        sizes[i] /= band.last - band.first
    return sizes


def check_share(bands: Sequence[Band], dim: int, share: float) -> None:
    """Raise UsageError before anything is trained: no column of any block could stay."""
    sizes = [band.last - band.first for band in bands]
    room = (1 - share) * sum(sizes) * dim
    if min(sizes) > room + 1e-9:
        raise UsageError(
            f"share={share:g} leaves room for {int(room):,} of {sum(sizes) * dim:,} values, and a column of the "
            f"smallest block takes {min(sizes):,}. Give a smaller share, or more blocks."
        )


def kept_columns(bands: Sequence[Band], sizes: Tensor, share: float) -> dict[str, tuple[Block, ...]]:
    """Return each slot's blocks with the columns that are left when at least `share` of all values is cut.

    The largest columns stay, in one order over all bands, so that what a larger share keeps, a smaller one keeps too.
    Columns of zeros never stay.

    Raises UsageError: nothing is left.
    """
    dim = sizes.shape[1]
    rows = torch.tensor([band.last - band.first for band in bands], dtype=torch.int64)
    order = torch.argsort(sizes.flatten(), descending=True, stable=True)
    costs = rows[torch.div(order, dim, rounding_mode="floor")]
    room = (1 - share) * float(rows.sum()) * dim
    stays = (costs.cumsum(0) <= room + 1e-9) & (sizes.flatten()[order] > 0)
    kept = torch.zeros(len(bands) * dim, dtype=torch.bool)
    kept[order[stays]] = True
    if not bool(kept.any()):
        raise UsageError(
            f"share={share:g} leaves nothing of {int(rows.sum()) * dim:,} values: the first column alone takes "
            f"{int(costs[0]) if len(costs) else 0:,}, or every value is 0. Give a smaller share, or more blocks."
        )
    found: dict[str, tuple[Block, ...]] = {}
    for band, mask in zip(bands, kept.reshape(-1, dim), strict=True):
        columns = tuple(mask.nonzero().squeeze(1).tolist())
        found[band.slot] = (*found.get(band.slot, ()), Block(band.first, band.last, columns))
    return found


def kept_values(slots: dict[str, tuple[Block, ...]]) -> int:
    """Return how many values the blocks keep."""
    return sum((block.last - block.first) * len(block.columns) for blocks in slots.values() for block in blocks)
