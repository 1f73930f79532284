"""`Once`: what was computed for some ids, for as long as the weights stand still."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Once:
    """Computes something for the same ids once while it is open; while it is closed, each time.

    The main table and the views of a batch ask for the masks of the same ids, and each mask needs the vectors that the
    main table gives. So it is open during every forward pass of an embedder (`during`); while candidates are scored on
    a batch, for all of them (`opened`).
    """

    def __init__(self) -> None:
        self.depth = 0
        self.known: dict[tuple[str, tuple[str, ...]], tuple[Tensor, Tensor]] = {}

    def __call__(
        self, what: str, ids: Tensor, slots: tuple[str, ...], compute: Callable[[Tensor, tuple[str, ...]], Tensor]
    ) -> Tensor:
        """Return `compute(ids, slots)`; ids [..., columns]."""
        if self.depth == 0:
            return compute(ids, slots)
        known = self.known.get((what, slots))
        if known is not None and (known[0] is ids or torch.equal(known[0], ids)):
            return known[1]
        found = compute(ids, slots)
        self.known[what, slots] = (ids, found)
        return found

    @contextmanager
    def opened(self) -> Generator[None]:
        """Remember until the end; the weights must stand still."""
        self._open()
        try:
            yield
        finally:
            self._close()

    def during(self, module: nn.Module) -> None:
        """Be open during each forward pass of a module."""
        module.register_forward_pre_hook(self._open)
        module.register_forward_hook(self._close, always_call=True)

    def _open(self, *_: Any) -> None:
        self.depth += 1

    def _close(self, *_: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.known.clear()
