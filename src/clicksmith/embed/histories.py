"""Behaviour sequences in the embedder: which columns a pool sees, and which fields it gives."""

import torch
from torch import Tensor, nn

from clicksmith.batch.batch import Inputs
from clicksmith.embed.shape import Field
from clicksmith.embed.sockets import HistoryShape, Pool
from clicksmith.encode.layout import HistoryColumn, HistoryLayout, Layout
from clicksmith.errors import CompositionError


def history_shape(history: HistoryLayout, dim: int) -> HistoryShape:
    """Return what a pool sees: columns with a counterpart in the candidate, and those without."""
    paired = tuple(c.name for c in history.columns if c.of is not None)
    only = tuple(c.name for c in history.columns if c.of is None)
    return HistoryShape(paired, only, dim, history.length)


def in_order(history: HistoryLayout) -> tuple[HistoryColumn, ...]:
    """Return the columns as pools give them: those that are paired with a field of the candidate, then the others."""
    return tuple(sorted(history.columns, key=lambda column: column.of is None))


def history_fields(history: HistoryLayout, layout: Layout) -> tuple[Field, ...]:
    """Return one field per column: what views select from, whatever the pool of the main fields."""
    rows = layout.rows
    return tuple(
        Field(f"{history.name}.{c.name}", "interest", history.role, c.slot, rows[c.slot]) for c in in_order(history)
    )


def interests(history: HistoryLayout, layout: Layout, pool: Pool) -> tuple[Field, ...]:
    """Return the fields that a pool gives, named after the columns where there is one per column."""
    shape = history_shape(history, 1)
    known = {f.name: f for f in history_fields(history, layout)}
    names = [f"{history.name}.{name}" for name in (*shape.paired, *shape.only)]
    count = pool.interests(shape)
    if count in (len(shape.paired), len(names)):
        return tuple(known[name] for name in names[:count])
    return tuple(Field(f"{history.name}.interest{i}", "interest", history.role) for i in range(count))


class HistoryReader(nn.Module):
    """Hands a history and its candidate to the pool.

    Shape:
        keys: [users, time, columns, dim]
        out:  [batch, interests, dim]
    """

    def __init__(self, history: HistoryLayout, dim: int, pool: Pool, id_names: tuple[str, ...]) -> None:
        super().__init__()
        self.name = history.name
        self.pool = pool.build(history_shape(history, dim))
        self.paired = _span([i for i, c in enumerate(history.columns) if c.of is not None])
        only = [i for i, c in enumerate(history.columns) if c.of is None]
        self.only = _span(only) if only else None
        for c in history.columns:
            if c.of is not None and c.of not in id_names:
                known = ", ".join(id_names) or "(there is none)"
                raise CompositionError(
                    f"column '{c.name}' of history '{history.name}' is paired with '{c.of}', which is no id field; "
                    f"pair it with one of: {known}."
                )
        query = [id_names.index(c.of) for c in history.columns if c.of is not None]
        self.register_buffer("query", torch.tensor(query, dtype=torch.int64), persistent=False)

    query: Tensor

    def encode(self, keys: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the pool's state per user."""
        only = None if self.only is None else keys[:, :, self.only]
        return self.pool.encode(keys[:, :, self.paired], only, mask)  # type: ignore[operator]

    def forward(self, state: dict[str, Tensor], ids: Tensor | None, inputs: Inputs) -> Tensor:
        """Return the interests of each row; `ids` [batch, ids, dim] are the id columns' vectors."""
        if ids is None:
            ids = inputs.numeric.new_zeros((inputs.ids.shape[0], 0, 1))
        return self.pool.read(state, ids.index_select(1, self.query), inputs.owner)  # type: ignore[operator]


def _span(chosen: list[int]) -> slice | list[int]:
    """Return consecutive positions as a slice, which is a view where a list would copy."""
    first = chosen[0] if chosen else 0
    contiguous = chosen == list(range(first, first + len(chosen)))
    return slice(first, first + len(chosen)) if contiguous else chosen
