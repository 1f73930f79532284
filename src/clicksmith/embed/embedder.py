"""`Embed`, the first socket of a model, and `Embedder`, its module: `Inputs` to `Fields`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.batch.batch import History, Inputs
from clicksmith.embed.columns import Columns, field_order
from clicksmith.embed.histories import HistoryReader, history_fields, interests
from clicksmith.embed.numbers import Scaled
from clicksmith.embed.pooling import Mean, Reduce
from clicksmith.embed.shape import Field, Fields, FieldShape, View, apart_of
from clicksmith.embed.sockets import IdGate, Numbers, Pool, Table
from clicksmith.embed.table import Plain
from clicksmith.embed.views import build_view
from clicksmith.encode.layout import UNSEEN, Layout
from clicksmith.errors import CompositionError, UsageError
from clicksmith.names import lookup
from clicksmith.parts import Part

State = dict[str, dict[str, Tensor]]
"""What the pools computed once per user, by history."""


class PoolOf(Part, frozen=True):
    """A pool for one history."""

    history: str
    pool: Pool


class Embed(Part, frozen=True):
    """How inputs become fields."""

    dim: int = 16
    """Length of a field's vector."""
    table: Table = Plain()
    """The main table."""
    view_table: Table = Plain()
    """The table of every view."""
    ids: IdGate | None = None
    """A multiplier per id, over the main table, views and histories alike."""
    numeric: Numbers = Scaled()
    """How numbers become vectors."""
    bag: Reduce = "mean"
    """How the vectors of a bag become one."""
    pool: Pool = Mean()
    """How a history becomes interest fields."""
    pools: tuple[PoolOf, ...] = ()
    """Pools of single histories, instead of `pool`."""
    unseen_rate: float = 0.0
    """Share of known ids replaced by the unseen id in training, so that its vector is trained."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.dim < 1:
            raise UsageError(f"the embedding dim is {self.dim}; it must be at least 1.")
        if not 0 <= self.unseen_rate < 1:
            raise UsageError(f"unseen_rate is {self.unseen_rate}; it must be at least 0 and below 1.")
        histories = [p.history for p in self.pools]
        for history in histories:
            if histories.count(history) > 1:
                raise UsageError(f"Embed has {histories.count(history)} pools for history '{history}'; keep one.")

    def pool_of(self, history: str) -> Pool:
        """Return the pool of a history."""
        return next((p.pool for p in self.pools if p.history == history), self.pool)


def embedded_shape(embed: Embed, layout: Layout, reads: tuple[View | str, ...]) -> FieldShape:
    """Return the shape of what an Embedder gives, without building one.

    Fields are the layout's in order, then the interests of each history. They are absent where nothing reads vectors.
    """
    for part in embed.pools:
        lookup({h.name: h for h in layout.histories}, part.history, "history")
    views = views_of(reads)
    base = _data_fields(layout, Scaled(), frozenset()) + tuple(
        f for h in layout.histories for f in history_fields(h, layout)
    )
    fields: tuple[Field, ...] = ()
    if "vectors" in reads:
        fields = _data_fields(layout, embed.numeric, apart_of(views))
        for history in layout.histories:
            fields += interests(history, layout, embed.pool_of(history.name))
    return FieldShape(fields, embed.dim, 0, views, base, layout.domains)


def views_of(reads: tuple[View | str, ...]) -> tuple[View, ...]:
    """Return the views among what is read, each once; two different views of one name are an error."""
    views: dict[str, View] = {}
    for view in reads:
        if isinstance(view, View) and views.setdefault(view.name, view) != view:
            raise CompositionError(
                f"two parts read different views named '{view.name}' ({views[view.name]} and {view}); rename one."
            )
    return tuple(views.values())


class Embedder(nn.Module):
    """Looks up everything that is read, and nothing else.

    Shape:
        out.vectors: [batch, fields, dim], `shape.fields` in order
        out.views:   see `View`; those of `shape.views`
    """

    def __init__(self, embed: Embed, layout: Layout, reads: tuple[View | str, ...] = ("vectors",)) -> None:
        super().__init__()
        self.shape = embedded_shape(embed, layout, reads)
        self.unseen_rate = embed.unseen_rate
        slots = tuple((s.name, s.rows) for s in layout.slots)
        self.gate = embed.ids.build(slots) if embed.ids is not None and slots else None
        self.columns = None
        histories = layout.histories if self.shape.fields else ()
        if self.shape.fields:
            self.columns = Columns(
                layout,
                data_names(layout, self.shape.apart),
                histories,
                embed.dim,
                table=embed.table,
                numbers=embed.numeric,
                bag=embed.bag,
            )
        id_names = tuple(c.name for c in layout.ids if c.name not in self.shape.apart)
        self.readers = nn.ModuleList(HistoryReader(h, embed.dim, embed.pool_of(h.name), id_names) for h in histories)
        self.views = nn.ModuleList(
            build_view(view, layout, self.shape, table=embed.view_table, bag=embed.bag) for view in self.shape.views
        )

    def encode(self, histories: dict[str, History]) -> State:
        """Return what the pools compute once per user, for `forward(inputs, state)` over many candidates."""
        state: State = {}
        for reader in cast("Iterable[HistoryReader]", self.readers):
            history = histories[reader.name]
            keys = cast("Columns", self.columns).history(reader.name, history, self.gate)
            state[reader.name] = reader.encode(keys, history.mask)
        return state

    def forward(self, inputs: Inputs, state: State | None = None) -> Fields:
        """Return the fields of a batch; `state` is `encode`'s answer where it is at hand."""
        if self.training and self.unseen_rate:
            inputs = forget(inputs, self.unseen_rate)
        views = {v.name: module(inputs, self.gate) for v, module in zip(self.shape.views, self.views, strict=True)}
        if self.columns is None:
            vectors = inputs.numeric.new_zeros((inputs.ids.shape[0], 0, self.shape.dim))
            return Fields(vectors, None, views, inputs.domain)
        pieces, looked_up = self.columns(inputs, self.gate)
        state = self.encode(inputs.histories) if state is None else state
        for reader in cast("Iterable[HistoryReader]", self.readers):
            pieces.append(reader(state[reader.name], looked_up, inputs))
        return Fields(pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1), None, views, inputs.domain)


