"""What flows between the sockets: `Fields`, and the value `FieldShape` that says how it looks.

Symbols: `batch` rows, `fields` the field axis, `dim` the embedding length.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import torch
from torch import Tensor

from clicksmith.errors import CompositionError
from clicksmith.identity import digest
from clicksmith.schema.columns import Role


class Field(msgspec.Struct, frozen=True):
    """One position of the field axis."""

    name: str
    kind: Literal["id", "numeric", "bag", "vector", "interest", "generated"]
    """The first four come from the data; `interest` from a pool over a history, `generated` from a transform."""
    role: Role = "context"
    slot: str | None = None
    """Its id space, if it has one."""
    rows: int = 0
    """Rows of that id space."""


class Select(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fields of the data a view covers; empty tuples mean all. Several conditions must all hold."""

    names: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    kinds: tuple[str, ...] = ()

    def chooses(self, item: Field) -> bool:
        """Return whether the field is covered."""
        return (
            (not self.names or item.name in self.names)
            and (not self.roles or item.role in self.roles)
            and (not self.kinds or item.kind in self.kinds)
        )


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second look at the fields through tables of its own; equal views are one table.

    `per` says what is looked up:
        id      one vector per field                    -> [batch, selected, dim]; histories share their candidate's
                vectors, but have weights (dim=1) of their own
        pair    one vector per field and field          -> [batch, selected, selected, dim]  (ONN)
        other   one vector per field and other field    -> [batch, selected, selected - 1, dim]  (FFM)
        cross   one vector per pair of ids of the row, by hash    -> [batch, pairs of selected ids, dim]
        raw     the numbers themselves                  -> [batch, selected numeric, 1]
        domain  a vector of the row's domain            -> [batch, 1, dim]
    """

    name: str
    dim: int
    of: Select = Select()
    per: Literal["id", "pair", "other", "cross", "raw", "domain"] = "id"
    std: float | None = None
    """Deviation of its first weights; None is that of the table."""
    sole: bool = False
    """The columns it names are no fields, and other views pass them over: it alone looks them up."""

    def __post_init__(self) -> None:
        """Check the width."""
        if self.dim < 1:
            raise CompositionError(f"the vectors of '{self.name}' have dim={self.dim}; give dim=1 or more.")


def apart_of(views: Iterable[View]) -> frozenset[str]:
    """Return the names of the columns that only one view looks up."""
    return frozenset(name for view in views if view.sole for name in view.of.names)


@dataclass(frozen=True)
class FieldShape:
    """The shape of `Fields` as a value; transforms map one to the next."""

    fields: tuple[Field, ...]
    dim: int
    extra: int = 0
    """Width of the flat extras."""
    views: tuple[View, ...] = ()
    base: tuple[Field, ...] = ()
    """The fields as embedded, before transforms: what views select from."""
    domains: int = 0

    @property
    def flat(self) -> int:
        """Width of `Fields.flat()`."""
        return len(self.fields) * self.dim + self.extra

    def selected(self, view: View) -> tuple[Field, ...]:
        """Return the fields a view covers, in order."""
        fields = self.base or self.fields
        if view.sole:
            return tuple(f for f in fields if view.of.chooses(f))
        return tuple(f for f in fields if view.of.chooses(f) and f.name not in self.apart)

    @property
    def apart(self) -> frozenset[str]:
        """Names of the columns that belong to a view of their own."""
        return apart_of(self.views)

    @property
    def digest(self) -> str:
        """SHA-256; parts that depend on the field order (FGCNN) check it on load."""
        return digest([list(self.fields), self.dim, self.extra, list(self.views), self.domains])


@dataclass(frozen=True, slots=True)
class Fields:
    """The tensors between sockets.

    Shape:
        vectors: [batch, fields, dim]
        extra:   [batch, extra] or None
        views:   name -> see `View`
        domain:  [batch] int32 or None
    """

    vectors: Tensor
    extra: Tensor | None = None
    views: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    domain: Tensor | None = None

    def flat(self) -> Tensor:
        """Return all vectors and extras side by side: [batch, fields * dim + extra]."""
        flat = self.vectors.flatten(1)
        return flat if self.extra is None else torch.cat([flat, self.extra.to(flat.dtype)], 1)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a block gives to the head.

    Shape:
        vector: [batch, width] or None; [batch, groups, width] when `HiddenShape.groups` > 1
        logit:  [batch, 1] or None, additive scalar interactions (FM, linear)
    """

    vector: Tensor | None
    logit: Tensor | None = None


@dataclass(frozen=True, slots=True)
class HiddenShape:
    """The shape of `Hidden` as a value; width 0 means no vector."""

    width: int
    logit: bool = False
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives.

    Shape:
        logits: [batch, outputs], the tasks' outputs side by side; never probabilities
        aux:    name -> tensor that a loss may read (an auxiliary logit, routing weights)
    """

    logits: Tensor
    aux: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


for _value in (Fields, Hidden, Output):
    torch.export.register_dataclass(_value, serialized_type_name=f"clicksmith.{_value.__name__}")
