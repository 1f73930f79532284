"""From the schema to what is read from each table: which columns, as what, and where they go in the layout."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.encode.layout import (
    DOMAIN,
    BagColumn,
    HistoryColumn,
    HistoryLayout,
    IdColumn,
    Layout,
    NumericColumn,
    Slot,
    VectorColumn,
)
from clicksmith.encode.numbers import gives_id
from clicksmith.encode.vocabulary import Keep
from clicksmith.errors import DataError, SchemaError
from clicksmith.names import unknown
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Label, Multimodal, Numeric, Time
from clicksmith.schema.schema import Schema, SideTable

_SHOWN = 40
"""Columns that an error lists."""


class TableRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is read from one table: the log (name "") or a side table."""

    name: str = ""
    key: str = ""
    on: str = ""
    ids: tuple[Categorical, ...] = ()
    numbers: tuple[Numeric, ...] = ()
    bags: tuple[Bag, ...] = ()
    histories: tuple[Behaviour, ...] = ()
    vectors: tuple[Multimodal, ...] = ()
    links: tuple[str, ...] = ()
    """Columns of the log that side tables are joined on."""
    labels: tuple[Label, ...] = ()
    group: str | None = None
    domain: str | None = None
    time: Time | None = None
    weight: str | None = None

    def columns(self, labels: bool = True) -> list[str]:
        """Return the columns that are read, each once; `labels` covers what only targets need."""
        names = [c.name for c in (*self.ids, *self.numbers, *self.bags)]
        names += [name for b in self.histories for name in (b.name, *(s.name for s in b.sides))]
        names += [name for v in self.vectors for name in (v.columns or (v.name,))]
        names += [*self.links, *([self.key] if self.key else []), *([self.domain] if self.domain else [])]
        if labels:
            names += [label.name for label in self.labels]
            names += [n for n in (self.group, self.weight, self.time.name if self.time else None) if n]
        return list(dict.fromkeys(names))


def slot_of(schema: Schema, name: str) -> str:
    """Return the slot (the owner of the vocabulary) of a field."""
    column = schema.column(name)
    return getattr(column, "share", None) or name


def keeps(schema: Schema) -> dict[str, Keep]:
    """Return the settings of every dictionary, in the order of the layout's slots; the domain's last."""
    found: dict[str, Keep] = {}
    for c in schema.fields:
        if isinstance(c, Categorical) and c.share is None:
            found[c.name] = Keep(c.min_count, c.max_size, c.buckets)
        elif isinstance(c, Bag) and c.share is None:
            found[c.name] = Keep(c.min_count, c.max_size)
        elif isinstance(c, Numeric) and gives_id(c):
            found[c.name] = Keep(c.min_count)
    for side in (s for b in schema.behaviours for s in b.sides if s.of is None):
        found[side.name] = Keep()
    if schema.domain is not None:
        found[DOMAIN] = Keep()
    return found


def history_columns(schema: Schema, behaviour: Behaviour) -> tuple[HistoryColumn, ...]:
    """Return the columns of a behaviour sequence, the item first."""
    item = HistoryColumn(behaviour.name, slot_of(schema, behaviour.of), behaviour.of)
    sides = (HistoryColumn(s.name, slot_of(schema, s.of) if s.of else s.name, s.of) for s in behaviour.sides)
    return (item, *sides)


def layout_of(schema: Schema, rows: dict[str, int], zeros: Collection[str] = ()) -> Layout:
    """Return the layout of a schema whose dictionaries have these rows; `zeros` are slots with ids `ZERO`."""
    ids = [c for c in schema.fields if isinstance(c, Categorical) or (isinstance(c, Numeric) and gives_id(c))]
    numeric = [c for c in schema.fields if isinstance(c, Numeric) and not gives_id(c)]
    bags = [c for c in schema.fields if isinstance(c, Bag)]
    vectors = [c for c in schema.fields if isinstance(c, Multimodal)]
    return Layout(
        slots=tuple(Slot(name, rows[name], name in zeros) for name in rows if name != DOMAIN),
        ids=tuple(IdColumn(c.name, slot_of(schema, c.name), c.role) for c in ids),
        numeric=tuple(NumericColumn(c.name, c.role) for c in numeric),
        bags=tuple(BagColumn(c.name, slot_of(schema, c.name), c.max_length, c.role) for c in bags),
        vectors=tuple(VectorColumn(c.name, c.dim, c.role) for c in vectors),
        histories=tuple(HistoryLayout(b.name, history_columns(schema, b), b.max_length) for b in schema.behaviours),
        labels=tuple(label.name for label in schema.labels),
        domains=rows.get(DOMAIN, 0),
        order=schema.field_names,
    )


