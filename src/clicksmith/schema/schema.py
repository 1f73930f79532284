"""The schema: what the columns of a table mean, validated on construction, saved as JSON or TOML."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

from clicksmith.errors import DataError, SchemaError
from clicksmith.files import write_bytes
from clicksmith.identity import digest
from clicksmith.names import unknown
from clicksmith.schema.columns import Behaviour, Categorical, Column, Field, Label, Multimodal, Side, Time
from clicksmith.schema.toml import toml_text


class SideTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table joined by an id: user profiles and histories, item attributes. Stored once per id, not per row."""

    name: str
    path: str
    """A file, relative to the schema's folder."""
    key: str
    """The column that names the row, in the side table."""
    on: str | None = None
    """The column of the log that refers to it; None if it has the same name as `key`."""


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the columns of an impression log mean.

    The order of `fields` is the order of the field axis of every model.

    >>> from clicksmith.schema.columns import Categorical, Label
    >>> Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click")).field_names
    ('user', 'ad')
    """

    fields: tuple[Field, ...]
    label: Label | tuple[Label, ...]
    behaviours: tuple[Behaviour, ...] = ()
    group: str | None = None
    """Rows of one group are ranked together in GAUC and NDCG; usually the user."""
    domain: str | None = None
    """The column that names the scenario of a multi-domain model."""
    time: Time | None = None
    weight: str | None = None
    """The column with a weight per row."""
    tables: tuple[SideTable, ...] = ()
    ignored: tuple[str, ...] = ()
    """Columns that are there and are not used."""

    def __post_init__(self) -> None:
        """Check that names are unique and that what is referred to exists."""
        names = [c.name for c in (*self.fields, *self.behaviours)] + [s.name for b in self.behaviours for s in b.sides]
        names += [label.name for label in self.labels]
        for name in names:
            if not name:
                raise SchemaError("a column has an empty name; give every column of the schema a name.")
            if names.count(name) > 1:
                raise SchemaError(f"column '{name}' is declared {names.count(name)} times; declare it once.")
        if not self.fields and not self.behaviours:
            raise SchemaError("the schema has no field; declare at least one Categorical or Numeric column.")
        files = {t.name: "a side table" for t in self.tables}
        files |= {c.name: "a vector with a file" for c in self.fields if isinstance(c, Multimodal) and c.file}
        for name, what in files.items():
            if ":" in name:
                raise SchemaError(f"the name '{name}' of {what} has a colon, which none may have; rename it.")
        vocabularies = {c.name: c for c in self.fields if isinstance(c, Categorical)}
        for column in (*self.fields, *self.behaviours, *self.labels, *((self.time,) if self.time else ())):
            _check_types(column)
        for column in self.fields:
            self._check_field(column, vocabularies)
        for behaviour in self.behaviours:
            for of in (behaviour.of, *(s.of for s in behaviour.sides if s.of)):
                if of not in vocabularies:
                    raise SchemaError(
                        f"Behaviour('{behaviour.name}', of='{of}'): {unknown(of, vocabularies, 'categorical field')}"
                    )
            if behaviour.max_length < 1:
                raise SchemaError(
                    f"Behaviour('{behaviour.name}'): max_length is {behaviour.max_length}; it must be at least 1."
                )

    @staticmethod
    def _check_field(column: Field, vocabularies: dict[str, Categorical]) -> None:
        share = getattr(column, "share", None)
        if share is not None:
            if share not in vocabularies:
                raise SchemaError(
                    f"'{column.name}' shares the vocabulary of '{share}': "
                    f"{unknown(share, vocabularies, 'categorical field')}"
                )
            if share == column.name or vocabularies[share].share:
                raise SchemaError(
                    f"'{column.name}' shares the vocabulary of '{share}', which shares another; name the owner."
                )
        for option, least in (
            ("min_count", 1),
            ("max_size", 1),
            ("buckets", 2),
            ("bins", 2),
            ("max_length", 1),
            ("dim", 1),
        ):
            value = getattr(column, option, None)
            if value is not None and value < least:
                raise SchemaError(f"'{column.name}': {option} is {value}; it must be at least {least}.")
        if isinstance(column, Multimodal) and column.columns and len(column.columns) != column.dim:
            raise SchemaError(
                f"'{column.name}': dim is {column.dim} and {len(column.columns)} columns are named; give one each."
            )
        if isinstance(column, Categorical) and column.buckets is not None:
            option = "min_count" if column.min_count > 1 else "max_size" if column.max_size else None
            if option is not None:
                raise SchemaError(f"'{column.name}': {option} cuts a vocabulary, and buckets have none; leave one out.")

    @property
    def labels(self) -> tuple[Label, ...]:
        """All labels, as a tuple."""
        return self.label if isinstance(self.label, tuple) else (self.label,)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of `fields`, in order."""
        return tuple(c.name for c in self.fields)

    @property
    def keys(self) -> frozenset[str]:
        """The columns that name a row: ids of user and item, group, domain, time, and columns not used."""
        found = {c.name for c in self.fields if isinstance(c, Categorical) and c.role in ("user", "item")}
        found |= {name for name in (self.group, self.domain, *self.ignored) if name}
        return frozenset(found | ({self.time.name} if self.time else set()))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self)

    def column(self, name: str) -> Column:
        """Return the declared column of that name."""
        for column in (*self.fields, *self.behaviours, *self.labels):
            if column.name == name:
                return column
        raise SchemaError(unknown(name, [c.name for c in (*self.fields, *self.behaviours, *self.labels)], "column"))

    def save(self, path: str | Path) -> None:
        """Write the schema as TOML or JSON, by the file's ending. Raises SchemaError for another ending."""
        path = Path(path)
        if path.suffix == ".toml":
            write_bytes(path, toml_text(msgspec.to_builtins(self)).encode())
        elif path.suffix == ".json":
            write_bytes(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        else:
            raise SchemaError(f"a schema is JSON or TOML, and '{path}' is named neither; let it end in .json or .toml.")

    @staticmethod
    def load(path: str | Path) -> "Schema":
        """Read a schema from TOML or JSON; errors name the place, as in `$.fields[2].min_count`."""
        path = Path(path)
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
        try:
            return decode(path.read_bytes(), type=Schema)
        except UnicodeDecodeError as error:
            raise SchemaError(f"'{path}': byte {error.start} is not UTF-8 text; save the file as UTF-8.") from error
        except OSError as error:
            raise DataError(f"cannot read the schema '{path}': {error.strerror}.") from error
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            said = str(error).rstrip(".")
            own = isinstance(error.__cause__, SchemaError)  # says itself what to do
            raise SchemaError(f"'{path}': {said}." if own else f"'{path}': {_remedy(said)}") from error


def _check_types(column: Column) -> None:
    """Raise SchemaError for a value of another type than is declared: structs check that in files only."""
    for name, hint in get_type_hints(type(column)).items():
        value = getattr(column, name)
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            words = [word for word in get_args(hint) if isinstance(word, str)]
            told = f"it must be one of {', '.join(words)}" if words else str(error).lower()
            raise SchemaError(f"'{column.name}': {name} is {value!r}; {told}.") from None
    if getattr(column, "separator", None) == "":
        raise SchemaError(f"'{column.name}': separator is empty; give the text between two values, as in '|'.")


def _remedy(said: str) -> str:
    """Return what msgspec said of a schema file, with the nearest name and what to do."""
    wrong = re.search(r"unknown field `([^`]*)`|Invalid value '([^']*)'|Invalid enum value '([^']*)'", said)
    if wrong is None:
        return f"{said}. Correct the schema at that place; `clicksmith describe` writes a valid one."
    kinds = (Schema, SideTable, Side, Time, Label, Behaviour, *get_args(Field))
    names = {name for kind in kinds for name in kind.__struct_fields__}
    names |= {str(kind.__struct_config__.tag) for kind in kinds if kind.__struct_config__.tag}
    hints = [hint for kind in kinds for hint in get_type_hints(kind).values()]
    names |= {word for hint in hints for word in get_args(hint) if isinstance(word, str)}
    name = next(group for group in wrong.groups() if group is not None)
    near = get_close_matches(name, sorted(names - {name}), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{said}.{hint} Correct the schema at that place; `clicksmith describe` writes a valid one."
