"""What a fit found, and turning raw arrays into encoded ones with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.layout import LEFT_OUT, PADDING, ZERO, Layout
from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.numbers import Scale, buckets, gives_id
from clicksmith.encode.recipe import DOMAIN, TableRecipe, history_columns, layout_of, slot_of
from clicksmith.encode.vocabulary import Vocabulary
from clicksmith.schema.schema import Schema

Ids = Mapping[str, NDArray[np.int32]]
"""Id by code, by slot; the last entry is for code -1."""


@dataclass(frozen=True)
class Fitted:
    """The vocabularies (by slot) and scales (by column) of a schema."""

    schema: Schema
    vocabularies: dict[str, Vocabulary]
    scales: dict[str, Scale]

    @cached_property
    def layout(self) -> Layout:
        """The layout of the encoded rows."""
        rows = {slot: v.rows for slot, v in self.vocabularies.items()}
        return layout_of(self.schema, rows, frozenset(slot for slot, v in self.vocabularies.items() if v.zeros))

    @cached_property
    def ids(self) -> dict[str, NDArray[np.int32]]:
        """Id by code of each vocabulary's own dictionary."""
        return {slot: v.ids for slot, v in self.vocabularies.items()}


FAR = 1e4
"""Deviations from the mean that a standardised number keeps at most: a stray 1e30 must not make a score NaN."""
RAW = 1e13
"""The same for numbers that are taken as they are."""


class Finisher:
    """Turns raw arrays of one table into encoded arrays.

    The columns of a table's `ids` and `numeric` are those of the layout that the table has, in the layout's order.
    """

    def __init__(self, fitted: Fitted, recipe: TableRecipe, ids: Ids) -> None:
        self.recipe, self._ids = recipe, ids
        schema, layout = fitted.schema, fitted.layout
        self._coded = [c for c in recipe.numbers if gives_id(c)]
        mine = {c.name for c in (*recipe.ids, *self._coded)}
        self.id_columns = tuple(i for i, c in enumerate(layout.ids) if c.name in mine)
        order = [layout.ids[i].name for i in self.id_columns]
        self._text_at = [order.index(c.name) for c in recipe.ids]
        self._plain = order == [c.name for c in recipe.ids]
        self._coded_at = [(order.index(c.name), i, c) for i, c in enumerate(recipe.numbers) if gives_id(c)]
        plain = {slot: of_rows(table) for slot, table in ids.items()}  # what all but histories read
        self._remap = Remap([plain[slot_of(schema, c.name)] for c in recipe.ids])
        self._bucket_ids = {c.name: _BucketIds(fitted.vocabularies[c.name]) for c in self._coded}
        self._scales = fitted.scales
        self._histories = {
            b.name: Remap([(plain if k else ids)[c.slot] for k, c in enumerate(history_columns(schema, b))])
            for b in recipe.histories
        }
        self._bags = {b.name: Remap([plain[slot_of(schema, b.name)]]) for b in recipe.bags}
        real = {c.name: i for i, c in enumerate(recipe.numbers) if not gives_id(c)}
        self.numeric_columns = tuple(i for i, c in enumerate(layout.numeric) if c.name in real)
        names = [layout.numeric[i].name for i in self.numeric_columns]
        self._real = _Real([fitted.scales[n] for n in names])
        self._real_at = [real[n] for n in names]
        self._all_real = len(names) == len(recipe.numbers)

    def finish(self, raw: Arrays) -> Arrays:
        """Return the encoded arrays."""
        numbers = raw["numbers"]
        out: Arrays = {
            "ids": self._all_ids(raw["codes"], numbers),
            "numeric": self._real.scaled(numbers if self._all_real else numbers[self._real_at]),
        }
        for name, array in raw.items():
            kind, _, column = name.partition("/")
            if kind == "bag":
                out[name] = self._bags[column].ids(array.reshape(-1, 1)).reshape(array.shape)
            elif kind == "history":
                ids = self._histories[column].ids(array.reshape(-1, array.shape[2])).reshape(array.shape)
                out[name] = without_left_out(ids)
            elif kind == "domain":
                out[name] = Remap([self._ids[DOMAIN]]).ids(array.reshape(-1, 1)).reshape(-1)
            elif kind not in ("codes", "numbers"):
                out[name] = array
        return out

    def _all_ids(self, codes: NDArray[np.int32], numbers: NDArray[np.float64]) -> NDArray[np.int32]:
        ids = self._remap.ids(codes.T)
        if self._plain:
            return ids
        out = np.empty((codes.shape[1], len(self.id_columns)), np.int32)
        out[:, self._text_at] = ids
        for at_, i, column in self._coded_at:
            found, missing = buckets(column, self._scales[column.name], numbers[i])
            out[:, at_] = self._bucket_ids[column.name].ids(found, missing)
        return out


