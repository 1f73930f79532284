"""What dense Adam does to rows without a gradient, in closed form: the coefficients of exact catch-up.

A row last touched at step L with moments m and v, brought to step T, moves by

    w -= sum over t = L+1 .. T of  lr_t m b1^(t-L) / (1 - b1^t)  /  (sqrt(v b2^(t-L) / (1 - b2^t)) + eps)

With s = sqrt(v) this is m times a Stieltjes function of eps/s, sum_t a_t / (s + x_t eps). Its two-node Gauss rule,
p1 / (s + x1 eps) + p2 / (s + x2 eps), has the same first four moments and depends on L and T only: a row costs
two divisions however many steps it missed. Terms die out like (b1 / b2^2)^(t-L): after `window` steps nothing is added.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clicksmith.errors import UsageError

_NEGLIGIBLE = 1e-12


class Replay:
    """Coefficients for every past step, kept up to date one step at a time; the learning rate may change."""

    def __init__(self, betas: tuple[float, float], eps: float) -> None:
        self.betas, self.eps = betas, eps
        b1, b2 = betas
        if not 0 <= b1 < b2**2 < 1:
            raise UsageError(
                f"betas ({b1}, {b2}) do not allow the exact row update, which needs beta1 < beta2 squared < 1; "
                "use update='dense' or 'lazy', or other betas."
            )
        ratios = np.array([b1 * b2 ** (-(1 + j) / 2) for j in range(4)], np.float64)
        self.window = math.ceil(math.log(_NEGLIGIBLE) / math.log(max(ratios[3], 1e-3)))
        self.powers: NDArray[np.float64] = ratios ** np.arange(1.0, self.window + 1)[:, None]
        self.moments: NDArray[np.float64] = np.zeros((self.window, 4))
        self.step = 0
        self.table = torch.zeros((1024, 4), dtype=torch.float32)
        missed = np.arange(4096)
        self.decay = torch.from_numpy(np.stack([b1**missed, b2**missed], 1).astype(np.float32))
        self.decay[self.decay < 1e-30] = 0.0

    def advance(self, lr: float) -> None:
        """Add a step made with learning rate `lr` to what rows not touched in it have missed."""
        self.step += 1
        b1, b2 = self.betas
        c = math.sqrt(1 - b2**self.step)
        self.moments[1:] = self.moments[:-1]
        self.moments[0] = 0.0
        self.moments += self.powers * (lr / (1 - b1**self.step) * c ** np.arange(1, 5))
        if self.step > self.table.shape[0]:
            self.table = torch.cat([self.table, torch.zeros_like(self.table)])
        count = min(self.step, self.window)
        recent = _gauss(self.moments[:count], self.eps)
        self.table[self.step - count : self.step] = torch.from_numpy(recent[::-1].astype(np.float32))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on with the same bits."""
        return {
            "step": self.step,
            "moments": torch.from_numpy(self.moments.copy()),
            "table": self.table[: self.step].clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.step = int(state["step"])
        self.moments[:] = state["moments"].numpy()
        size = 1024
        while size < self.step:
            size *= 2
        self.table = torch.zeros((size, 4), dtype=torch.float32)
        self.table[: self.step] = state["table"]


def _gauss(moments: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
    """Return (p1, x1 eps, p2, x2 eps) for rows of the moments 0 to 3 of a positive measure."""
    total = moments[:, 0]
    safe = np.where(total > 0, total, 1.0)
    mean, second, third = (moments[:, j] / safe for j in (1, 2, 3))
    variance = second - mean**2
    spread = variance > 1e-12 * mean**2
    variance = np.where(spread, variance, 1.0)
    skew = np.where(spread, (third - 3 * mean * second + 2 * mean**3) / variance, 0.0)
    width = np.sqrt(skew**2 + 4 * variance)
    low = np.where(spread, (skew - width) / 2, 0.0)
    high = np.where(spread, (skew + width) / 2, 0.0)
    first = np.where(spread, high / width, 1.0)
    return np.stack([total * first, (mean + low) * eps, total * (1 - first), (mean + high) * eps], 1)
