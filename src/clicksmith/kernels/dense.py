"""Products and fused element-wise work of dense layers, forward and backward, for training on the processor.

The product is oneDNN's with bias and ReLU in its epilogue; batch norm, ReLU and dropout are one pass each way (C).
Under autocast everything is bfloat16 but the weights, statistics and gradients of weights. `ready` says when these may
be used; everywhere else (export, float64, cuda, torch.func) the ordinary torch modules run, and in scoring what
`settled` makes of them.
"""

from functools import cache
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from clicksmith.kernels import native
from clicksmith.kernels.again import derivatives
from clicksmith.kernels.ops import pointer, traced

NARROW = 16
"""Products with fewer outputs are left to torch."""


def ready(x: Tensor) -> bool:
    """Return whether the functions of this module may be used on [batch, width] input `x`."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dim() == 2
        and x.shape[0] > 1
        and x.dtype in (torch.float32, torch.bfloat16)
        and (x.dtype == torch.float32 or lowered())
        and not traced()
        and native.library() is not None
        and _pointwise() is not None
        and (not lowered() or torch.get_autocast_dtype("cpu") == torch.bfloat16)
    )


def lowered() -> bool:
    """Return whether autocast asks for lower precision."""
    return torch.is_autocast_enabled("cpu")


@cache
def _pointwise() -> Any:
    """Return oneDNN's product with an epilogue, probed once against torch, or None."""
    try:
        product = torch.ops.mkldnn._linear_pointwise
        x, w = probe(torch.float32)
        with torch.autocast("cpu", enabled=False):
            same = torch.allclose(product(x, w, None, "relu", [], ""), torch.relu(x @ w.t()), atol=1e-4)
    except (AttributeError, RuntimeError):
        return None
    return product if same else None


