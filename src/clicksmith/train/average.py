"""A running mean of the weights, one term per evaluation: wider optima than any single step ends in.

Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018 (SWA). The mean is
arithmetic at first, and exponential once it spans `length` evaluations: the first weights, far from good, must fade.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clicksmith.train.checkpoint import weights_of


class WeightMean:
    """The mean of a model's weights at its evaluations; running statistics are averaged too, counts are not.

    `length` 1 keeps nothing: the mean is the model.
    """

    def __init__(self, model: nn.Module, length: int) -> None:
        self.model, self.length, self.terms = model, length, 0
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Take the model's weights in, which must be up to date."""
        if self.length == 1:
            return
        self.terms += 1
        own = weights_of(self.model)
        for name, tensor in own.items():
            if name not in self.mean or not tensor.is_floating_point():
                self.mean[name] = tensor.clone()
            else:
                self.mean[name].lerp_(tensor, max(1 / self.terms, 2 / (self.length + 1)))

    @contextmanager
    def in_model(self) -> Generator[None]:
        """Give the model the mean meanwhile; afterwards it has the same bits as before."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights of the model and the mean, tensor by tensor."""
        if not self.terms:
            return
        for name, tensor in weights_of(self.model).items():
            kept = tensor.clone()
            tensor.copy_(self.mean[name])
            self.mean[name] = kept

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"terms": self.terms, "mean": self.mean}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.terms = int(state["terms"])
        own = weights_of(self.model)
        self.mean = {name: tensor.to(own[name].device) for name, tensor in state["mean"].items()}
