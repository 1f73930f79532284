"""Earlier weights for the rows that are kept: the start file of a rewound OptFS."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clicksmith.embed.rows import RowStore
from clicksmith.models.spec import CTRModel
from clicksmith.train.checkpoint import weights_of


@torch.no_grad()
def rewound(
    compact: CTRModel, weights: dict[str, Tensor], kept: dict[str, NDArray[np.bool_]], scale: float
) -> CTRModel:
    """Return the compact model with the weights of a whole one, of tables the rows that are kept.

    Their vectors are multiplied by `scale`, the gate of a feature that is kept: the paper's refit keeps it as a factor.
    """
    stores = {f"{name}.weight": module for name, module in compact.named_modules() if isinstance(module, RowStore)}
    for name, into in weights_of(compact).items():
        found = weights[name]
        if name in stores:
            pieces: list[Tensor] = []
            for (slot, count), piece in zip(stores[name].slots, found.split(_sizes(stores[name], kept)), strict=True):
                pieces.append(piece[torch.from_numpy(kept[slot])] * scale if slot in kept else piece)
                assert len(pieces[-1]) == count
            found = torch.cat(pieces)
        into.copy_(found)
    return compact


def _sizes(store: RowStore, kept: dict[str, NDArray[np.bool_]]) -> list[int]:
    """Return how many rows the slots of a compact store had before."""
    return [len(kept[slot]) if slot in kept else rows for slot, rows in store.slots]
