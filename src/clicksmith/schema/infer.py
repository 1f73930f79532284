"""Proposing a schema from a table: what each column seems to be, with the reason in words, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.errors import DataError, SchemaError
from clicksmith.names import unknown
from clicksmith.schema.choose import Choice, Chooser
from clicksmith.schema.columns import Label, Time
from clicksmith.schema.hints import first_of, label_rank
from clicksmith.schema.histories import behaviours_of
from clicksmith.schema.profile import ColumnProfile, decoded, profile, texts_of
from clicksmith.schema.schema import Schema
from clicksmith.schema.suspects import Suspect, duplicates, leaks

SAMPLE = 200_000
_WORDS = 50
"""A column with more values than this is nobody's label."""
_YES = ("1", "1.0", "true", "yes", "y", "t", "click", "clicked", "positive", "pos")
_NO = ("false", "no", "n", "f", "not clicked", "negative", "neg")


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A schema proposed for a table.

    reasons: for every column, what it is taken for and why, in words
    suspects: columns to look at before training; leaks stay fields, the others are ignored
    profile: what each column holds
    rows: rows looked at
    """

    schema: Schema
    reasons: dict[str, str]
    suspects: tuple[Suspect, ...]
    profile: tuple[ColumnProfile, ...]
    rows: int


def infer(
    data: pl.DataFrame | str | Path,
    *,
    label: str | None = None,
    rows: int | None = None,
    sample_rows: int = SAMPLE,
    leaking: bool = True,
) -> Proposal:
    """Propose a schema from a frame (or a CSV, TSV or Parquet file with a header).

    Args:
        data: the rows, or some of them: typed columns or text as read from a CSV.
        label: the label's column; looked for by name if it is not given.
        rows: rows of the whole table if `data` is a part of it; they decide how rare a value may be.
        sample_rows: at most this many rows are looked at, drawn evenly.
        leaking: look for columns that give the label away; the schema does not depend on it.

    Raises:
        SchemaError: no label is found, the named one is absent, or nothing else is left.
        DataError: the table has no rows, or the file cannot be read.
    """
    frame = data if isinstance(data, pl.DataFrame) else _read(Path(data), sample_rows)
    if frame.height == 0:
        raise DataError("the table has no rows; nothing can be said of its columns.")
    rows = max(rows or 0, frame.height)
    sample = pl.DataFrame([decoded(series) for series in _sample(frame, sample_rows)])
    found = profile(sample)
    named = {column.name: column for column in found}
    label_column, label_reason = _label(sample, named, label)
    inputs = tuple(column for column in found if column.name != label_column.name)
    copies = duplicates(sample, [column.name for column in inputs if column.kind != "other"])
    chooser = Chooser(rows=rows, looked_at=sample.height, copies={s.column: s for s in copies})
    choices = {column.name: chooser.choose(column, sample.get_column(column.name)) for column in inputs}
    behaviours, choices = behaviours_of(sample, named, choices)
    choices = _one_time(choices)
    fields = [choice.column for choice in choices.values() if choice.field and choice.column is not None]
    if not fields and not behaviours:
        reasons = "; ".join(f"{name}: {choice.reason}" for name, choice in choices.items())
        raise SchemaError(f"no column is left to predict '{label_column.name}' from ({reasons or 'there is none'}).")
    names = [column.name for column in fields]
    times = [choice.column for choice in choices.values() if isinstance(choice.column, Time)]
    schema = Schema(
        fields=tuple(fields),  # type: ignore[arg-type]
        behaviours=behaviours,
        label=label_column,
        group=_group(names, named),
        domain=_domain(names, named),
        time=times[0] if times else None,
        ignored=tuple(name for name, choice in choices.items() if choice.column is None and not choice.used),
    )
    usable = tuple(column for column in inputs if column.name in names)
    suspects = [choice.suspect for choice in choices.values() if choice.suspect is not None]
    given_away = leaks(sample, _clicks(sample, label_column), usable) if leaking else []
    return Proposal(
        schema=schema,
        reasons={label_column.name: label_reason, **{name: choice.reason for name, choice in choices.items()}},
        suspects=(*given_away, *suspects),
        profile=found,
        rows=sample.height,
    )


def _read(path: Path, most: int) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"there is no file '{path}'; check the path.")
    try:
        if path.suffix in (".parquet", ".pq"):
            return pl.scan_parquet(path, glob=False).head(5 * most).collect()
        with path.open(encoding="utf-8", errors="replace") as file:
            header = "," if path.suffix in (".gz", ".zst") else file.readline()
        separator = max(",\t;|", key=header.count)
        return pl.scan_csv(path, separator=separator, infer_schema=False, glob=False).head(5 * most).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"'{path}' cannot be read as a table: {str(error).splitlines()[0]}.") from error


def _sample(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    if frame.height <= most:
        return frame
    edges = np.linspace(0, frame.height, most + 1)
    drawn = edges[:-1] + np.random.Generator(np.random.PCG64(0)).random(most) * np.diff(edges)
    return frame[np.minimum(drawn.astype(np.int64), frame.height - 1)]


def _label(frame: pl.DataFrame, named: Mapping[str, ColumnProfile], label: str | None) -> tuple[Label, str]:
    if label is not None:
        if label not in named:
            raise SchemaError(f"the label is to be '{label}': {unknown(label, named, 'column')}")
        if named[label].unique > _WORDS and named[label].kind != "number":
            raise SchemaError(_no_label(label, frame, named))
        found = _label_of(named[label])
        odd = named[label].unique != 2 and found.positive is None
        return found, f"the label, as named{f'; it {_held(named[label])}: 0 and 1' if odd else ''}"
    binary, likely = _binary(frame, named)
    if not likely:
        raise SchemaError(_none_likely(frame, named, binary))
    name = likely[0]
    return _label_of(named[name]), f"the label: two values, and its name is '{name}'"


def _binary(frame: pl.DataFrame, named: Mapping[str, ColumnProfile]) -> tuple[list[str], list[str]]:
    """Return the columns with two values, and those that are likely the label, the likeliest first.

    Those are named like one, and hold numbers, true and false, or, less likely, words known to mean yes and no.
    """
    kinds = ("integer", "number", "flag", "text")
    binary = [name for name in frame.columns if named[name].unique == 2 and named[name].kind in kinds]
    so = [name for name in _named_so(binary) if named[name].kind != "text" or _yes_and_no(named[name])]
    return binary, sorted(so, key=lambda name: named[name].kind == "text")


def _named_so(names: Sequence[str]) -> list[str]:
    """Return the columns that are named like a label, the likeliest first."""
    ranks = {name: rank for name in names if (rank := label_rank(name)) is not None}
    return sorted(ranks, key=lambda name: ranks[name])


def _yes_and_no(column: ColumnProfile) -> bool:
    words = {value.lower() for value, _ in column.top}
    return len(words.intersection(_YES)) == len(words.intersection(_NO)) == 1


def _none_likely(frame: pl.DataFrame, named: Mapping[str, ColumnProfile], binary: Sequence[str]) -> str:
    some = f"columns with two values are: {', '.join(binary[:8])}" if binary else "no column has two values"
    single = [name for name in frame.columns if named[name].unique <= _WORDS and named[name].kind != "list"]
    named_so = _named_so(single)
    if not named_so:
        return (
            f"no column is named like a label (click, label, target, ...); {some}. Name it with label=... or --label."
        )
    name = named_so[0]
    if name in binary:
        values, yes = " and ".join(f"'{value}'" for value, _ in named[name].top), _label_of(named[name]).positive
        return (
            f"'{name}' is named like a label, and which of its values {values} means 1 is not known. If it is the "
            f"label, name it with label='{name}' or --label {name}: '{yes}' counts as 1 then."
        )
    return f"'{name}' is named like a label, but {_held(named[name])}; {some}. Name it with label=... or --label."


def _held(column: ColumnProfile) -> str:
    return f"holds {'one value' if column.unique == 1 else f'{column.unique:,} values'} where a label has two"


def _no_label(label: str, frame: pl.DataFrame, named: Mapping[str, ColumnProfile]) -> str:
    binary, likely = _binary(frame, named)
    some = likely[:1] or binary[:8]
    hint = f"Did you mean '{some[0]}'?" if len(some) == 1 else f"Columns with two values: {', '.join(some) or 'none'}."
    return f"the label is to be '{label}', which holds {named[label].unique:,} values; a label has two. {hint}"


def _label_of(column: ColumnProfile) -> Label:
    values = [value for value, _ in column.top]
    if column.kind == "flag" or column.unique != 2 or {_canonical(v) for v in values} == {"0", "1"}:
        return Label(column.name)
    likely = [value for value in values if value.lower() in _YES]
    if column.kind in ("integer", "number"):
        likely = [max(values, key=float)]
    return Label(column.name, positive=likely[0] if likely else values[-1])


def _canonical(text: str) -> str:
    return text.removesuffix(".0")


def _clicks(frame: pl.DataFrame, label: Label) -> NDArray[np.bool_]:
    texts = texts_of(frame.get_column(label.name)).str.strip_chars().str.to_lowercase().fill_null("")
    yes = (label.positive.lower(),) if label.positive is not None else ("1", "1.0", "true")
    return texts.is_in(list(yes)).to_numpy()


def _one_time(choices: dict[str, Choice]) -> dict[str, Choice]:
    """Keep the first time column; the others are ignored."""
    times = [name for name, choice in choices.items() if isinstance(choice.column, Time)]
    for name in times[1:]:
        choices[name] = Choice(None, f"ignored: a second time beside '{times[0]}'")
    return choices


def _group(names: list[str], named: Mapping[str, ColumnProfile]) -> str | None:
    found = first_of([name for name in names if named[name].distinct_share < 0.9], "group")
    return found if found is not None and named[found].unique > 1 else None


def _domain(names: list[str], named: Mapping[str, ColumnProfile]) -> str | None:
    return first_of([name for name in names if 2 <= named[name].unique <= 100], "domain")
