"""The encoder: fitted on training rows only, the same object in training and in serving. Raw rows in, ids out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays, ArrayWriter, writing
from clicksmith.encode.assemble import Share, assemble
from clicksmith.encode.chunk import Chunk, FrameChunk, RowsChunk
from clicksmith.encode.crosses import Cross, CrossOf, cross_ids, extended_layout, fit_crosses
from clicksmith.encode.delimited import threads
from clicksmith.encode.dictionary import FIND, Dictionary
from clicksmith.encode.fitted import Finisher, Fitted
from clicksmith.encode.fitting import Pass, Progress, SideRows, fit_pass, read_side
from clicksmith.encode.frames import columns_of, frame_of, names_of
from clicksmith.encode.layout import Layout
from clicksmith.encode.numbers import Moments, bucket_counts, gives_id
from clicksmith.encode.numbers import fitted as fitted_scale
from clicksmith.encode.recipe import TableRecipe, check_columns, recipes, side_tables
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.source import Source, open_source
from clicksmith.encode.spool import Spool, ahead
from clicksmith.encode.store import Store, finish_store
from clicksmith.encode.table import TableReader
from clicksmith.encode.vocabulary import Keep, Vocabulary, extended, merged, of_counts
from clicksmith.encode.where import Where
from clicksmith.errors import ArtifactError, DataError, NotFittedError, SchemaError, UsageError
from clicksmith.files import atomic_folder
from clicksmith.schema.schema import Schema

FEW = 1024
"""Up to this many rows are read as Python lists: quicker than columns."""


@dataclass(frozen=True, eq=False)
class Side:
    """A side table, encoded: row 0 stands for unknown keys."""

    recipe: TableRecipe
    keys: Dictionary
    share: Share
    arrays: Arrays


@dataclass(frozen=True, eq=False)
class Encoder:
    """Maps raw rows to ids with what `fit` found. It is a value: `merge` and `extend` return another one.

    rows: training rows it was fitted on; whole: it still has the values that were too rare for an id
    crosses: pairs of fields that are columns of their own
    """

    schema: Schema
    fitted: Fitted
    moments: dict[str, Moments]
    recipes: tuple[TableRecipe, ...]
    sides: dict[str, Side]
    tables: dict[str, Any]
    rows: int
    whole: bool = True
    crosses: tuple[Cross, ...] = ()

    @staticmethod
    def fit(
        schema: Schema,
        source: Any,
        *,
        tables: Mapping[str, Any] | None = None,
        root: str | Path = ".",
        progress: Progress | None = None,
    ) -> Encoder:
        """Fit on training rows: anything `open_source` takes.

        `tables` replaces the files of side tables, whose paths start at `root`.
        Raises DataError for data that contradict the schema; the message names file, row, column and value.
        """
        return _fit(schema, source, tables, Path(root), None, progress)[0]

    @staticmethod
    def fit_encode(
        schema: Schema,
        source: Any,
        folder: str | Path,
        *,
        tables: Mapping[str, Any] | None = None,
        root: str | Path = ".",
        progress: Progress | None = None,
    ) -> tuple[Encoder, Store]:
        """Fit, and write the encoded rows to `folder`, reading the source once."""
        encoder, store = _fit(schema, source, tables, Path(root), Path(folder), progress)
        assert store is not None
        return encoder, store

    @cached_property
    def layout(self) -> Layout:
        """The layout of the encoded rows."""
        return extended_layout(self.fitted.layout, self.crosses)

    def with_crosses(self, wanted: Sequence[CrossOf], train: Store) -> Encoder:
        """Return an encoder that has these crosses too, fitted on the training rows that this one encoded.

        Raises UsageError naming the pair: a field is no id field, a pair is there already, its key is too large.
        """
        if self.crosses:
            raise UsageError("the encoder has crosses already; give all of them at once.")
        return replace(self, crosses=fit_crosses(train, wanted))

    def counts(self, slot: str) -> NDArray[np.int64]:
        """Return how often training met each id of a slot: [rows]; 0 for padding, values too rare for unseen."""
        for cross in self.crosses:
            if cross.name == slot:
                return cross.training_counts
        if slot not in self.fitted.vocabularies:
            raise NotFittedError(f"the encoder has no slot '{slot}'; it has {', '.join(self.fitted.vocabularies)}.")
        return self.fitted.vocabularies[slot].training_counts

    def values(self, slot: str) -> list[str]:
        """Return the values of a slot as texts; value i has id i + 2, or the one that a Plan gave it."""
        if slot not in self.fitted.vocabularies:
            raise NotFittedError(f"the encoder has no slot '{slot}'; it has {', '.join(self.fitted.vocabularies)}.")
        return self.fitted.vocabularies[slot].values.to_list()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what a row is encoded to."""
        state = hashlib.sha256(self.schema.digest.encode())
        state.update(msgspec.json.encode(self.fitted.scales, order="sorted"))
        self._absorb_ids(state)
        for name, side in self.sides.items():
            keys = side.keys.pick(np.arange(len(side.keys), dtype=np.int32))
            for part in (name.encode(), side.recipe.on.encode(), keys.text.tobytes(), keys.ends.tobytes()):
                state.update(part)
            for key in sorted(side.arrays):
                state.update(np.ascontiguousarray(side.arrays[key]).tobytes())
        for cross in self.crosses:
            cross.absorb(state)
        return state.hexdigest()

    @cached_property
    def ids_digest(self) -> str:
        """SHA-256 of which value has which id: what the rows of a model's tables belong to."""
        state = hashlib.sha256()
        for keep in (v.keep for v in self.fitted.vocabularies.values()):
            state.update(str((keep.buckets, keep.edges)).encode())
        self._absorb_ids(state)
        for cross in self.crosses:
            cross.absorb(state)
        return state.hexdigest()

    def _absorb_ids(self, state: Any) -> None:
        for slot, v in self.fitted.vocabularies.items():
            state.update(slot.encode())
            state.update(np.ascontiguousarray(v.values.text).tobytes())
            state.update(np.ascontiguousarray(v.values.ends).tobytes())
            state.update(b"" if v.remap is None else v.remap.tobytes())

    def encode(self, frame: Any, *, labels: bool = False) -> EncodedRows:
        """Encode a polars, pandas or Arrow table, a dict (one row) or a list of dicts. Order is kept.

        `labels` also reads labels, weight, time and group. Columns the schema does not name are ignored.
        Raises DataError naming the column that is absent, or row, column and value that do not fit.
        """
        reader, finisher = self._with_targets if labels else self._without_targets
        needed = reader.needed
        columns, rows = columns_of(frame, FEW, needed)
        if columns is not None:
            if any(name not in columns for name in needed):
                check_columns(reader.recipe, names_of(frame), "the rows", targets=labels)
            chunk: Chunk = RowsChunk(columns, rows, Where("the rows"))
            raw = reader.read_rows(chunk)
        else:
            table = frame_of(frame)
            check_columns(reader.recipe, table.columns, "the frame", targets=labels)
            chunk = FrameChunk(table, Where("the frame"))
            raw = reader.read([chunk], FIND)[0]
        return self._assembled(self._crossed(finisher.finish(raw)))

    def stream(self, source: Any, *, labels: bool = False) -> Iterator[EncodedRows]:
        """Encode a source piece by piece, in order, without writing anything."""
        for arrays in self._encoded(open_source(source), labels):
            yield self._assembled(arrays)

    def encode_to(
        self, source: Any, folder: str | Path, *, labels: bool = True, progress: Progress | None = None
    ) -> Store:
        """Encode a source into a store at `folder`, which appears only when it is complete.

        Raises DataError for a source without rows, and as `encode` does.
        """
        opened, done = open_source(source), 0
        with atomic_folder(Path(folder)) as beside, writing(beside) as writer:
            for arrays in self._encoded(opened, labels):
                _append_log(writer, arrays)
                done += len(arrays["ids"])
                if progress is not None:
                    progress(done, max(done, opened.rows_hint))
            if done == 0:
                raise DataError(f"{opened.name} has columns but no rows.")
            self.finish(writer)
        return Store.open(folder)

    def merge(self, other: Encoder) -> Encoder:
        """Return the encoder that a fit on both parts' rows would give; ids are numbered anew.

        Raises ArtifactError: a Plan decided ids, which new numbers would no longer fit.
        """
        if self.schema != other.schema:
            raise SchemaError("encoders of different schemas cannot be merged; fit both with one schema.")
        for one in (self, other):
            one._check_whole()
            edited = [slot for slot, v in one.fitted.vocabularies.items() if v.plain]
            if edited:
                raise ArtifactError(
                    f"the ids of {', '.join(edited)} were decided by a Plan, and merging numbers ids anew; merge the "
                    "encoders without the Plan and find the Plan anew, or `extend` this one."
                )
        vocabularies = {s: merged(v, other.fitted.vocabularies[s]) for s, v in self.fitted.vocabularies.items()}
        moments = {name: m.merge(other.moments[name]) for name, m in self.moments.items()}
        return _combined(self, moments, vocabularies, self.rows + other.rows, refit=True)

    def extend(self, source: Any, *, tables: Mapping[str, Any] | None = None) -> Encoder:
        """Return an encoder that also knows the source's values: old ids and scales stay, new values are appended.

        Under a Plan the vocabularies that it renumbered keep their rows, and what they do not know stays unseen.
        """
        self._check_whole()
        old = replace(self, tables={**self.tables, **(tables or {})})
        opened = {name: open_source(table) for name, table in old.tables.items()}
        found = fit_pass(self.schema, self.recipes, open_source(source), opened, both_classes=False)
        vocabularies = {s: extended(v, found.fitted.vocabularies[s]) for s, v in self.fitted.vocabularies.items()}
        moments = {name: m.merge(found.moments[name]) for name, m in self.moments.items()}
        for column in (c for recipe in self.recipes for c in recipe.numbers if gives_id(c)):
            slot, scale = self.fitted.vocabularies[column.name], self.fitted.scales[column.name]
            fresh = of_counts(Keep(), bucket_counts(column, scale, found.moments[column.name]))  # by the old edges
            vocabularies[column.name] = extended(slot, fresh)
        return _combined(old, moments, vocabularies, self.rows + found.rows, refit=False)

    def with_vocabularies(self, vocabularies: dict[str, Vocabulary]) -> Encoder:
        """Return an encoder with other vocabularies; scales stay, and side tables are read again."""
        return _combined(self, self.moments, vocabularies, self.rows, refit=False)

    def without_time(self) -> Encoder:
        """Return an encoder that reads no time, which splits and searches alone need."""
        log, *sides = self.recipes
        return replace(self, recipes=(msgspec.structs.replace(log, time=None), *sides))

    def save(self, folder: str | Path, *, rare: bool = True) -> None:
        """Write a folder of plain files. Without `rare` it is smaller and can be neither merged nor extended."""
        from clicksmith.encode.saved import save

        save(self, Path(folder), rare=rare)

    @staticmethod
    def load(folder: str | Path, *, verify: bool = True, root: str | Path = ".") -> Encoder:
        """Read an encoder. Raises ArtifactError for a folder that is none, is damaged, or is of a newer version."""
        from clicksmith.encode.saved import load

        return load(Path(folder), verify=verify, root=Path(root))

    def _check_whole(self) -> None:
        if self.crosses:
            raise ArtifactError(
                f"the encoder has crosses ({', '.join(c.name for c in self.crosses)}), so it can be neither merged nor "
                "extended; do that to the encoder without the Plan, and fit under the Plan anew."
            )
        if not self.whole:
            raise ArtifactError(
                "the encoder was saved without its rare values and cannot be merged or extended; "
                "save it with rare=True."
            )

    def _encoded(self, source: Source, labels: bool) -> Iterator[Arrays]:
        reader, finisher = self._with_targets if labels else self._without_targets
        check_columns(reader.recipe, source.columns, source.name, targets=labels)
        with ThreadPoolExecutor(threads()) as pool:
            for group in source.chunks(*reader.columns()):
                for raw in reader.read(group, FIND, pool):
                    yield self._crossed(finisher.finish(raw))

    def _crossed(self, arrays: Arrays) -> Arrays:
        """Append the crosses to the log's ids: their fields may come from the log or from side tables."""
        if not self.crosses:
            return arrays
        layout, (share, sides) = self.fitted.layout, (self._own_share, self._side_arrays)
        ids = assemble(layout, arrays, share, sides).ids
        return {**arrays, "ids": np.concatenate([arrays["ids"], cross_ids(layout, ids, self.crosses)], 1)}

    def _assembled(self, arrays: Arrays) -> EncodedRows:
        return assemble(self.layout, arrays, self._share, self._side_arrays)

    def finish(self, writer: ArrayWriter) -> None:
        """Write what a store needs besides the rows of the log."""
        finish_store(writer, self.layout, self._share, self._side_arrays, self.digest)

    @cached_property
    def _side_arrays(self) -> dict[str, tuple[Share, Arrays]]:
        return {name: (side.share, side.arrays) for name, side in self.sides.items()}

    @cached_property
    def _own_share(self) -> Share:
        finisher = self._without_targets[1]
        return Share(finisher.id_columns, finisher.numeric_columns)

    @cached_property
    def _share(self) -> Share:
        own, first = self._own_share, len(self.fitted.layout.ids)
        return Share((*own.ids, *range(first, first + len(self.crosses))), own.numeric)

    @cached_property
    def _with_targets(self) -> tuple[TableReader, Finisher]:
        return self._tools(targets=True)

    @cached_property
    def _without_targets(self) -> tuple[TableReader, Finisher]:
        return self._tools(targets=False)

    def _tools(self, targets: bool) -> tuple[TableReader, Finisher]:
        dictionaries = {slot: v.dictionary for slot, v in self.fitted.vocabularies.items()}
        links = {
            on: {name: s.keys for name, s in self.sides.items() if s.recipe.on == on} for on in self.recipes[0].links
        }
        reader = TableReader(self.schema, self.recipes[0], dictionaries, links, targets=targets)
        return reader, Finisher(self.fitted, self.recipes[0], self.fitted.ids)


