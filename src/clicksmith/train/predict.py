"""Scoring encoded rows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clicksmith.batch.batch import inputs_of, to_device
from clicksmith.encode.layout import Layout
from clicksmith.encode.store import Store
from clicksmith.errors import DataError
from clicksmith.kernels.settled import settle

_RELEASE = 16


def check_layout(model: nn.Module, store: Store, what: str) -> None:
    """Raise DataError unless `store` holds rows of the layout that `model` was built for.

    With equal layouts every id fits its table: the encoder gives no others.
    """
    wanted = getattr(model, "layout", None)
    if isinstance(wanted, Layout) and wanted.digest != store.layout.digest:
        raise DataError(
            f"{what} have layout {store.layout.digest[:12]}, the model was built for {wanted.digest[:12]}; encode them "
            "with the encoder that the model's layout is from."
        )


def predict_logits(model: nn.Module, store: Store, batch_size: int = 16384) -> NDArray[np.float32]:
    """Return the logits of all rows of a store, in order, computed in float32: [rows, outputs].

    The model is left as it was, in training or evaluation mode; it stays on its device.
    Raises DataError for rows of another layout than the model's.
    """
    check_layout(model, store, "the rows")
    training = model.training
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pieces: list[NDArray[np.float32]] = []
    model.eval()
    try:
        settle(model)  # until `train` says what comes next
        with torch.inference_mode():
            for number, start in enumerate(range(0, max(store.rows, 1), batch_size), 1):
                inputs = to_device(inputs_of(store.slice(start, start + batch_size)), device)
                pieces.append(model(inputs).logits.float().cpu().numpy())
                if number % _RELEASE == 0:
                    store.release()
    finally:
        model.train(training)
    return np.concatenate(pieces)
