"""Layers of a model whose weights change no more: what can be computed ahead of scoring is, once.

`settle(model)` asks every layer that knows how; training and loading weights make it forget again. Products then have
their weights in the order that the kernel reads them in, with batch norm in the weights and ReLU in the epilogue. In
float32 the kernel is our own; in bfloat16, and where kernels are not compiled, oneDNN's.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from clicksmith.kernels.dense import lowered, multiplies, probe, product, supported
from clicksmith.kernels.ops import traced
from clicksmith.kernels.panels import panels


def settle(module: nn.Module) -> None:
    """Let the outermost layers that can be settled do so; `module` is in evaluation mode."""
    if isinstance(module, Settling):
        module.settle()
        return
    for child in module.children():
        settle(child)


class Settling(nn.Module):
    """A layer that keeps in `kept` what `settle` computed, or None. Copies and pickles come without it."""

    kept: Any = None

    def settle(self) -> None:
        """Compute what scoring can use again; here nothing but what the children can."""
        for child in self.children():
            settle(child)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; what `settle` computed is forgotten."""
        self.kept = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was computed: packed weights cannot be copied."""
        return {name: value for name, value in self.__dict__.items() if name != "kept"}

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: Any,
        local_metadata: Any,
        strict: Any,
        missing_keys: Any,
        unexpected_keys: Any,
        error_msgs: Any,
    ) -> None:
        """Load weights; what `settle` computed from others is forgotten."""
        self.kept = None
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class Product:
    """`activation(x w' + b)` with packed weights: float32, or bfloat16 under autocast, each packed at its first use."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        self.weight, self.bias, self.activation = weight.detach(), None if bias is None else bias.detach(), activation
        self._packed: dict[torch.dtype, Callable[[Tensor], Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Map [batch, inputs] to [batch, outputs]."""
        dtype = torch.bfloat16 if lowered() else torch.float32
        packed = self._packed.get(dtype)
        if packed is None:
            packed = self._packed[dtype] = self._pack(dtype)
        return packed(x.to(dtype))

    def _pack(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        with torch.inference_mode(False), torch.no_grad():  # packed while scoring, it serves callers without it too
            own = panels(self.weight, self.bias, self.activation) if dtype == torch.float32 else None
            if own is not None:
                return own
            bias, weight = None if self.bias is None else self.bias.to(dtype), self.weight.to(dtype).contiguous()
            weight = weight if multiplies(dtype) else weight.float()
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
            return partial(product, w=weight, b=bias, activation=self.activation)


_ROWS = 128
"""Rows to choose the order of the weights for; it fits fewer and more rows nearly as well."""


def product_of(layer: nn.Linear, norm: nn.BatchNorm1d | None = None, activation: str = "none") -> Product | None:
    """Return activation(norm(layer(x))) as one product, or None where that cannot be."""
    if not _packs() or layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu":
        return None
    if norm is None:
        return Product(layer.weight, layer.bias, activation)
    if norm.running_mean is None or norm.running_var is None:
        return None
    with torch.no_grad():
        factor = (norm.running_var.double() + norm.eps).rsqrt()
        factor = factor if not norm.affine else factor * norm.weight.double()
        shift = -norm.running_mean.double() * factor
        shift = shift if not norm.affine else shift + norm.bias.double()
        bias = cast("Tensor | None", layer.bias)
        shift = shift if bias is None else shift + bias.double() * factor
        return Product((layer.weight.double() * factor.unsqueeze(1)).float(), shift.float(), activation)


def scoring(x: Tensor) -> bool:
    """Return whether products may stand for the layers on input `x`: nothing is trained, traced or on a device."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.numel() > 0
        and not traced()
        and (torch.get_autocast_dtype("cpu") == torch.bfloat16 if lowered() else x.dtype == torch.float32)
    )


@cache
def _packs() -> bool:
    """Return whether oneDNN's packed weights are at hand, tried once."""
    if not supported():
        return False
    x, w = probe(torch.float32)
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return torch.allclose(Product(w, None)(x), x @ w.t(), atol=1e-4)
    except (AttributeError, RuntimeError):
        return False
