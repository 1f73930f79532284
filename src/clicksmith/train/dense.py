"""Optimisers of ordinary parameters, by torch's functions: its classes first import its compiler, for seconds."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.sgd import sgd

__all__ = ["DenseOptimizer", "Kind"]

Kind = Literal["adam", "adagrad", "sgd"]
_KEPT = {"adam": ("step", "exp_avg", "exp_avg_sq"), "adagrad": ("step", "sum"), "sgd": ()}


class DenseOptimizer:
    """Adam, Adagrad or SGD, fused, with torch's default settings; the learning rate is given with every step.

    Args:
        weights: leave a step as they are when they have no gradient.
    """

    def __init__(self, kind: Kind, weights: Sequence[nn.Parameter]) -> None:
        self.kind, self.weights = kind, list(weights)
        self._kept: dict[str, list[Tensor]] = {name: [self._zero(name, p) for p in weights] for name in _KEPT[kind]}

    @staticmethod
    def _zero(name: str, weight: Tensor) -> Tensor:
        step = torch.zeros((), dtype=torch.float32, device=weight.device)
        return step if name == "step" else torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, learning_rate: float, weight_decay: float = 0.0) -> None:
        """Move the weights that have a gradient."""
        moving = [i for i, weight in enumerate(self.weights) if weight.grad is not None]
        if not moving:
            return
        weights: list[Tensor] = [self.weights[i] for i in moving]
        grads = [grad for weight in weights if (grad := weight.grad) is not None]
        kept = {name: [values[i] for i in moving] for name, values in self._kept.items()}
        if self.kind == "adam":
            adam(
                weights, grads, kept["exp_avg"], kept["exp_avg_sq"], [], kept["step"], fused=True, lr=learning_rate,
                weight_decay=weight_decay, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip
        elif self.kind == "adagrad":
            adagrad(
                weights, grads, kept["sum"], kept["step"], fused=True, lr=learning_rate, weight_decay=weight_decay,
                lr_decay=0.0, eps=1e-10, maximize=False,
            )  # fmt: skip
        else:
            sgd(
                weights, grads, [None] * len(weights), fused=True, lr=learning_rate, weight_decay=weight_decay,
                momentum=0.0, dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        """Return what is kept, by the weight's number."""
        return {i: {name: values[i] for name, values in self._kept.items()} for i in range(len(self.weights))}

    def load_state_dict(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Take over a saved state; its keys may be text."""
        for key, entry in state.items():
            for name, value in entry.items():
                self._kept[name][int(key)].copy_(value)
