"""Records of a paper and of what it claims."""

import msgspec


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One published number, and how this project reproduces it."""

    dataset: str
    metric: str
    value: float
    tolerance: float
    command: str
    """The command that measures it here, or "not reproduced: <reason>"."""
    rows: str = ""
    """Where the benchmark rows of that command are committed, below benchmarks/results."""


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """A published paper."""

    key: str
    title: str
    authors: str
    venue: str
    year: int
    url: str
    claims: tuple[Claim, ...] = ()
    note: str = ""
    """Why there is no claim, or what else is to be known of the figures."""
