"""Derivatives that can be differentiated again, for functions whose own derivatives cannot."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def derivatives(
    function: Callable[..., Tensor], given: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> tuple[Any, ...]:
    """Return the derivative of `function(*given)` by each of the given that is needed, None for the others.

    grad: the derivative of the loss by what the function gives.
    Each is by what is given alone: what made it, perhaps from another of them, is differentiated elsewhere.
    """
    apart = [None if t is None else t.view_as(t) for t in given]
    wanted = [t for t, is_needed in zip(apart, needed, strict=True) if t is not None and is_needed]
    if not wanted:
        return (None,) * len(apart)
    found = iter(torch.autograd.grad(function(*apart), wanted, grad, create_graph=True))
    return tuple(
        next(found) if t is not None and is_needed else None for t, is_needed in zip(apart, needed, strict=True)
    )
