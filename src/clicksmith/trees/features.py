"""Encoded rows as the table that trees split on: few ids as categories, many as how often and how well they do.

A click rate of a training row is that of the other folds, so that no row sees its own label; rows of other parts get
the rate of all training rows. Statistics are fitted in one pass over pieces of the rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.layout import Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store

PIECE = 16384
"""Rows at a time."""
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Column:
    """Ids of a row that statistics are kept of: one, those of a bag, or those of a column of a history."""

    kind: str
    name: str
    position: int
    """In `ids`, or in the history."""
    size: int
    """Ids of the slot."""
    title: str

    @property
    def single(self) -> bool:
        """Whether a row has one id; else it has a length and the mean rate of its ids."""
        return self.kind == "id"

    def of(self, rows: EncodedRows) -> NDArray[np.int32]:
        """Return the ids [rows, at most so many], 0 where there is nothing."""
        if self.kind == "id":
            return rows.ids[:, self.position : self.position + 1]
        if self.kind == "bag":
            return rows.bags[self.name]
        ids = rows.histories[self.name][:, :, self.position]
        return ids if rows.owner is None else ids[rows.owner]


class Features:
    """Columns, statistics of training rows, and how both become a table; see the module.

    Args:
        few: slots with at most so many ids are categories.
        folds: of the training rows, drawn with the seed.
        prior: how many rows the mean click rate counts for in the rate of an id.
    """

    def __init__(self, layout: Layout, *, few: int, folds: int, prior: float) -> None:
        sizes, self.prior, self.folds = layout.rows, prior, folds
        self.few = [i for i, column in enumerate(layout.ids) if sizes[column.slot] <= few]
        self.domain = layout.domains > 0
        ids = enumerate(layout.ids)
        self.many = [_Column("id", c.name, i, sizes[c.slot], c.name) for i, c in ids if sizes[c.slot] > few]
        self.many += [_Column("bag", bag.name, 0, sizes[bag.slot], bag.name) for bag in layout.bags]
        self.many += [
            _Column("history", history.name, i, sizes[column.slot], f"{history.name}.{column.name}")
            for history in layout.histories
            for i, column in enumerate(history.columns)
        ]
        self.vectors = [vector.name for vector in layout.vectors]
        self.names = [layout.ids[i].name for i in self.few] + ["(domain)"] * self.domain
        self.categories = len(self.names)
        """The first so many columns are categories."""
        self.names += [f"{c.title} {what}" for c in self.many for what in ("rows" if c.single else "length", "rate")]
        self.names += [column.name for column in layout.numeric]
        self.names += [f"{vector.name}.{i}" for vector in layout.vectors for i in range(vector.dim)]
        shape = [(folds, column.size) for column in self.many]
        self._rows = [np.zeros(one, np.int32) for one in shape]
        self._clicks = [np.zeros(one, np.int32) for one in shape]
        self._base = np.zeros((folds, 2))
        self._all: list[tuple[Table, Table]] = []

    @property
    def statistics(self) -> int:
        """How many numbers are kept of ids to score a row."""
        return 2 * sum(column.size for column in self.many)

    def fit(self, store: Store, fold: NDArray[np.uint8]) -> None:
        """Count rows and clicks of every id in every fold; `fold` is that of each row."""
        labels = store.targets["labels"][:, 0].astype(np.int32)
        for start, rows in pieces(store):
            at, label = fold[start : start + len(rows)], labels[start : start + len(rows)]
            np.add.at(self._base, at, np.stack([np.ones(len(rows)), label], 1))
            for column, counts, clicks in zip(self.many, self._rows, self._clicks, strict=True):
                ids = column.of(rows)
                row, place = np.nonzero(ids)
                index = (at[row], ids[row, place])
                np.add.at(counts, index, 1)
                np.add.at(clicks, index, label[row])
        both = zip(self._rows, self._clicks, strict=True)
        self._all = [(rows.sum(0, np.float64), clicks.sum(0, np.float64)) for rows, clicks in both]

    def table(self, rows: EncodedRows, fold: NDArray[np.uint8] | None = None) -> Table:
        """Return [rows, names]; `fold` is given for training rows, whose rates are those of the other folds."""
        parts: list[NDArray[Any]] = [rows.ids[:, self.few]]
        if self.domain:
            assert rows.domain is not None
            parts.append(rows.domain[:, None])
        for number, column in enumerate(self.many):
            ids = column.of(rows)
            rate = self._rate(number, ids, fold)
            if column.single:
                parts += [np.log1p(self._all[number][0][ids]), rate]
                continue
            there = ids != 0
            length = there.sum(1, keepdims=True)
            total = np.where(there, rate, 0).sum(1, keepdims=True)
            parts += [length, np.divide(total, length, out=np.full(total.shape, np.nan), where=length > 0)]
        parts += [rows.numeric, *(rows.vectors[name] for name in self.vectors)]
        return np.concatenate([part.astype(np.float64) for part in parts], 1)

    def _rate(self, number: int, ids: NDArray[np.int32], fold: NDArray[np.uint8] | None) -> Table:
        """Return the click rate of ids [rows, any], drawn to the mean by `prior` rows."""
        base = self._base.sum(0)
        seen, clicked = (total[ids] for total in self._all[number])
        mean = np.full((len(ids), 1), base[1] / base[0])
        if fold is not None:
            own = fold[:, None]
            seen, clicked = seen - self._rows[number][own, ids], clicked - self._clicks[number][own, ids]
            base = base - self._base
            mean = (base[:, 1] / base[:, 0])[own]
        return (clicked + self.prior * mean) / (seen + self.prior)


def pieces(store: Store) -> Iterator[tuple[int, EncodedRows]]:
    """Go through the rows of a store a piece at a time, giving the number of its first row with it."""
    for start in range(0, store.rows, PIECE):
        yield start, store.slice(start, start + PIECE)
        store.release()
