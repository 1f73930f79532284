"""What cannot be combined: one table, and the check that holds it before anything is built.

The rule is one: what is written is read, and what is read is there. Everything else works; beside these rows, parts
refuse shapes of their own accord where their mathematics needs it (a dimension that the heads do not divide), and
branches with transforms of their own check those.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clicksmith.embed.pooling import Mean
from clicksmith.embed.shape import View
from clicksmith.embed.sockets import Transform, reads_of, writes_of
from clicksmith.embed.summed import Summed
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import Layout
from clicksmith.errors import CompositionError
from clicksmith.parts import Part, kind_of

if TYPE_CHECKING:
    from clicksmith.models.spec import ModelSpec

Reads = tuple[View | str, ...]


@dataclass(frozen=True, slots=True)
class Impossible:
    """Two kinds of parts that cannot be combined."""

    part: str
    other: str
    reason: str
    instead: str


IMPOSSIBLE: dict[str, Impossible] = {
    "vectors": Impossible(
        "a transform that writes vectors (FGCNN, SENet)",
        "a block that reads only views of its own (LR, FFM)",
        "writes field vectors that nothing after it reads",
        "add a branch that reads them, such as an MLP beside it",
    ),
    "extra": Impossible(
        "a transform that writes flat extras",
        "a block that reads no extras (LR, FM, FFM)",
        "writes flat extras that nothing after it reads",
        "add a branch that reads them, such as an MLP beside it, or make them fields",
    ),
    "pool": Impossible(
        "a pool other than the mean",
        "a block that reads only views of its own (LR, FFM)",
        "gives interests that nothing reads (views average their histories)",
        "add a branch that reads field vectors, such as an MLP beside it",
    ),
    "table": Impossible(
        "a table other than the plain one",
        "a block that reads only views of its own (LR, FFM)",
        "holds vectors that nothing reads",
        "set it as `view_table`, or add a branch that reads field vectors",
    ),
    "domain": Impossible(
        "a part that reads the row's domain",
        "data without a domain column",
        "reads the row's domain, which the data does not have",
        "name the domain column in the schema, or choose a part that needs none",
    ),
}


def reads_of_spec(spec: "ModelSpec") -> Reads:
    """Return everything that transforms and block read, each once, in order."""
    return tuple(dict.fromkeys(read for part in (*spec.transforms, spec.interact) for read in reads_of(part)))


def check_rules(spec: "ModelSpec", layout: Layout, reads_of_head: Reads) -> None:
    """Raise CompositionError, naming both parts, if the spec holds a row of the table."""
    _check_written(spec.transforms, spec.interact, reads_of(spec.interact) + reads_of_head)
    if "vectors" not in (*reads_of_spec(spec), *reads_of_head):
        for pool in {h.name: spec.embed.pool_of(h.name) for h in layout.histories}.values():
            if pool != Mean():
                raise impossible("pool", pool, spec.interact)
        if not isinstance(spec.embed.table, (Plain, Summed)):  # under a Plan it is set beside `view_table`
            raise impossible("table", spec.embed.table, spec.interact)
    if not layout.domains:
        readers = [(part, reads_of(part)) for part in (*spec.transforms, spec.interact)]
        for part, reads in [*readers, (spec.head, reads_of_head)]:
            if any(isinstance(read, View) and read.per == "domain" for read in reads):
                raise impossible("domain", part, None)


def _check_written(transforms: tuple[Transform, ...], block: Part, reads: Reads) -> None:
    for i, transform in enumerate(transforms):
        after = {read for part in transforms[i + 1 :] for read in reads_of(part)} | set(reads)
        for written in writes_of(transform):
            if written not in after:
                raise impossible(written, transform, block)


def impossible(row: str, part: Part, block: Part | None) -> CompositionError:
    """Return the error of a row of the table."""
    entry = IMPOSSIBLE[row]
    where = f" in front of '{kind_of(type(block))}'" if block is not None else ""
    return CompositionError(f"'{kind_of(type(part))}'{where} {entry.reason}; {entry.instead}.")