def _fit(
    schema: Schema,
    data: Any,
    tables: Mapping[str, Any] | None,
    root: Path,
    folder: Path | None,
    progress: Progress | None,
) -> tuple[Encoder, Store | None]:
    source, given = open_source(data), side_tables(schema, tables or {}, root)
    opened = {name: open_source(table) for name, table in given.items()}
    plan = recipes(schema, source.columns, {name: table.columns for name, table in opened.items()})
    if folder is None:
        found = fit_pass(schema, plan, source, opened, None, progress)
        return _made(found, plan, given), None
    with atomic_folder(folder) as beside, Spool(beside / "raw.tmp") as spool, writing(beside) as writer:
        found = fit_pass(schema, plan, source, opened, spool.append, progress)
        encoder = _made(found, plan, given)
        finisher = Finisher(found.fitted, plan[0], found.ids)
        for arrays in ahead(finisher.finish, spool.pieces()):
            _append_log(writer, arrays)
        encoder.finish(writer)
    return encoder, Store.open(folder)


def _made(found: Pass, plan: tuple[TableRecipe, ...], tables: dict[str, Any]) -> Encoder:
    sides = {name: _side(found.fitted, side, found.ids) for name, side in found.sides.items()}
    return Encoder(found.fitted.schema, found.fitted, found.moments, plan, sides, tables, found.rows)


