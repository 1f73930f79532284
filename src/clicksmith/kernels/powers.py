"""Powers of products in C: `batch_norm(exp(logs w'))`, the logarithmic neurons of AFN.

The products have few inputs and many outputs. In training torch keeps four tensors of their size for the derivative;
here each pass computes them anew.
"""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from clicksmith.kernels.again import derivatives
from clicksmith.kernels.ops import native_for, pointer, traced
from clicksmith.kernels.settled import scoring


def powers(logs: Tensor, weight: Tensor, norm: nn.BatchNorm1d, dtype: torch.dtype) -> Tensor:
    """Return `norm(exp(logs weight'))`, rounded to `dtype` at the end.

    Shape:
        logs: [rows, inputs]
        weight: [outputs, inputs]
        out: [rows, outputs]
    """
    if _known(logs, weight, norm, dtype):
        if norm.training and torch.is_grad_enabled():
            return cast("Tensor", _Powers.apply(logs, weight, norm.weight, norm.bias, norm, dtype))
        if not norm.training and scoring(logs):
            return _scaled(logs, weight, norm, dtype)
    return norm(torch.exp(logs @ weight.t())).to(dtype)


def _known(logs: Tensor, weight: Tensor, norm: nn.BatchNorm1d, dtype: torch.dtype) -> bool:
    """Return whether the kernels can work on these; sizes that do not fit are torch's to refuse."""
    columns = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return (
        not traced()
        and norm.momentum is not None
        and all(t is not None and t.dtype == torch.float32 and t.shape == weight.shape[:1] for t in columns)
        and logs.dtype == weight.dtype == torch.float32
        and logs.dim() == weight.dim() == 2
        and logs.shape[0] > 1
        and logs.shape[1] == weight.shape[1]
        and dtype in (torch.float32, torch.bfloat16)
        and native_for(logs, weight, *cast("tuple[Tensor, ...]", columns)) is not None
    )


def _scaled(logs: Tensor, weight: Tensor, norm: nn.BatchNorm1d, dtype: torch.dtype) -> Tensor:
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    out = logs.new_empty(logs.shape[0], weight.shape[0], dtype=dtype)
    _enough(
        native_for().cs_powers(
            logs.data_ptr(), weight.data_ptr(), out.data_ptr(), *logs.shape, weight.shape[0], scale.data_ptr(),
            shift.data_ptr(), dtype == torch.bfloat16, torch.get_num_threads(),
        )
    )  # fmt: skip
    return out


class _Powers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logs: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d, dtype: torch.dtype
    ) -> Tensor:
        out, mean, inverse = logs.new_empty(len(logs), len(weight), dtype=dtype), gamma.clone(), gamma.clone()
        _enough(
            native_for().cs_powers_forward(
                logs.data_ptr(), weight.data_ptr(), out.data_ptr(), *logs.shape, len(weight), gamma.data_ptr(),
                beta.data_ptr(), pointer(norm.running_mean), pointer(norm.running_var), norm.momentum, norm.eps,
                mean.data_ptr(), inverse.data_ptr(), dtype == torch.bfloat16, torch.get_num_threads(),
            )
        )  # fmt: skip
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(logs, weight, gamma, beta, mean, inverse)
        ctx.eps = norm.eps
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logs, weight, gamma, beta, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            given, again = (logs, weight, gamma, beta), partial(_again, ctx.eps)
            with torch.autocast(logs.device.type, enabled=False):
                return (*derivatives(again, given, ctx.needs_input_grad[:4], grads[0].float()), None, None)
        g = grads[0] if grads[0].dtype in (torch.float32, torch.bfloat16) else grads[0].float()
        g, dlogs, dweight = g.contiguous(), torch.empty_like(logs), torch.empty_like(weight)
        dgamma, dbeta = torch.empty_like(gamma), torch.empty_like(beta)
        _enough(
            native_for().cs_powers_backward(
                g.data_ptr(), logs.data_ptr(), weight.data_ptr(), dlogs.data_ptr(), dweight.data_ptr(), *logs.shape,
                len(weight), gamma.data_ptr(), mean.data_ptr(), inverse.data_ptr(), dgamma.data_ptr(),
                dbeta.data_ptr(), g.dtype == torch.bfloat16, torch.get_num_threads(),
            )
        )  # fmt: skip
        return dlogs, dweight, dgamma, dbeta, None, None


def _again(eps: float, logs: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return what the kernel does by torch operations."""
    y = torch.exp(logs @ weight.t())
    return nn.functional.batch_norm(y, None, None, gamma, beta, training=True, eps=eps)


def _enough(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for the work space of a layer of powers; use a smaller batch.")
