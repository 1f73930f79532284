"""Which list columns are past behaviours, of which column, and which lists go along with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from clicksmith.schema.choose import Choice
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Side
from clicksmith.schema.hints import names_history, words
from clicksmith.schema.profile import ColumnProfile, texts_of

_ROWS = 2000


def behaviours_of(
    frame: pl.DataFrame, named: Mapping[str, ColumnProfile], choices: dict[str, Choice]
) -> tuple[tuple[Behaviour, ...], dict[str, Choice]]:
    """Return the behaviour sequences among the lists and the choices without the columns they use.

    A list is a sequence if its name says so and its values are those of a categorical column. Lists of the same lengths
    are its sides.
    """
    lists = [name for name, choice in choices.items() if isinstance(choice.column, Bag) and names_history(name)]
    ids = {name for name, choice in choices.items() if isinstance(choice.column, Categorical)}
    owners = {name: _owner(frame, named[name], ids) for name in lists}
    lengths = {name: _lengths(frame, named[name]) for name in lists}
    found: list[Behaviour] = []
    taken: set[str] = set()
    for name in sorted((n for n in lists if owners[n]), key=lambda n: -named[n].unique):
        owner = owners[name]
        if name in taken or owner is None:
            continue
        aligned = [
            n for n in lists if n != name and n not in taken and lengths[n].equals(lengths[name], check_names=False)
        ]
        separator = named[name].separator
        aligned = [n for n in aligned if named[n].separator == separator]
        sides = tuple(Side(n, of=owners[n] if owners[n] != owner else None) for n in aligned)
        taken |= {name, *aligned}
        length = max(2, min((named[name].length or (0.0, 2))[1], 100))
        found.append(Behaviour(name, of=owner, sides=sides, separator=separator or "|", max_length=length))
        choices[name] = replace(
            choices[name], column=None, used=True, reason=f"past behaviours, of '{owner}', newest last"
        )
        for side in aligned:
            choices[side] = replace(
                choices[side], column=None, used=True, reason=f"goes along with the behaviours '{name}'"
            )
    return tuple(found), choices


def _owner(frame: pl.DataFrame, column: ColumnProfile, ids: set[str]) -> str | None:
    """Return the categorical column whose values the list holds, the one of the nearest name first."""
    values = set(_cut(frame, column).explode().cast(pl.String).drop_nulls().unique().to_list()) - {""}
    if not values:
        return None
    coded = all(value.lstrip("-").isdigit() for value in values)
    scored: list[tuple[int, int, str]] = []
    for name in sorted(ids):
        known = set(texts_of(frame.get_column(name)).drop_nulls().unique().to_list())
        share = len(values & known) / len(values)
        near = len(_stems(name) & _stems(column.name))
        if share >= (0.2 if near else 2.0 if coded else 0.5):  # small numbers are shared by chance
            scored.append((near, int(100 * share), name))
    return max(scored)[2] if scored else None


def _stems(name: str) -> set[str]:
    return {word[:4].rstrip("s") for word in words(name)} - {"id", "past", "hist", "hi", "seq"}


def _lengths(frame: pl.DataFrame, column: ColumnProfile) -> pl.Series:
    return _cut(frame, column).list.len().fill_null(0)


def _cut(frame: pl.DataFrame, column: ColumnProfile) -> pl.Series:
    cells = frame.get_column(column.name).head(_ROWS)
    return cells if column.separator is None else cells.cast(pl.String).str.split(column.separator)
