"""Weights for the refit to begin with: those of the supernet, in the rows and columns that the Plan keeps."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.embed.mixed import MixedTable
from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.models.spec import CTRModel
from clicksmith.search.optembed.widths import SampledTable
from clicksmith.train.checkpoint import weights_of

TABLE = "embedder.columns.table."


def startable(whole: CTRModel) -> bool:
    """Return whether a refit can begin with weights of this supernet: not where a Plan gave its table columns."""
    columns = whole.embedder.columns
    return columns is None or isinstance(columns.table, SampledTable)


@torch.no_grad()
def started(compact: CTRModel, whole: CTRModel, kept: dict[str, NDArray[np.bool_]]) -> CTRModel:
    """Return the compact model with the weights of the supernet; kept ids are numbered closely, in their order."""
    source, rows = weights_of(whole), {slot: torch.from_numpy(np.flatnonzero(mask)) for slot, mask in kept.items()}
    stores = {f"{name}.weight": m for name, m in compact.named_modules() if isinstance(m, RowStore)}
    for name, into in weights_of(compact).items():
        if not name.startswith(TABLE):
            into.copy_(_rows(stores[name], source[name], _whole(whole, name), rows) if name in stores else source[name])
    columns = compact.embedder.columns
    if columns is None or whole.embedder.columns is None:
        return compact
    table, (old, *_) = columns.table, row_stores(whole.embedder.columns)
    if not isinstance(table, MixedTable):
        (store,) = row_stores(columns)
        store.weight.copy_(_rows(store, old.weight, old, rows))
        return compact
    starts: dict[str, int] = {}
    pieces: list[Tensor] = []
    for slot, _ in old.slots:
        starts[slot] = sum(len(piece) for piece in pieces)
        pieces.append(old.weight[rows[slot] + old.starts[slot]])
    table.fill(torch.cat(pieces), starts)
    return compact


def _whole(model: CTRModel, name: str) -> RowStore:
    """Return the store of a weight."""
    found: nn.Module = model.get_submodule(name.removesuffix(".weight"))
    assert isinstance(found, RowStore)
    return found


def _rows(store: RowStore, weight: Tensor, old: RowStore, rows: dict[str, Tensor]) -> Tensor:
    """Return the rows of an old store that are left, slot by slot."""
    pieces: list[Tensor] = []
    for slot, count in store.slots:
        own = rows[slot] if slot in rows else torch.arange(count)
        pieces.append(weight[own + old.starts[slot]])
    return torch.cat(pieces)