def of_rows(table: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a table of ids as rows hold them: outside histories `LEFT_OUT` is `ZERO`."""
    return np.maximum(table, ZERO) if (table < ZERO).any() else table


def without_left_out(history: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return [rows, length, columns] without behaviours whose item is `LEFT_OUT`; the others move to the end."""
    out = history[..., 0] == LEFT_OUT
    if not out.any():
        return history
    left = np.where(out[..., None], PADDING, history)
    order = np.argsort(left[..., 0] != PADDING, axis=1, kind="stable")  # padding first, else as they were
    return np.take_along_axis(left, order[..., None], 1)


class Remap:
    """Codes to ids, a table per column."""

    def __init__(self, tables: Sequence[NDArray[np.int32]]) -> None:
        self._tables = [np.ascontiguousarray(table) for table in tables]
        self._addresses = np.array([table.ctypes.data for table in self._tables], np.uint64)
        self._sizes = np.array([len(table) for table in self._tables], np.int64)

    def ids(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return ids [n, columns] for codes [n, columns]."""
        n, columns = codes.shape
        out = np.empty((n, columns), np.int32)
        if LIBRARY is not None:
            down, across = codes.strides[0] // 4, codes.strides[1] // 4
            LIBRARY.enc_remap(at(codes), n, columns, across, down, at(self._addresses), at(self._sizes), at(out))
        else:
            for c, table in enumerate(self._tables):
                out[:, c] = table[codes[:, c]]  # -1 reads the last entry
        return out


class _BucketIds:
    """Buckets of a numeric column to ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        names = vocabulary.values.to_list()
        given = of_rows(vocabulary.ids[1:-1])
        known = sorted((int(name), int(given[i])) for i, name in enumerate(names) if name)
        self._buckets = np.array([b for b, _ in known] + [np.iinfo(np.int64).max], np.int64)
        self._ids = np.array([i for _, i in known] + [1], np.int32)
        self._missing = int(given[names.index("")]) if "" in names else 1

    def ids(self, found: NDArray[np.int64], missing: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the id of each bucket, unseen where it is not known."""
        at_ = np.searchsorted(self._buckets, found)
        ids = np.where(self._buckets[at_] == found, self._ids[at_], 1)
        return np.where(missing, self._missing, ids).astype(np.int32)


class _Real:
    """The columns that stay numbers, scaled together."""

    def __init__(self, scales: Sequence[Scale]) -> None:
        self._mean = np.array([[s.mean] for s in scales]).reshape(-1, 1)
        self._deviation = np.array([[s.deviation] for s in scales]).reshape(-1, 1)
        self._fill = np.array([[np.nan if s.fill is None else s.fill] for s in scales]).reshape(-1, 1)
        limit = [FAR if s.deviation != 1.0 or s.mean != 0.0 else RAW for s in scales]
        self._high = np.array(limit).reshape(-1, 1)
        self._low = -self._high
        self._fills = not bool(np.isnan(self._fill).all())

    def scaled(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return [rows, columns] float32 for [columns, rows]; NaN where a number is missing and not filled."""
        if self._fills:
            numbers = np.where(np.isnan(numbers), self._fill, numbers)
        scaled = (numbers - self._mean) / self._deviation
        return np.ascontiguousarray(np.clip(scaled, self._low, self._high, out=scaled).T, np.float32)