def _side(fitted: Fitted, rows: SideRows, ids: Mapping[str, NDArray[np.int32]]) -> Side:
    finisher = Finisher(fitted, rows.recipe, ids)
    share = Share(finisher.id_columns, finisher.numeric_columns)
    return Side(rows.recipe, rows.keys, share, finisher.finish(rows.raw))


def _combined(
    old: Encoder, moments: dict[str, Moments], vocabularies: dict[str, Vocabulary], rows: int, *, refit: bool
) -> Encoder:
    schema = old.schema
    numbers = {c.name: c for recipe in old.recipes for c in recipe.numbers}
    scales = {n: fitted_scale(c, moments[n]) for n, c in numbers.items()} if refit else old.fitted.scales
    if refit:
        for name, column in numbers.items():
            if gives_id(column):
                counts = bucket_counts(column, scales[name], moments[name])
                keep = msgspec.structs.replace(vocabularies[name].keep, edges=scales[name].edges)
                vocabularies[name] = of_counts(keep, counts)
    fitted = Fitted(schema, vocabularies, scales)
    dictionaries = {slot: v.dictionary for slot, v in vocabularies.items()}
    sides: dict[str, Side] = {}
    for recipe in old.recipes[1:]:
        table = read_side(schema, recipe, open_source(old.tables[recipe.name]), dictionaries, FIND)
        sides[recipe.name] = _side(fitted, table, fitted.ids)
    return Encoder(schema, fitted, moments, old.recipes, sides, old.tables, rows)


def _append_log(writer: ArrayWriter, arrays: Arrays) -> None:
    writer.append({f"log:{name}": array for name, array in arrays.items()})
