"""What one column of the data means. Nothing here knows of models: no embedding size, no pooling."""

from typing import Literal

import msgspec

Role = Literal["user", "item", "context"]
"""Whom a field describes. Two-tower models and FinalMLP's gates select fields by it."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A named column."""

    name: str


class Categorical(Column, frozen=True, kw_only=True, tag="categorical"):
    """A column of names: an id, a code, a word. Numbers are taken as text, exactly (no float is involved)."""

    role: Role = "context"
    min_count: int = 1
    """A value seen fewer times in training is treated as unseen."""
    max_size: int | None = None
    """Keep at most this many values, the most frequent."""
    buckets: int | None = None
    """Hash the value into this many buckets instead of keeping a vocabulary."""
    share: str | None = None
    """The column whose vocabulary (and embedding table) this one uses."""
    missing: Literal["value", "unseen"] = "value"
    """An empty cell is a value of its own, or is treated as unseen."""


class Numeric(Column, frozen=True, kw_only=True, tag="numeric"):
    """A column of numbers."""

    role: Role = "context"
    scale: Literal["standard", "log", "raw", "quantile", "log_square"] = "standard"
    """standard: (x - mean) / deviation. log: sign(x) ln(1 + |x|), then standard. raw: as is. These give a number.
    quantile: the bin of equal counts. log_square: floor(ln(x)^2) for x > 2, else int(x) (BARS). These give an id."""
    bins: int = 64
    """Bins of `quantile`."""
    min_count: int = 1
    """As for a categorical column, when the scale gives an id."""
    missing: Literal["embed", "mean", "zero", "refuse"] = "embed"
    """An empty cell gets a learned vector (an id of its own where the scale gives ids), the mean, zero, or an error."""


class Bag(Column, frozen=True, kw_only=True, tag="bag"):
    """Several names in one cell, without order: genres, tags. A list column or delimited text."""

    role: Role = "context"
    min_count: int = 1
    max_size: int | None = None
    share: str | None = None
    separator: str = "|"
    max_length: int = 10
    """Values beyond this many in one cell are dropped."""


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column aligned with a behaviour sequence: the category or the time of each behaviour."""

    name: str
    of: str | None = None
    """The column of the candidate it corresponds to, whose vocabulary it shares; None for its own."""


class Behaviour(Column, frozen=True, kw_only=True, tag="behaviour"):
    """Past behaviours of a user, newest last. A list column or delimited text; lengths and masks are derived."""

    of: str
    """The categorical column of the candidate (the target item) that the behaviours are of."""
    sides: tuple[Side, ...] = ()
    separator: str = "|"
    max_length: int = 50
    """The newest behaviours kept."""
    newest: Literal["last", "first"] = "last"
    """Which end of the cell is the newest."""


class Multimodal(Column, frozen=True, kw_only=True, tag="multimodal"):
    """A vector per row: a text or image embedding. From an array column, several columns, or a file id -> vector."""

    dim: int
    role: Role = "item"
    columns: tuple[str, ...] = ()
    """The columns that hold the components; empty if the column `name` holds arrays (or text as in "[0.1, 0.2]")."""
    by: str | None = None
    """The id column that `file` is keyed by."""
    file: str | None = None
    """Parquet with the columns `by` and `name`, relative to the schema's folder."""


class Label(Column, frozen=True, kw_only=True, tag="label"):
    """What is predicted: 0 or 1."""

    task: Literal["binary", "rating", "time"] = "binary"
    positive: str | None = None
    """The text that means 1 where the labels are words; every other word is 0."""


class Time(Column, frozen=True, kw_only=True, tag="time"):
    """When the row happened. Used for splitting and histories, never as an input of the model."""

    unit: Literal["s", "ms", "text"] = "s"


Field = Categorical | Numeric | Bag | Multimodal
"""The columns that become inputs of the model besides behaviours."""