def forget(inputs: Inputs, rate: float) -> Inputs:
    """Return inputs with a share of the known ids replaced by the unseen id, drawn from torch's generator."""
    histories = {name: History(_forget(h.ids, rate), h.mask) for name, h in inputs.histories.items()}
    bags = {name: _forget(ids, rate) for name, ids in inputs.bags.items()}
    return replace(inputs, ids=_forget(inputs.ids, rate), bags=bags, histories=histories)


def _forget(ids: Tensor, rate: float) -> Tensor:
    dropped = (torch.rand(ids.shape, device=ids.device) < rate) & (ids > UNSEEN)
    return ids.masked_fill(dropped, UNSEEN)


def data_names(layout: Layout, apart: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names of all columns with one value (or bag, or vector) per row, but for those `apart`."""
    columns = (*layout.ids, *layout.numeric, *layout.bags, *layout.vectors)
    return tuple(c.name for c in columns if c.name not in apart)


def _data_fields(layout: Layout, numbers: Numbers, apart: frozenset[str]) -> tuple[Field, ...]:
    rows = layout.rows
    known = {c.name: Field(c.name, "id", c.role, c.slot, rows[c.slot]) for c in layout.ids}
    known |= {c.name: Field(c.name, "numeric", c.role) for c in layout.numeric}
    known |= {c.name: Field(c.name, "bag", c.role, c.slot, rows[c.slot]) for c in layout.bags}
    known |= {c.name: Field(c.name, "vector", c.role) for c in layout.vectors}
    order = field_order(layout, data_names(layout, apart), numbers)
    return tuple(known.get(name, Field(name, "numeric")) for name in order)
