"""What `fit` tells while it works; pass any object with these methods."""

from typing import Protocol

from clicksmith.train.progress import Progress, Silent


class FitProgress(Progress, Protocol):
    """What `fit` tells besides what the trainer tells."""

    def said(self, text: str) -> None:
        """A step is done, in words."""
        ...

    def encoding(self, part: str, done: int, expected: int) -> None:
        """Rows of a part are read: so many of about so many."""
        ...


class Quiet(Silent):
    """Says nothing."""

    def said(self, text: str) -> None:
        """Say nothing."""

    def encoding(self, part: str, done: int, expected: int) -> None:
        """Say nothing."""
