"""The sockets: what each part of a model must offer. Parts are values (`clicksmith.parts.Part`) that build modules.

Shapes as in `clicksmith.embed.shape`; U is the number of histories, K the paired columns of a history.

Optional methods, read with `reads_of` and `writes_of`:
    reads(self) -> tuple[View | "vectors" | "extra", ...]     what the part reads (default: "vectors")
    writes(self) -> tuple["vectors" | "extra", ...]           what a transform writes (default: "vectors")
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from torch import Tensor, nn

from clicksmith.embed.shape import FieldShape, HiddenShape, View
from clicksmith.parts import Part


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a table holds: the id spaces, in order, and the embedding length."""

    slots: tuple[tuple[str, int], ...]
    dim: int


@dataclass(frozen=True, slots=True)
class HistoryShape:
    """What a pool sees of a history: the paired columns (in the candidate's order), unpaired ones, the length."""

    paired: tuple[str, ...]
    only: tuple[str, ...]
    dim: int
    length: int


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is predicted; `width` outputs (a hazard has one per time bin)."""

    name: str
    width: int = 1


class Table(Part, frozen=True):
    """Maps ids to vectors."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return a module with `forward(ids[..., C], slots: tuple[str, ...]) -> [..., C, dim]`.

        `ids` are local to their slot; `slots[c]` names the slot of column c. Any leading shape.
        """
        raise NotImplementedError


class IdGate(Part, frozen=True):
    """A multiplier per id, shared by the main table, every view and every history (OptFS)."""

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        """Return a module with `forward(ids[..., C], slots: tuple[str, ...]) -> [..., C, 1]`.

        It may have `of_numbers(names: tuple[str, ...]) -> [len(names), 1] | None` besides: multipliers of numeric
        columns, for numbers that are a field each.
        """
        raise NotImplementedError


class Numbers(Part, frozen=True):
    """Maps the numeric columns to fields."""

    def fields(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the fields that the columns become; as many as columns, unless they are merged."""
        return names

    def build(self, columns: int, dim: int) -> nn.Module:
        """Return a module with `forward(numeric[B, columns]) -> [B, fields, dim]`; NaN means missing."""
        raise NotImplementedError


class Pool(Part, frozen=True):
    """Summarises a behaviour sequence for a candidate."""

    def interests(self, shape: HistoryShape) -> int:
        """Return how many interest fields `read` gives."""
        return len(shape.paired)

    def build(self, shape: HistoryShape) -> nn.Module:
        """Return a module with two methods, so that a user's part is computed once for many candidates.

        encode(keys[U, T, K, dim], only[U, T, J, dim] | None, mask[U, T]) -> state (dict of tensors, row u per user)
        read(state, query[B, K, dim], owner[B] | None) -> [B, interests, dim]
        """
        raise NotImplementedError


class Transform(Part, frozen=True):
    """Maps `Fields` to `Fields`."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Return the shape after the transform."""
        return shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return a module with `forward(fields: Fields) -> Fields`."""
        raise NotImplementedError


class Block(Part, frozen=True):
    """Interacts the fields."""

    only_products: ClassVar[bool] = False
    """Whether it adds nothing to weights and products of vectors, which shrink with them; blocks in it say so
    themselves. A subclass says it anew."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Return the shape of what the block gives."""
        raise NotImplementedError

    def build(self, shape: FieldShape) -> nn.Module:
        """Return a module with `forward(fields: Fields) -> Hidden`."""
        raise NotImplementedError


class Layer(Part, frozen=True):
    """Maps a flat vector to a flat vector, with the fields at hand."""

    def width(self, width: int) -> int:
        """Return the width after the layer."""
        raise NotImplementedError

    def build(self, width: int, shape: FieldShape) -> nn.Module:
        """Return a module with `forward(x[B, width], fields: Fields) -> [B, width']`."""
        raise NotImplementedError


class Head(Part, frozen=True):
    """Maps what a block gives to logits; it owns the last linear map."""

    def reads(self, hidden: HiddenShape) -> tuple[View | str, ...]:  # noqa: ARG002
        """Return what the head reads of the fields, besides what the block gives."""
        return ()

    def build(self, hidden: HiddenShape, shape: FieldShape, tasks: tuple[Task, ...]) -> nn.Module:
        """Return a module with `forward(hidden: Hidden, fields: Fields) -> Output`."""
        raise NotImplementedError


class Loss(Part, frozen=True):
    """Compares logits with targets."""

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        """Return a module with `forward(output: Output, targets: Targets) -> [batch, tasks]`.

        One value per row and task, 0 where the target is masked; the trainer sums over tasks and averages over rows.
        """
        raise NotImplementedError


def gated_numbers(gate: nn.Module | None, vectors: Tensor, names: tuple[str, ...]) -> Tensor:
    """Return what numeric columns give [B, columns, ...] times their multipliers, if the gate has any."""
    own: Tensor | None = gate.of_numbers(names) if hasattr(gate, "of_numbers") else None  # type: ignore[union-attr]
    return vectors if own is None else vectors * own


def reads_of(part: Any) -> tuple[View | str, ...]:
    """Return what a part reads."""
    return part.reads() if hasattr(part, "reads") else ("vectors",)


def writes_of(part: Any) -> tuple[str, ...]:
    """Return what a transform writes."""
    return part.writes() if hasattr(part, "writes") else ("vectors",)
