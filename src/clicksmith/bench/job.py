"""What the process of a trial is told, and what it tells: all that a run knows of it."""

import msgspec

from clicksmith.bench.row import Configuration, Failure, Searched


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial's process is told."""

    dataset: str
    model: str
    configuration: Configuration
    stores: dict[str, str]
    labels: str
    """SHA-256 of the stored test labels."""
    results: str
    threads: int = 1
    memory: int = 0
    """Bytes of data it may hold, where the system can limit that; 0: no limit."""
    test_evaluations: int = 0
    """In earlier attempts."""
    files: tuple[str, ...] = ()
    """The user's own models."""
    searched: Searched | msgspec.UnsetType = msgspec.UNSET


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a trial's process: an epoch is done, or how it ended."""

    epoch: int = 0
    done: bool = False
    failure: Failure | None = None
    stop: str = ""
    """What keeps every trial from going on, such as a full disk."""
