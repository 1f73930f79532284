"""One step of Adam, Adagrad or SGD on chosen rows of a table, in C, with torch operations as the fall-back.

`rows` [n] are distinct, -1 where nothing is to be done; `grad` [n, dim] float32 as `ops.merge` gives them. `l2` times
the weight is added to the gradient, divided by `counts[row]` where counts are given (mini-batch-aware L2, DIN).
`scale` multiplies the gradient before that (clipping).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for, pointer
from clicksmith.kernels.replay import Replay


@dataclass(frozen=True, slots=True)
class Decay:
    """L2 of rows: the factor, and how often each row occurs in training (float32 [rows]) or None."""

    l2: float = 0.0
    counts: Tensor | None = None

    def scaled(self, scale: float) -> "Decay":
        """Return the L2 of a loss whose gradient is clipped: it belongs to the loss and is clipped with it."""
        return self if scale == 1.0 else Decay(self.l2 * scale, self.counts)

    def of(self, rows: Tensor) -> Tensor | float:
        """Return the factor per row [n, 1], or one for all."""
        return self.l2 if self.counts is None else self.l2 / self.counts[rows].clamp(min=1).unsqueeze(1)


@dataclass(frozen=True, slots=True)
class Moments:
    """State of Adam; `last` [rows] int32 is the step a row was brought to (0: never touched), for exact updates."""

    m: Tensor
    v: Tensor
    last: Tensor | None = None


@dataclass(frozen=True, slots=True)
class AdamStep:
    """The numbers of one step of Adam."""

    step: int
    lr: float
    betas: tuple[float, float]
    eps: float

    @property
    def rate(self) -> float:
        """Learning rate with the bias correction of the first moment."""
        return self.lr / (1 - self.betas[0] ** self.step)

    @property
    def correction(self) -> float:
        """Bias correction of the second moment's root."""
        return 1 / math.sqrt(1 - self.betas[1] ** self.step)


def adam_rows(
    weight: Tensor,
    state: Moments,
    rows: Tensor,
    grad: Tensor,
    at: AdamStep,
    *,
    decay: Decay,
    scale: float = 1.0,
    replay: Replay | None = None,
) -> None:
    """Update rows in place; with `replay`, steps that a row missed are made up first."""
    kernels = native_for(weight, rows, grad)
    if kernels is None or weight.dtype != torch.float32:
        if replay is not None:
            catch_up(weight, state, rows, replay)
        _adam_rows(weight, state, rows[rows >= 0], grad[rows >= 0], at, decay=decay, scale=scale)
        return
    kernels.cs_adam_rows(
        weight.data_ptr(), state.m.data_ptr(), state.v.data_ptr(), pointer(state.last), rows.data_ptr(),
        grad.data_ptr(), pointer(decay.counts), rows.shape[0], weight.shape[1], at.step, at.rate,
        *at.betas, at.eps, at.correction, decay.l2, scale, replay.table.data_ptr() if replay else None,
        replay.decay.data_ptr() if replay else None, replay.decay.shape[0] if replay else 0, torch.get_num_threads(),
    )  # fmt: skip


def _adam_rows(
    weight: Tensor, state: Moments, rows: Tensor, grad: Tensor, at: AdamStep, *, decay: Decay, scale: float
) -> None:
    b1, b2 = at.betas
    w = weight[rows]
    g = grad.to(w.dtype) * scale + decay.of(rows) * w
    m = state.m[rows].mul_(b1).add_(g, alpha=1 - b1)
    v = state.v[rows].mul_(b2).addcmul_(g, g, value=1 - b2)
    state.m[rows], state.v[rows] = m, v
    weight[rows] = w - at.rate * m / (v.sqrt() * at.correction + at.eps)
    if state.last is not None:
        state.last[rows] = at.step


