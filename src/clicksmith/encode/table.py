"""Reading one table, log or side table, into raw arrays: codes of values that are still to be numbered, raw numbers.

Raw arrays: `codes` [columns, rows], `numbers` [columns, rows] (logarithms taken already), and by row `bag/NAME`,
`history/NAME`, `vector/NAME`, `side/TABLE` (its row), `domain`, `labels`, `weight`, `time`, `group`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.chunk import Chunk, RowsChunk
from clicksmith.encode.dictionary import FIND, Dictionary
from clicksmith.encode.few import FewIds, FewNumbers
from clicksmith.encode.numbers import bent, refuse_missing
from clicksmith.encode.recipe import DOMAIN, TableRecipe, history_columns, slot_of
from clicksmith.encode.targets import LabelReader, read_group, read_time, read_weight
from clicksmith.encode.texts import Cells, Texts, canonical
from clicksmith.errors import DataError
from clicksmith.schema.columns import Bag, Behaviour, Numeric
from clicksmith.schema.schema import Schema


class Cutting(msgspec.Struct, frozen=True):
    """See `Cut`."""

    separator: str
    length: int
    history: bool
    reversed: bool = False


Task = Callable[[Chunk, Arrays], None]
Grow = int


class TableReader:
    """Reads chunks of one table with a dictionary per slot, each used by one thread at a time.

    links: for each column that side tables are joined on, the keys of each table
    """

    def __init__(
        self,
        schema: Schema,
        recipe: TableRecipe,
        dictionaries: Mapping[str, Dictionary],
        links: Mapping[str, Mapping[str, Dictionary]],
        *,
        targets: bool = True,
    ) -> None:
        self.schema, self.recipe, self.targets = schema, recipe, targets
        self.labels = [LabelReader(label) for label in recipe.labels] if targets else []
        self.needed = recipe.columns(targets)
        self.blanks: dict[str, int] = {}
        self._dictionaries, self._links = dictionaries, links

    def columns(self) -> tuple[list[str], list[str]]:
        """Return the columns read as numbers, and all others that are read."""
        recipe, targets = self.recipe, self.targets
        numbers = {c.name for c in recipe.numbers}
        if targets:
            numbers |= {recipe.weight} if recipe.weight else set()
            numbers |= {recipe.time.name} if recipe.time and recipe.time.unit != "text" else set()
        texts = {c.name for c in (*recipe.ids, *recipe.bags)} | set(recipe.links)
        texts |= {n for b in recipe.histories for n in (b.name, *(s.name for s in b.sides))}
        texts |= {n for v in recipe.vectors for n in (v.columns or (v.name,))}
        texts |= {n for n in (recipe.key, recipe.domain) if n}
        if targets:
            texts |= {label.name for label in recipe.labels} | ({recipe.group} if recipe.group else set())
            texts |= {recipe.time.name} if recipe.time and recipe.time.unit == "text" else set()
        return [n for n in self.needed if n in numbers - texts], [n for n in self.needed if n in texts]

    def read(self, group: Sequence[Chunk], grow: Grow, pool: ThreadPoolExecutor | None = None) -> list[Arrays]:
        """Return the raw arrays of each chunk. `grow` is what to do with dictionaries (COUNT, NUMBER or FIND)."""
        raws = [self._empty(chunk.rows) for chunk in group]
        tasks = self._tasks(grow)

        def run(task: Task) -> None:
            for chunk, raw in zip(group, raws, strict=True):
                task(chunk, raw)

        if pool is None:
            for task in tasks:
                run(task)
        else:
            list(pool.map(run, tasks))
        return raws

    def read_rows(self, chunk: RowsChunk) -> Arrays:
        """Return the raw arrays of a few rows, looking values up."""
        raw = self._empty(chunk.rows)
        self._few_ids.codes(chunk, raw["codes"])
        raw["numbers"] = self._few_numbers.read(chunk)
        for task in self._few_tasks:
            task(chunk, raw)
        return raw

    @cached_property
    def _few_ids(self) -> FewIds:
        ids = self.recipe.ids
        return FewIds(ids, [self._dictionaries[slot_of(self.schema, c.name)] for c in ids])

    @cached_property
    def _few_numbers(self) -> FewNumbers:
        return FewNumbers(self.recipe.numbers)

    @cached_property
    def _few_tasks(self) -> list[Task]:
        return self._tasks(FIND, singles=False)

    def _empty(self, rows: int) -> Arrays:
        recipe = self.recipe
        raw: Arrays = {
            "codes": np.empty((len(recipe.ids), rows), np.int32),
            "numbers": np.empty((len(recipe.numbers), rows), np.float64),
        }
        for bag in recipe.bags:
            raw[f"bag/{bag.name}"] = np.zeros((rows, bag.max_length), np.int32)
        for b in recipe.histories:
            raw[f"history/{b.name}"] = np.zeros((rows, b.max_length, 1 + len(b.sides)), np.int32)
        if self.labels:
            raw["labels"] = np.empty((rows, len(self.labels)), np.float32)
        return raw

    def _tasks(self, grow: Grow, singles: bool = True) -> list[Task]:
        """Return what reads the columns; without `singles` all but ids and numbers."""
        recipe = self.recipe
        by_slot: dict[str, list[Task]] = {}
        for c, column in enumerate(recipe.ids if singles else ()):
            by_slot.setdefault(slot_of(self.schema, column.name), []).append(self._id_task(c, grow))
        for bag in recipe.bags:
            by_slot.setdefault(slot_of(self.schema, bag.name), []).append(self._bag_task(bag, grow))
        for b in recipe.histories:
            for k, (name, slot) in enumerate(_history_names(self.schema, b)):
                by_slot.setdefault(slot, []).append(self._history_task(b, k, name, slot, grow))
        if recipe.domain:
            by_slot.setdefault(DOMAIN, []).append(self._domain_task(recipe.domain, grow))
        tasks = [_all(parts) for parts in by_slot.values()]
        tasks += [self._number_task(i, c) for i, c in enumerate(recipe.numbers if singles else ())]
        return tasks + self._others()

    def _others(self) -> list[Task]:
        recipe, tasks = self.recipe, list[Task]()
        for on, tables in self._links.items():
            tasks.append(lambda chunk, raw, on=on, tables=tables: _link(chunk, raw, on, tables))
        for v in recipe.vectors:
            names = v.columns or (v.name,)
            tasks.append(lambda c, raw, v=v, names=names: raw.update({f"vector/{v.name}": c.vectors(names, v.dim)}))
        if not self.targets:
            return tasks
        for i, reader in enumerate(self.labels):
            tasks.append(lambda chunk, raw, i=i, reader=reader: _put(raw["labels"], i, reader.read(chunk)))
        if (weight := recipe.weight) is not None:
            tasks.append(lambda chunk, raw: raw.update(weight=read_weight(chunk, weight)))
        if (group := recipe.group) is not None:
            tasks.append(lambda chunk, raw: raw.update(group=read_group(chunk, group)))
        if (time := recipe.time) is not None:
            tasks.append(lambda chunk, raw: raw.update(time=read_time(chunk, time)))
        return tasks

    def _id_task(self, c: int, grow: Grow) -> Task:
        column = self.recipe.ids[c]
        dictionary = self._dictionaries[slot_of(self.schema, column.name)]

        def task(chunk: Chunk, raw: Arrays) -> None:
            cells, out = names_in(chunk, column.name), raw["codes"][c]
            if column.missing == "value":
                dictionary.codes(cells, grow, out)
                return
            dictionary.codes(without_blanks(cells), grow, out)
            blank = out == 0
            out[blank] = -1
            self.blanks[column.name] = self.blanks.get(column.name, 0) + int(blank.sum())

        return task

    def _number_task(self, i: int, column: Numeric) -> Task:
        def task(chunk: Chunk, raw: Arrays) -> None:
            values = chunk.numbers(column.name)
            refuse_missing(column, values, chunk.where, chunk.first)
            raw["numbers"][i] = bent(values) if column.scale == "log" else values

        return task

    def _bag_task(self, bag: Bag, grow: Grow) -> Task:
        dictionary = self._dictionaries[slot_of(self.schema, bag.name)]
        cut = Cutting(bag.separator, bag.max_length, history=False)

        def task(chunk: Chunk, raw: Arrays) -> None:
            grid_codes(chunk, bag.name, cut, dictionary, grow, raw[f"bag/{bag.name}"].reshape(-1))

        return task

    def _history_task(self, b: Behaviour, k: int, name: str, slot: str, grow: Grow) -> Task:
        dictionary = self._dictionaries[slot]
        cut = Cutting(b.separator, b.max_length, history=True, reversed=b.newest == "first")

        def task(chunk: Chunk, raw: Arrays) -> None:
            flat = raw[f"history/{b.name}"].reshape(-1, 1 + len(b.sides))
            counts = grid_codes(chunk, name, cut, dictionary, grow, flat[:, k])
            if k:
                items = chunk.grid(b.name, cut).counts
                _check_aligned(chunk, b.name, name, items, counts)

        return task

    def _domain_task(self, name: str, grow: Grow) -> Task:
        dictionary = self._dictionaries[DOMAIN]

        def task(chunk: Chunk, raw: Arrays) -> None:
            raw["domain"] = np.empty(chunk.rows, np.int32)
            dictionary.codes(names_in(chunk, name), grow, raw["domain"])

        return task


def names_in(chunk: Chunk, column: str) -> Cells:
    """Return a column as texts that name something: canonical ones."""
    cells = chunk.texts(column)
    return cells if chunk.plain else canonical(cells)


def grid_codes(
    chunk: Chunk, name: str, cut: Cutting, dictionary: Dictionary, grow: Grow, out: NDArray[np.int32]
) -> NDArray[Any]:
    """Write the codes of a column of lists to a flattened grid; return the values per cell before the cut."""
    grid = chunk.grid(name, cut)
    cells = grid.cells if chunk.plain else canonical(grid.cells)
    if grid.places is None:
        dictionary.codes(cells, grow, out)
    else:
        codes = np.empty(len(cells), np.int32)
        dictionary.codes(cells, grow, codes)
        out[grid.places] = codes
    return grid.counts


def without_blanks(cells: Cells) -> Cells:
    """Return the cells with "nothing here" in place of empty texts."""
    if isinstance(cells, Texts):
        lens = np.where(cells.lens > 0, cells.lens, -1).astype(np.int32)
        return Texts(cells.text, np.ascontiguousarray(cells.starts), lens)
    if isinstance(cells, pl.Series):
        return pl.select(pl.when(cells != "").then(cells)).to_series()
    return [cell or None for cell in cells]


def _history_names(schema: Schema, b: Behaviour) -> list[tuple[str, str]]:
    return [(column.name, column.slot) for column in history_columns(schema, b)]


def _all(tasks: Sequence[Task]) -> Task:
    def task(chunk: Chunk, raw: Arrays) -> None:
        for part in tasks:
            part(chunk, raw)

    return task


def _put(matrix: NDArray[Any], column: int, values: NDArray[Any]) -> None:
    matrix[:, column] = values


def _link(chunk: Chunk, raw: Arrays, on: str, tables: Mapping[str, Dictionary]) -> None:
    cells = names_in(chunk, on)
    for name, keys in tables.items():
        rows = np.empty(chunk.rows, np.int32)
        keys.codes(cells, FIND, rows)
        raw[f"side/{name}"] = np.maximum(rows, 0)


def _check_aligned(chunk: Chunk, name: str, side: str, items: NDArray[Any], counts: NDArray[Any]) -> None:
    odd = np.flatnonzero(items != counts)
    if len(odd):
        row = int(odd[0])
        raise DataError(
            f"{chunk.where.row(chunk.first + row)}: '{name}' has {int(items[row])} behaviours and '{side}', which "
            f"goes with it, {int(counts[row])}. Give both the same number of values."
        )