def probe(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return an input and weights; nothing random: a resumed run must find the random stream where it left it."""
    x = torch.linspace(-1, 1, 192, dtype=torch.float32).reshape(8, 24)
    w = torch.linspace(1, -2, 384, dtype=torch.float32).reshape(16, 24)
    return x.to(dtype), w.to(dtype)


def supported() -> bool:
    """Return whether `product` is at hand."""
    return _pointwise() is not None


@cache
def multiplies(dtype: torch.dtype) -> bool:
    """Return whether oneDNN has products of this type on this processor, probed once."""
    x, w = probe(dtype)
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            _pointwise()(x, w, None, "none", [], "")
    except RuntimeError:
        return False
    return True


def product(x: Tensor, w: Tensor, b: Tensor | None, activation: str = "none") -> Tensor:
    """Return activation(x w' + b) in the type of x.

    Where the processor has no bfloat16 products, they are float32 products of the rounded numbers, rounded once: what
    the others do, at the price of float32.
    """
    if multiplies(x.dtype):
        return cast("Tensor", _pointwise()(x, w, b, activation, [], ""))
    y = _pointwise()(x.float(), w.float(), None if b is None else b.float(), activation, [], "")
    return cast("Tensor", y).to(x.dtype)


def product_plus(x: Tensor, w: Tensor, plus: Tensor) -> Tensor:
    """Return x w' + plus in the type of x."""
    if multiplies(x.dtype):
        return cast("Tensor", torch.ops.mkldnn._linear_pointwise.binary(x, plus, w, None, "add"))
    return torch.addmm(plus.float(), x.float(), w.float().t()).to(x.dtype)


def _lower(t: Tensor | None, dtype: torch.dtype) -> Any:
    return None if t is None else t.detach().to(dtype)


def _seed(drop: float) -> int:
    return int(torch.randint(0, 2**62, (), dtype=torch.int64)) if drop else 0


def _half(t: Tensor) -> bool:
    return t.dtype == torch.bfloat16


def _no_second(low: bool) -> None:
    if low:
        _refuse()


def _refuse() -> NoReturn:
    raise RuntimeError(
        "a second derivative is wanted through a bfloat16 layer, which keeps only lowered inputs; "
        "leave autocast out around steps that differentiate twice."
    )


class _Linear(torch.autograd.Function):
    """dropout(relu(x w' + b)), ReLU and dropout optional."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, relu: bool, drop: float) -> Tensor:
        dtype = torch.bfloat16 if lowered() else torch.float32
        low = x.detach().to(dtype).contiguous()
        y = product(low, _lower(w, dtype), _lower(b, dtype), "relu" if relu else "none")
        if drop:
            kernels, threads = native.library(), torch.get_num_threads()
            kernels.cs_drop(y.data_ptr(), y.numel(), drop, _seed(drop), _half(y), threads)  # type: ignore[union-attr]
        ctx.low, ctx.relu, ctx.drop = dtype != torch.float32, relu, drop
        ctx.save_for_backward(low if ctx.low else x, w, b, y if relu else None)
        ctx.source = x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, w, b, y = ctx.saved_tensors
        g = grads[0]
        if torch.is_grad_enabled():
            _no_second(ctx.low)
            g = g if y is None else g * (y > 0) / (1 - ctx.drop)
            return g @ w, g.t() @ x, None if b is None else g.sum(0), None, None
        g = g.to(x.dtype).contiguous()
        g, gb = relu_backward(g, y, ctx.drop, bias=b is not None)
        gx = product(g, _lower(w, x.dtype).t(), None).to(ctx.source) if ctx.needs_input_grad[0] else None
        return gx, weight_grad(g, x), gb, None, None


def relu_backward(g: Tensor, y: Tensor | None, drop: float, *, bias: bool) -> tuple[Tensor, Tensor | None]:
    """Return the gradient before dropout and ReLU (y None: there were none) and its sum over the batch."""
    if y is None and not bias:
        return g, None
    out = g if y is None else torch.empty_like(g)
    sums = torch.empty(g.shape[1], dtype=torch.float32)
    failed = native.library().cs_relu_backward(  # type: ignore[union-attr]
        g.data_ptr(), pointer(y), out.data_ptr(), sums.data_ptr(), *g.shape, drop, _half(g),
        torch.get_num_threads(),
    )  # fmt: skip
    _enough(failed)
    return out, sums if bias else None


def weight_grad(g: Tensor, x: Tensor) -> Tensor:
    """Return g' x in float32, of g [rows, outputs] and x [rows, inputs].

    It is our own product: torch's in float32 leaves AVX-512 unused on some processors. In bfloat16 it is torch's where
    the processor has tile registers.
    """
    if not multiplies(x.dtype):
        g, x = g.float(), x.float()
    if _half(x) and _has_tiles():
        return (g.t() @ x if x.shape[1] >= g.shape[1] else (x.t() @ g).t().contiguous()).float()
    g, x = g.contiguous(), x.contiguous()
    out = torch.empty(g.shape[1], x.shape[1], dtype=torch.float32)
    failed = native.library().cs_weight_gradient(  # type: ignore[union-attr]
        g.data_ptr(), x.data_ptr(), out.data_ptr(), len(x), g.shape[1], x.shape[1], _half(x), torch.get_num_threads()
    )
    _enough(failed)
    return out


@cache
def _has_tiles() -> bool:
    """Return whether the processor multiplies bfloat16 matrices in tile registers, which oneDNN knows to use."""
    return "amx_bf16" in native.flags()


class _Norm(torch.autograd.Function):
    """dropout(relu(batch_norm(x))); the bias of the layer before is left out of x and gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d, drop: float
    ) -> Tensor:
        y, mean, inverse = torch.empty_like(x), torch.empty_like(gamma), torch.empty_like(gamma)
        kernels, running = native.library(), norm.running_mean is not None
        failed = kernels.cs_norm_forward(  # type: ignore[union-attr]
            x.data_ptr(), y.data_ptr(), *x.shape, gamma.data_ptr(), beta.data_ptr(),
            pointer(bias),
            cast("Tensor", norm.running_mean).data_ptr() if running else None,
            cast("Tensor", norm.running_var).data_ptr() if running else None, norm.momentum, norm.eps, mean.data_ptr(),
            inverse.data_ptr(), drop, _seed(drop), _half(x), torch.get_num_threads(),
        )  # fmt: skip
        _enough(failed)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(x, y, gamma, beta, mean, inverse)
        ctx.drop, ctx.eps, ctx.bias = drop, norm.eps, bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, y, gamma, beta, mean, inverse = ctx.saved_tensors
        no_bias = torch.zeros_like(mean) if ctx.bias else None
        if torch.is_grad_enabled():
            _no_second(_half(x))

            def again(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
                z = nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=ctx.eps)
                return z * (y > 0) / (1 - ctx.drop)

            found = derivatives(again, (x, gamma, beta), ctx.needs_input_grad[:3], grads[0])
            return (*found, no_bias, None, None)
        g, dx, dgamma, dbeta = grads[0].to(x.dtype).contiguous(), torch.empty_like(x), mean.clone(), mean.clone()
        failed = native.library().cs_norm_backward(  # type: ignore[union-attr]
            g.data_ptr(), y.data_ptr(), x.data_ptr(), dx.data_ptr(), *x.shape, gamma.data_ptr(), mean.data_ptr(),
            inverse.data_ptr(), dgamma.data_ptr(), dbeta.data_ptr(), ctx.drop, _half(x), torch.get_num_threads(),
        )  # fmt: skip
        _enough(failed)
        return dx, dgamma, dbeta, no_bias, None, None


class _Cross(torch.autograd.Function):
    """x0 * (x w' + b) + x, the cross layer of DCNv2."""

    @staticmethod
    def forward(ctx: Any, x0: Tensor, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        dtype = torch.bfloat16 if lowered() else torch.float32
        low0, low = x0.detach().to(dtype).contiguous(), x.detach().to(dtype).contiguous()
        y = product(low, _lower(w, dtype), _lower(b, dtype))
        out = torch.empty_like(y)
        native.library().cs_cross_forward(  # type: ignore[union-attr]
            low0.data_ptr(), y.data_ptr(), low.data_ptr(), out.data_ptr(), *y.shape, _half(y), torch.get_num_threads()
        )
        ctx.low, ctx.sources = dtype != torch.float32, (x0.dtype, x.dtype)
        ctx.save_for_backward(*((low0, low) if ctx.low else (x0, x)), w, b, y)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x0, x, w, b, y = ctx.saved_tensors
        if torch.is_grad_enabled():
            _no_second(ctx.low)
            inner, g = grads[0] * x0, grads[0]
            y = x @ w.t() if b is None else x @ w.t() + b
            return g * y, inner @ w + g, inner.t() @ x, None if b is None else inner.sum(0)
        g, x0 = grads[0].to(y.dtype).contiguous(), x0.contiguous()
        inner, dx0 = torch.empty_like(y), torch.empty_like(y)
        sums = torch.empty(w.shape[0], dtype=torch.float32)
        failed = native.library().cs_cross_backward(  # type: ignore[union-attr]
            g.data_ptr(), x0.data_ptr(), y.data_ptr(), inner.data_ptr(), dx0.data_ptr(), sums.data_ptr(), *y.shape,
            _half(y), torch.get_num_threads(),
        )  # fmt: skip
        _enough(failed)
        dx = product_plus(inner, _lower(w, y.dtype).t(), g)
        dx0, dx = dx0.to(ctx.sources[0]), dx.to(ctx.sources[1])
        return dx0, dx, weight_grad(inner, x), None if b is None else sums


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool = False, drop: float = 0.0) -> Tensor:
    """Return dropout(relu(x weight' + bias)) for x [batch, inputs]; dropout needs ReLU before it."""
    return cast("Tensor", _Linear.apply(x, weight, bias, relu, drop))


def norm(x: Tensor, layer: nn.BatchNorm1d, *, bias: Tensor | None, drop: float = 0.0) -> Tensor:
    """Return dropout(relu(layer(x + bias))) in training mode; x [batch, width] comes without the bias."""
    return cast("Tensor", _Norm.apply(x, layer.weight, layer.bias, bias, layer, drop))


def cross(x0: Tensor, x: Tensor, layer: nn.Linear) -> Tensor:
    """Return x0 * layer(x) + x, all [batch, width]."""
    return cast("Tensor", _Cross.apply(x0, x, layer.weight, layer.bias))


def _enough(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for the work space of a dense layer; use a smaller batch.")
