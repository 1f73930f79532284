"""Scoring encoded rows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clicksmith.batch.batch import batch_of, to_device
from clicksmith.encode.store import Store


def predict_logits(model: nn.Module, store: Store, batch_size: int = 16384) -> NDArray[np.float32]:
    """Return the logits of all rows of a store, in order, computed in float32: [rows, outputs].

    The model is left as it was, in training or evaluation mode; it stays on its device.
    """
    training = model.training
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pieces: list[NDArray[np.float32]] = []
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, max(store.rows, 1), batch_size):
                inputs = to_device(batch_of(store.slice(start, start + batch_size)).inputs, device)
                pieces.append(model(inputs).logits.float().cpu().numpy())
    finally:
        model.train(training)
    return np.concatenate(pieces)
