"""One pass over the training rows: count values, sum numbers, and (if asked) keep the raw rows to encode them after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.chunk import RowsChunk
from clicksmith.encode.delimited import threads
from clicksmith.encode.dictionary import COUNT, NUMBER, Dictionary, new_dictionary
from clicksmith.encode.fitted import Fitted
from clicksmith.encode.numbers import Adder, Moments, Scale, bucket_counts, fitted
from clicksmith.encode.recipe import TableRecipe, check_columns, history_columns, keeps, slot_of
from clicksmith.encode.source import Source
from clicksmith.encode.table import TableReader, names_in
from clicksmith.encode.vocabulary import Vocabulary, of_counts, settle
from clicksmith.encode.where import Where
from clicksmith.errors import DataError
from clicksmith.schema.schema import Schema

Progress = Callable[[int, int], None]
"""Called with rows done and rows expected (about)."""


@dataclass
class SideRows:
    """A side table in raw arrays: row 0 stands for unknown keys, row i for the i-th key."""

    recipe: TableRecipe
    keys: Dictionary
    raw: Arrays
    met: NDArray[np.int64]
    """How many rows of the log refer to each row."""


@dataclass
class Pass:
    """What a pass over the log found."""

    fitted: Fitted
    moments: dict[str, Moments]
    ids: dict[str, NDArray[np.int32]]
    """Id by code of the pass, by slot."""
    sides: dict[str, SideRows]
    rows: int


def fit_pass(
    schema: Schema,
    recipes: tuple[TableRecipe, ...],
    source: Source,
    tables: Mapping[str, Source],
    keep: Callable[[Arrays], None] | None = None,
    progress: Progress | None = None,
    both_classes: bool = True,
) -> Pass:
    """Read the log once, counting; hand the raw rows to `keep`. Raises DataError for data that contradict the schema.

    `both_classes`: a binary label must have both values.
    """
    settings = keeps(schema)
    dictionaries = {slot: new_dictionary(k.buckets) for slot, k in settings.items()}
    adders = {c.name: Adder(c) for recipe in recipes for c in recipe.numbers}
    log = recipes[0]
    sides = {r.name: read_side(schema, r, tables[r.name], dictionaries, NUMBER) for r in recipes[1:]}
    reader = TableReader(schema, log, dictionaries, links_of(log, sides))
    check_columns(log, source.columns, source.name)
    rows = 0
    with ThreadPoolExecutor(threads()) as pool:
        for group in source.chunks(*reader.columns()):
            raws = reader.read(group, COUNT, pool)
            list(pool.map(partial(_tally, log, raws, adders), range(len(log.numbers))))
            for raw in raws:
                for name, side in sides.items():
                    side.met += np.bincount(raw[f"side/{name}"], minlength=len(side.met))
                rows += raw["codes"].shape[1]
                if keep is not None:
                    keep(raw)
            if progress is not None:
                progress(rows, max(rows, source.rows_hint))
    if rows == 0:
        raise DataError(f"{source.name} has columns but no rows.")
    for label in reader.labels if both_classes else ():
        label.check_classes(source.name)
    for side in sides.values():
        _weigh(schema, side, dictionaries, adders)
    moments = {name: adder.moments() for name, adder in adders.items()}
    return _settled(schema, recipes, dictionaries, moments, sides, rows, reader)


def _settled(
    schema: Schema,
    recipes: tuple[TableRecipe, ...],
    dictionaries: Mapping[str, Dictionary],
    moments: dict[str, Moments],
    sides: dict[str, SideRows],
    rows: int,
    reader: TableReader,
) -> Pass:
    settings = keeps(schema)
    numbers = {c.name: c for recipe in recipes for c in recipe.numbers}
    scales: dict[str, Scale] = {name: fitted(column, moments[name]) for name, column in numbers.items()}
    blanks = dict.fromkeys(settings, 0)
    for column, count in reader.blanks.items():
        blanks[slot_of(schema, column)] += count
    vocabularies: dict[str, Vocabulary] = {}
    ids: dict[str, NDArray[np.int32]] = {}
    for slot, keep in settings.items():
        if slot in numbers:
            counts = bucket_counts(numbers[slot], scales[slot], moments[slot])
            vocabularies[slot] = of_counts(msgspec.structs.replace(keep, edges=scales[slot].edges), counts)
        else:
            vocabularies[slot], ids[slot] = settle(keep, dictionaries[slot], blanks[slot])
            dictionaries[slot].clear()  # a large one at a time is there twice
    return Pass(Fitted(schema, vocabularies, scales), moments, ids, sides, rows)


def _tally(recipe: TableRecipe, raws: list[Arrays], adders: Mapping[str, Adder], i: int) -> None:
    for raw in raws:
        adders[recipe.numbers[i].name].add(raw["numbers"][i])


def links_of(log: TableRecipe, sides: Mapping[str, SideRows]) -> dict[str, dict[str, Dictionary]]:
    """Return the keys of the side tables by the column of the log that they are joined on."""
    return {on: {name: s.keys for name, s in sides.items() if s.recipe.on == on} for on in log.links}


def read_side(
    schema: Schema, recipe: TableRecipe, source: Source, dictionaries: Mapping[str, Dictionary], grow: int
) -> SideRows:
    """Read a side table whole. Raises DataError if a key appears twice."""
    check_columns(recipe, source.columns, source.name)
    reader = TableReader(schema, recipe, dictionaries, {}, targets=False)
    keys = new_dictionary()
    pieces = [_nothing(schema, recipe, dictionaries, grow)]
    for group in source.chunks(*reader.columns()):
        for chunk, raw in zip(group, reader.read(group, grow), strict=True):
            known = len(keys)
            codes = np.empty(chunk.rows, np.int32)
            cells = names_in(chunk, recipe.key)
            keys.codes(cells, NUMBER, codes)
            if len(keys) - known != chunk.rows:
                fresh = np.zeros(chunk.rows, np.bool_)
                fresh[np.unique(codes, return_index=True)[1]] = True
                row = int(np.flatnonzero(~fresh | (codes <= known))[0])
                raise DataError(
                    f"{chunk.where.row(chunk.first + row)}: the key '{recipe.key}' is {cells[row]!r} again. "
                    "A side table has one row per key; drop the others."
                )
            pieces.append(raw)
    raw = {n: np.concatenate([p[n] for p in pieces], 1 if n in ("codes", "numbers") else 0) for n in pieces[0]}
    return SideRows(recipe, keys, raw, np.zeros(len(keys) + 1, np.int64))


def _nothing(schema: Schema, recipe: TableRecipe, dictionaries: Mapping[str, Dictionary], grow: int) -> Arrays:
    """Read the row for unknown keys: everything missing, also where the table itself must not have holes."""
    numbers = tuple(structs.replace(c, missing="embed") for c in recipe.numbers)
    reader = TableReader(schema, structs.replace(recipe, numbers=numbers), dictionaries, {}, targets=False)
    return reader.read([RowsChunk({name: [None] for name in recipe.columns()}, 1, Where(recipe.name))], grow)[0]


def _weigh(schema: Schema, side: SideRows, dictionaries: Mapping[str, Dictionary], adders: Mapping[str, Adder]) -> None:
    """Count a side table's values as often as the log refers to them, as if it had been joined."""
    recipe, raw, met = side.recipe, side.raw, side.met
    for c, column in enumerate(recipe.ids):
        dictionaries[slot_of(schema, column.name)].weigh(raw["codes"][c], met)
    for bag in recipe.bags:
        codes = raw[f"bag/{bag.name}"]
        dictionaries[slot_of(schema, bag.name)].weigh(codes.reshape(-1), np.repeat(met, codes.shape[1]))
    for b in recipe.histories:
        codes = raw[f"history/{b.name}"]
        for k, column in enumerate(history_columns(schema, b)):
            flat = codes[:, :, k].reshape(-1)
            dictionaries[column.slot].weigh(flat, np.repeat(met, codes.shape[1]))
    for i, column in enumerate(recipe.numbers):
        _weigh_numbers(adders[column.name], raw["numbers"][i], met)


def _weigh_numbers(adder: Adder, values: NDArray[np.float64], met: NDArray[np.int64]) -> None:
    ends, step = np.cumsum(met), 1 << 20
    for start in range(0, int(ends[-1]) if len(ends) else 0, step):
        at = np.arange(start, min(start + step, int(ends[-1])))
        adder.add(values[np.searchsorted(ends, at, side="right")])
