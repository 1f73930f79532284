"""Products with weights that change no more, compiled: float32, the weights in panels that the kernel reads in order.

What all rows share, such as a user's part of the candidates' inputs, is multiplied once. A row's result does not depend
on the number of threads, and on the other rows only in how its sum is rounded.
"""

from typing import Any

import torch
from torch import Tensor

from clicksmith.kernels import native


class Panels:
    """`activation(x w' + b)` for weights [outputs, inputs] of float32; the activation is "relu" or "none".

    Shape:
        x:   [batch, inputs]
        out: [batch, outputs]
    """

    def __init__(self, kernels: Any, weight: Tensor, bias: Tensor | None, activation: str) -> None:
        across: int = kernels.cs_product_panel()
        self.outputs, self.inputs = weight.shape
        self.relu = activation == "relu"
        panels = -(-self.outputs // across)
        padded = torch.zeros((panels * across, self.inputs), dtype=torch.float32)
        padded[: self.outputs] = weight
        self._weight = padded.unflatten(0, (panels, across)).transpose(1, 2).contiguous()
        self._bias = torch.zeros(panels * across, dtype=torch.float32)
        if bias is not None:
            self._bias[: self.outputs] = bias
        self._kernel, self._fixed = kernels.cs_product, (self._weight.data_ptr(), self._bias.data_ptr())

    def __call__(self, x: Tensor) -> Tensor:
        """Map [batch, inputs] to [batch, outputs]."""
        if x.shape[1] != self.inputs:
            raise RuntimeError(f"rows of {x.shape[1]} numbers meet weights for {self.inputs}")
        x, out = x.contiguous(), torch.empty((x.shape[0], self.outputs), dtype=torch.float32)
        failed = self._kernel(
            x.data_ptr(), *self._fixed, out.data_ptr(), x.shape[0], self.inputs, self.outputs, self.relu,
            torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for the work space of a product; score fewer rows at once.")
        return out


def panels(weight: Tensor, bias: Tensor | None, activation: str) -> Panels | None:
    """Return the product of float32 weights, or None where there are no compiled kernels."""
    kernels = native.library()
    return None if kernels is None else Panels(kernels, weight, bias, activation)
