"""What cannot be combined: one table, checked before anything is built."""

from dataclasses import dataclass

from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import FieldShape, View
from clicksmith.embed.sockets import Block, Head, Transform, reads_of, writes_of
from clicksmith.errors import CompositionError
from clicksmith.parts import Part, kind_of


@dataclass(frozen=True, slots=True)
class Impossible:
    """One row of the table."""

    part: str
    other: str
    reason: str
    instead: str


IMPOSSIBLE: dict[str, Impossible] = {
    "vectors unread": Impossible(
        "a transform or pool that writes vectors",
        "blocks that read only their own views (LR, FFM)",
        "nothing reads what it writes, so it would never be trained",
        "add a branch that reads vectors, as in Parallel(blocks=(..., MLP()))",
    ),
    "extra unread": Impossible(
        "a transform that writes flat extras",
        "blocks that read no extras (LR, FM, FFM)",
        "nothing reads what it writes, so it would never be trained",
        "add a branch that reads the flat vector, or write fields instead of extras",
    ),
}
"""Beside these, parts refuse shapes themselves: a dimension that heads do not divide, a view that selects no field,
a layer after a block without vector. The rule here is one: what is written is read."""


def reads_of_spec(transforms: tuple[Transform, ...], block: Block) -> tuple[View | str, ...]:
    """Return everything that transforms and block read, each once, in order."""
    return tuple(dict.fromkeys(read for part in (*transforms, block) for read in reads_of(part)))


def check_rules(
    embed: Embed,
    transforms: tuple[Transform, ...],
    block: Block,
    head: Head,
    *,
    reads_of_head: tuple[View | str, ...],
    shapes: tuple[FieldShape, ...],
) -> None:
    """Raise CompositionError if something written is read by nothing that follows."""
    del embed, shapes
    for i, transform in enumerate(transforms):
        after = {read for part in (*transforms[i + 1 :], block) for read in reads_of(part)} | set(reads_of_head)
        for written in writes_of(transform):
            if written not in after:
                raise unread(transform, block, f"{written} unread")
    del head


def unread(part: Part, other: Part, rule: str) -> CompositionError:
    """Return the error of a row of the table, with both parts' names."""
    row = IMPOSSIBLE[rule]
    what = rule.removesuffix(" unread")
    return CompositionError(
        f"'{kind_of(type(part))}' writes {what}, and '{kind_of(type(other))}' reads none: {row.reason}. "
        f"Instead, {row.instead}."
    )
