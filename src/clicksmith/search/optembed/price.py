"""What a candidate costs: the row-indexed parameters of the model under its Plan."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.encode.layout import UNSEEN
from clicksmith.models.spec import CTRModel
from clicksmith.plan.parts import FIRST
from clicksmith.search.optembed.evolution import Widths
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.widths import SampledTable

Kept = dict[str, NDArray[np.bool_]]
"""Slot to whether each id keeps its vectors."""


def pricing(model: CTRModel, kept: Kept, table: SampledTable | None) -> Callable[[Widths], int]:
    """Return the function from widths to the row-indexed parameters of the model under the Plan."""
    stays = {slot: int(mask[UNSEEN + 1 :].sum()) for slot, mask in kept.items()}
    mine = {id(store) for store in row_stores(table)} if table is not None else set[int]()
    fixed = 0
    for store in row_stores(model):
        if id(store) not in mine:
            fixed += store.dim * _rows(store, kept)
    dim = 0 if table is None else table.dim
    counts = [] if table is None else [stays[slot] for slot in table.slots]

    def price(widths: Widths) -> int:
        total = fixed
        for count, width in zip(counts, widths, strict=True):
            if count == 0 or width == dim:
                total += (FIRST + count) * dim
            else:  # unseen keeps a whole vector; each store has a row of padding
                total += (1 + count) * width + FIRST * dim
        return total

    return price


def _rows(store: RowStore, kept: Kept) -> int:
    """Return the rows that a store keeps; a slot of which only padding is left has none."""
    rows: Counter[str] = Counter()
    for slot, first, end in store.runs:
        rows[slot] += int(kept[slot][first:end].sum()) if slot in kept else end - first
    return sum(count for count in rows.values() if count > 1)


def check_budget(options: OptEmbed, budget: int | None, parameters: int) -> None:
    """Raise UsageError: the pruned model, which has no widths to choose, is above the budget."""
    if budget is not None and parameters > budget:
        raise options.exceeded(
            budget, f"the pruned model has {parameters:,}; raise it, or raise alpha, so that more ids are pruned."
        )
