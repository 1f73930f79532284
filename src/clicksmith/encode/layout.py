"""The layout of encoded rows: what a store holds and a model reads. It needs no torch and holds no data."""

from typing import Literal

import msgspec

from clicksmith.identity import digest
from clicksmith.schema.columns import Role

PADDING = 0
"""The id of "nothing here"; its embedding is zero and stays zero."""
UNSEEN = 1
"""The id of a value that training did not see (or saw too rarely)."""
ZERO = -1
"""The id of a value whose vector is zero by decision of a Plan: it is there, unlike padding, and says nothing."""
LEFT_OUT = -2
"""In a vocabulary, the id of a value that is `ZERO` and that histories leave out besides; no encoded row has it."""
DOMAIN = "(domain)"
"""The id space of the domain column. It is no slot of the layout, and no column can have this name."""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An id space: one vocabulary, used by one or several columns."""

    name: str
    rows: int
    """Number of ids, padding and unseen included."""
    zeros: bool = False
    """Some values have the id `ZERO`."""


class IdColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field with one id per row; its position in `Layout.ids` is its column in `Inputs.ids`."""

    name: str
    slot: str
    role: Role = "context"


class NumericColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field with one float32 per row; NaN means missing and gets a learned vector."""

    name: str
    role: Role = "context"


class BagColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field with several ids per row, padded with 0 at the end to `length`."""

    name: str
    slot: str
    length: int
    role: Role = "context"


class VectorColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field with a fixed float32 vector per row."""

    name: str
    dim: int
    role: Role = "item"


class HistoryColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of a behaviour sequence."""

    name: str
    slot: str
    of: str | None
    """The field of the candidate it is paired with; None for a column without counterpart (a time gap)."""


class HistoryLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A behaviour sequence: ids `[users, length, columns]`, newest last, padded with 0 at the front."""

    name: str
    columns: tuple[HistoryColumn, ...]
    length: int
    role: Role = "user"


Kind = Literal["id", "numeric", "bag", "vector"]


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of `Inputs` and `Targets`. Every model is built from one."""

    slots: tuple[Slot, ...] = ()
    ids: tuple[IdColumn, ...] = ()
    numeric: tuple[NumericColumn, ...] = ()
    bags: tuple[BagColumn, ...] = ()
    vectors: tuple[VectorColumn, ...] = ()
    histories: tuple[HistoryLayout, ...] = ()
    labels: tuple[str, ...] = ("label",)
    domains: int = 0
    """Number of domain ids, padding and unseen included; 0 if there is no domain column."""
    order: tuple[str, ...] = ()
    """The field axis: names of ids, numeric, bags and vectors in the schema's order."""

    @property
    def rows(self) -> dict[str, int]:
        """Rows by slot name."""
        return {slot.name: slot.rows for slot in self.slots}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; a model refuses inputs of another layout."""
        return digest(self)