def recipes(schema: Schema, log: Collection[str], tables: dict[str, Collection[str]]) -> tuple[TableRecipe, ...]:
    """Return the recipe of the log and of every side table, given the columns they have.

    A column is taken from the log if the log has it, else from the side table that has it.
    """
    left: dict[str, TableRecipe] = {}
    for table in schema.tables:
        left[table.name] = _side(schema, table, set(tables[table.name]) - set(log))
    _check_owners(list(left.values()))
    claimed = {n for r in left.values() for n in r.columns() if n != r.key}
    own = _fields(schema, lambda names: not claimed & set(names))
    vectors = tuple(v for v in own.vectors if v.file is None)
    for v in (v for v in own.vectors if v.file is not None):
        left[v.name] = TableRecipe(name=v.name, key=v.by or "", on=v.by or "", vectors=(v,))
    main = msgspec.structs.replace(
        own,
        vectors=vectors,
        links=tuple(dict.fromkeys(r.on for r in left.values())),
        labels=schema.labels,
        group=schema.group,
        domain=schema.domain,
        time=schema.time,
        weight=schema.weight,
    )
    return (main, *(r for r in left.values() if r.columns() != [r.key]))


def _check_owners(sides: list[TableRecipe]) -> None:
    """Raise SchemaError if two side tables have the same declared column."""
    owner: dict[str, str] = {}
    for recipe in sides:
        for name in recipe.columns():
            if name != recipe.key and owner.setdefault(name, recipe.name) != recipe.name:
                raise SchemaError(
                    f"column '{name}' is in two side tables, '{owner[name]}' and '{recipe.name}'. "
                    "Rename or drop it in one of them: a field is read from one table."
                )


def _side(schema: Schema, table: SideTable, has: set[str]) -> TableRecipe:
    found = _fields(schema, lambda names: set(names) <= has)
    return msgspec.structs.replace(found, name=table.name, key=table.key, on=table.on or table.key)


def _fields(schema: Schema, wanted: Callable[[list[str]], bool]) -> TableRecipe:
    fields = schema.fields
    return TableRecipe(
        ids=tuple(c for c in fields if isinstance(c, Categorical) and wanted([c.name])),
        numbers=tuple(c for c in fields if isinstance(c, Numeric) and wanted([c.name])),
        bags=tuple(c for c in fields if isinstance(c, Bag) and wanted([c.name])),
        histories=tuple(b for b in schema.behaviours if wanted([b.name, *(s.name for s in b.sides)])),
        vectors=tuple(c for c in fields if isinstance(c, Multimodal) and wanted(list(c.columns or (c.name,)))),
    )


def check_columns(recipe: TableRecipe, there: Collection[str], where: str, *, targets: bool = True) -> None:
    """Raise DataError naming the columns of the recipe that are not there."""
    absent = [name for name in recipe.columns(targets) if name not in there]
    if not absent:
        return
    near = get_close_matches(absent[0], there, n=1, cutoff=0.75)
    has = f"{', '.join(list(there)[:_SHOWN])}{', ...' if len(there) > _SHOWN else ''}"
    columns = f"The columns there are: {has}."
    if len(absent) == 1:
        nearest = f"Did you mean '{near[0]}'?" if near else columns
        what = f"no column named '{absent[0]}'. {nearest}"
    else:
        names = f"{', '.join(absent[:_SHOWN])}{', ...' if len(absent) > _SHOWN else ''}"
        what = f"{len(absent)} columns are missing: {names}. {columns}"
    raise DataError(f"{where}: {what} {_cure(recipe, absent)}{uncut(there)}")


def uncut(there: Collection[str]) -> str:
    """Return what to do if the only column's name looks like a header whose cells were not separated, else nothing."""
    if len(there) != 1 or all(c.isalnum() or c in "_-" for c in next(iter(there))):
        return ""
    return (
        " A single column was found: if cells are separated by something else than a tab , ; or |, name it, "
        "on the command line with --delimiter."
    )


def _cure(recipe: TableRecipe, absent: Sequence[str]) -> str:
    """Return what to do about absent columns; labels and weights are of no use with empty cells."""
    one = len(absent) == 1
    it, them = ("it", "the column") if one else ("them", "the columns")
    filled = {label.name for label in recipe.labels} | ({recipe.weight} if recipe.weight else set())
    full = " and ".join(f"'{name}'" for name in absent if name in filled)
    if filled.issuperset(absent):
        return (
            f"Rows to learn from or to measure need {full}: rename {them}, or add {it} and fill every cell. "
            "Rows without can be scored by `predict`."
        )
    cells = f"with empty cells where {'it is' if one else 'they are'} not known{', but for ' + full if full else ''}"
    declared = "it" if one else "the missing ones"
    return f"The schema declares {declared}: rename {them}, add {it} ({cells}), or change the schema."


def side_tables(schema: Schema, given: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the side tables and vector files of a schema: those given, else their paths below `root`."""
    found: dict[str, Any] = {table.name: given.get(table.name, root / table.path) for table in schema.tables}
    for column in schema.fields:
        if isinstance(column, Multimodal) and column.file is not None:
            found[column.name] = given.get(column.name, root / column.file)
    odd = sorted(set(given) - set(found))
    if odd:
        raise SchemaError(unknown(odd[0], found, "side table"))
    return found
