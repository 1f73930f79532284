"""`ModelSpec`, a model as a value, and `CTRModel`, the module built from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from torch import nn

from clicksmith.batch.batch import Inputs
from clicksmith.embed.embedder import Embed, Embedder, State, embedded_shape
from clicksmith.embed.rows import row_stores
from clicksmith.embed.shape import FieldShape, HiddenShape, Output, View
from clicksmith.embed.sockets import Block, Head, Task, Transform
from clicksmith.encode.layout import Layout
from clicksmith.errors import ArtifactError
from clicksmith.head.binary import Binary
from clicksmith.identity import digest
from clicksmith.models.rules import check_rules, reads_of_spec
from clicksmith.parts import Part, to_plain


class ModelSpec(Part, frozen=True):
    """Five sockets: embed (table and pools), transforms, interact, head. Parts nest; nothing is subclassed."""

    interact: Block
    embed: Embed = Embed()
    transforms: tuple[Transform, ...] = ()
    head: Head = Binary()
    tasks: tuple[Task, ...] = (Task("label"),)


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of a spec on a layout, found without building a module."""

    reads: tuple[View | str, ...]
    fields: tuple[FieldShape, ...]
    """After the embedder, then after each transform."""
    hidden: HiddenShape

    @property
    def digest(self) -> str:
        """SHA-256 of the field shapes: weights fit only the same order of the same fields."""
        return digest([shape.digest for shape in self.fields])


def shapes_of(spec: ModelSpec, layout: Layout) -> Shapes:
    """Return the shapes that flow through a model.

    Raises:
        CompositionError: two parts cannot be combined; the message names both.
    """
    reads = reads_of_spec(spec)
    shapes = _grow(spec, embedded_shape(spec.embed, layout, reads))
    hidden = spec.interact.out(shapes[-1])
    wanted = spec.head.reads(hidden)
    missing = tuple(read for read in wanted if read not in reads)
    if missing:
        reads += missing
        shapes = _grow(spec, embedded_shape(spec.embed, layout, reads))
        hidden = spec.interact.out(shapes[-1])
    check_rules(spec, layout, wanted)
    return Shapes(reads, shapes, hidden)


def _grow(spec: ModelSpec, shape: FieldShape) -> tuple[FieldShape, ...]:
    shapes = [shape]
    for transform in spec.transforms:
        shapes.append(transform.grow(shapes[-1]))
    return tuple(shapes)


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """How many numbers a model has."""

    total: int
    embedding: int
    """Row-indexed: tables, views and gates."""

    @property
    def dense(self) -> int:
        """Everything else."""
        return self.total - self.embedding


class CTRModel(nn.Module):
    """The module of a spec for a layout: `forward(inputs) -> Output` (logits, never probabilities).

    Shape:
        out.logits: [batch, sum of task widths]
    """

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        super().__init__()
        self.spec = spec
        self.layout = layout
        self.shapes = shapes_of(spec, layout)
        self.embedder = Embedder(spec.embed, layout, self.shapes.reads)
        self.transforms = nn.ModuleList(
            transform.build(shape) for transform, shape in zip(spec.transforms, self.shapes.fields, strict=False)
        )
        self.block = spec.interact.build(self.shapes.fields[-1])
        self.head = spec.head.build(self.shapes.hidden, self.shapes.fields[-1], spec.tasks)

    def forward(self, inputs: Inputs, state: State | None = None) -> Output:
        """Return the logits of a batch; `state` is `embedder.encode(...)` where the users' part is at hand."""
        fields = self.embedder(inputs, state)
        for transform in cast("Iterable[nn.Module]", self.transforms):
            fields = transform(fields)
        return self.head(self.block(fields), fields)

    @property
    def digest(self) -> str:
        """SHA-256 of spec, layout and shapes: saved with the weights and checked when they are loaded."""
        return digest([to_plain(self.spec), self.layout.digest, self.shapes.digest])

    def check_digest(self, saved: str) -> None:
        """Raise ArtifactError unless weights saved under the digest `saved` belong to this model."""
        if saved != self.digest:
            raise ArtifactError(
                f"the weights belong to another model or field order (digest {saved[:12]}, this model has "
                f"{self.digest[:12]}); load them with the spec and encoder that they were saved with."
            )

    def parameter_counts(self) -> ParameterCounts:
        """Count the parameters, each once."""
        stores = sum(store.weight.numel() for store in row_stores(self))
        return ParameterCounts(sum(p.numel() for p in self.parameters()), stores)