def adam_dense(
    weight: Tensor, state: Moments, grad: Tensor, at: AdamStep, *, l2: float = 0.0, scale: float = 1.0
) -> None:
    """Update every row from a dense gradient [rows, dim], which is set to zero afterwards."""
    kernels = native_for(weight, grad)
    if kernels is None or weight.dtype != torch.float32:
        b1, b2 = at.betas
        g = grad.mul_(scale).add_(weight, alpha=l2)
        state.m.mul_(b1).add_(g, alpha=1 - b1)
        state.v.mul_(b2).addcmul_(g, g, value=1 - b2)
        weight.sub_(at.rate * state.m / (state.v.sqrt() * at.correction + at.eps))
        grad.zero_()
        return
    kernels.cs_adam_dense(
        weight.data_ptr(), state.m.data_ptr(), state.v.data_ptr(), grad.data_ptr(), weight.numel(), at.rate, *at.betas,
        at.eps, at.correction, l2, scale, torch.get_num_threads(),
    )  # fmt: skip


def catch_up(weight: Tensor, state: Moments, rows: Tensor | None, replay: Replay) -> None:
    """Make up the steps that rows [any shape, duplicates and -1 allowed] missed; all rows if None."""
    last = state.last
    if last is None or replay.step == 0:
        return
    kernels = native_for(weight) if rows is None else native_for(weight, rows)
    if kernels is None or weight.dtype != torch.float32:
        _catch_up(weight, state, last, rows, replay)
        return
    kernels.cs_adam_catch_up(
        weight.data_ptr(), state.m.data_ptr(), state.v.data_ptr(), last.data_ptr(), pointer(rows),
        weight.shape[0] if rows is None else rows.numel(), weight.shape[1], replay.step, replay.betas[1],
        replay.table.data_ptr(), replay.decay.data_ptr(), replay.decay.shape[0], torch.get_num_threads(),
    )  # fmt: skip


def _catch_up(weight: Tensor, state: Moments, last: Tensor, rows: Tensor | None, replay: Replay) -> None:
    rows = torch.arange(weight.shape[0], device=weight.device) if rows is None else torch.unique(rows[rows >= 0])
    since = last[rows].to(torch.int64)
    late = (since > 0) & (since < replay.step)
    rows, since = rows[late], since[late]
    p1, e1, p2, e2 = replay.table.to(weight)[since].unsqueeze(2).unbind(1)
    m, v = state.m[rows], state.v[rows]
    root = v.sqrt()
    weight[rows] -= m * (p1 / (root + e1) + p2 / (root + e2))
    missed = (replay.step - since).to(weight.dtype).unsqueeze(1)
    faded = torch.tensor(replay.betas[0], dtype=weight.dtype, device=weight.device) ** missed
    state.m[rows] = m * faded.masked_fill(faded < 1e-30, 0.0)
    state.v[rows] = v * torch.tensor(replay.betas[1], dtype=weight.dtype, device=weight.device) ** missed
    last[rows] = replay.step


def adagrad_rows(
    weight: Tensor, v: Tensor, rows: Tensor, grad: Tensor, lr: float, eps: float, *, decay: Decay, scale: float = 1.0
) -> None:
    """Adagrad; `v` is the sum of squares."""
    kernels = native_for(weight, rows, grad)
    if kernels is None or weight.dtype != torch.float32:
        rows, grad = rows[rows >= 0], grad[rows >= 0]
        g = grad.to(weight.dtype) * scale + decay.of(rows) * weight[rows]
        v[rows] += g * g
        weight[rows] -= lr * g / (v[rows].sqrt() + eps)
        return
    kernels.cs_adagrad_rows(
        weight.data_ptr(), v.data_ptr(), rows.data_ptr(), grad.data_ptr(), pointer(decay.counts), rows.shape[0],
        weight.shape[1], lr, eps, decay.l2, scale, torch.get_num_threads(),
    )  # fmt: skip


def sgd_rows(weight: Tensor, rows: Tensor, grad: Tensor, lr: float, *, decay: Decay, scale: float = 1.0) -> None:
    """Plain stochastic gradient descent."""
    kernels = native_for(weight, rows, grad)
    if kernels is None or weight.dtype != torch.float32:
        rows, grad = rows[rows >= 0], grad[rows >= 0]
        weight[rows] -= lr * (grad.to(weight.dtype) * scale + decay.of(rows) * weight[rows])
        return
    kernels.cs_sgd_rows(
        weight.data_ptr(), rows.data_ptr(), grad.data_ptr(), pointer(decay.counts), rows.shape[0], weight.shape[1], lr,
        decay.l2, scale, torch.get_num_threads(),
    )  # fmt: skip
