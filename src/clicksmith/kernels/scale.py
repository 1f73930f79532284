"""Numbers times vectors, with a vector of their own for missing ones: how a numeric column becomes a field."""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for, pointer, row_dtype, traced


def scaled(numeric: Tensor, weight: Tensor, missing: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x_c weight_c (+ bias_c)`, or `missing_c` where x_c is NaN, in the type embedding rows have.

    Shape:
        numeric: [batch, columns]
        weight, missing, bias: [columns, dim]
        out:     [batch, columns, dim]
    """
    dtype = row_dtype(weight)
    numeric = numeric.contiguous()
    known = native_for(numeric, weight, missing, *(() if bias is None else (bias,)))
    if (
        traced()
        or numeric.requires_grad
        or numeric.dtype != torch.float32
        or weight.dtype != torch.float32
        or known is None
    ):
        return _scaled(numeric.to(weight.dtype), weight, missing, bias).to(dtype)
    if not torch.is_grad_enabled():
        return _compiled(numeric, weight, missing, bias, dtype)
    return cast("Tensor", _Scaled.apply(numeric, weight, missing, bias, dtype))


def _scaled(numeric: Tensor, weight: Tensor, missing: Tensor, bias: Tensor | None) -> Tensor:
    x = numeric.unsqueeze(-1)
    vectors = x.nan_to_num() * weight
    return torch.where(x.isnan(), missing, vectors if bias is None else vectors + bias)


def _compiled(numeric: Tensor, weight: Tensor, missing: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    out = torch.empty((*numeric.shape, weight.shape[1]), dtype=dtype)
    native_for(numeric).cs_scale_forward(
        numeric.data_ptr(), weight.data_ptr(), missing.data_ptr(), pointer(bias),
        out.data_ptr(), *out.shape, dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    return out


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, numeric: Tensor, weight: Tensor, missing: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(numeric, weight, bias)
        return _compiled(numeric, weight, missing, bias, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        numeric, weight, bias = ctx.saved_tensors
        g = grads[0]
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            x, absent = numeric.nan_to_num().unsqueeze(-1), numeric.isnan().unsqueeze(-1)
            g = g.to(weight.dtype)
            seen = g * ~absent
            return None, (seen * x).sum(0), (g * absent).sum(0), None if bias is None else seen.sum(0), None
        if g.stride()[1:] != (g.shape[2], 1):
            g = g.contiguous()
        into = torch.empty((3, *weight.shape), dtype=torch.float32)
        failed = native_for(numeric).cs_scale_backward(
            numeric.data_ptr(), g.data_ptr(), into.data_ptr(), *g.shape, g.stride(0), g.dtype == torch.bfloat16,
            torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for the gradient of numeric columns; use a smaller batch.")
        return None, into[0], into[1], None if bias is None else into[2], None
