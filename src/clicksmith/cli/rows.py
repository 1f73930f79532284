"""Opening the files that a verb was given."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clicksmith.errors import DataError, UsageError

if TYPE_CHECKING:
    from clicksmith.encode.source import Source
    from clicksmith.fitting.asked import AskedSchema
    from clicksmith.schema import Schema
    from clicksmith.serve.predictor import Predictor


@dataclass(frozen=True)
class Given:
    """What a verb that trains was given: rows of each part, and what the columns mean where that was said.

    root: the folder that side tables of the schema are relative to; None: that of the schema's file
    """

    train: "Source"
    valid: "Source | None"
    test: "Source | None"
    schema: "Schema | str | None"
    root: Path | None = None

    @property
    def asked(self) -> "AskedSchema | str | None":
        """The schema with the folder of its side tables."""
        from clicksmith.fitting.asked import AskedSchema
        from clicksmith.schema import Schema

        return AskedSchema(self.schema, self.root or Path()) if isinstance(self.schema, Schema) else self.schema


def given_rows(
    train: Sequence[str],
    *,
    schema: str | None,
    valid: str | None,
    test: str | None = None,
    columns: str | None,
    delimiter: str | None,
) -> Given:
    """Open the files of a command, or the data set declared in its one TOML file, which says all of this itself."""
    if not train[0].endswith(".toml"):
        rows = opened(train, columns, delimiter)
        judged, measured = (
            None if path is None else opened([path], columns, delimiter, like=rows) for path in (valid, test)
        )
        return Given(rows, judged, measured, schema)
    from clicksmith.datasets.dataset import Dataset
    from clicksmith.encode.source import open_source

    options = {"schema": schema, "valid": valid, "test": test, "columns": columns, "delimiter": delimiter}
    more = [*train[1:], *(f"--{name}" for name, value in options.items() if value is not None)]
    if more:
        raise UsageError(
            f"'{train[0]}' declares schema, files and how they are written itself; leave out {', '.join(more)}."
        )
    found = Dataset.from_toml(train[0])
    judged, measured = (None if part is None else open_source(part) for part in (found.valid, found.test))
    return Given(open_source(found.train), judged, measured, found.schema, found.root)


def opened(
    paths: Sequence[str],
    columns: str | None = None,
    delimiter: str | None = None,
    predictor: "Predictor | None" = None,
    *,
    like: "Source | None" = None,
) -> "Source":
    """Open files, patterns of files, or both; `columns` and `delimiter` as typed, else as the predictor knows them.

    `like` are rows whose columns a file without header may have.
    """
    from clicksmith.encode.source import open_source

    declared = next((path for path in paths if path.endswith(".toml")), None)
    if declared is not None:
        raise UsageError(
            f"'{declared}' is no file of rows. A data set that it declares is the one TRAIN of fit, search, tune or "
            "rank, or the DATASET of bench run; here give the files that it names."
        )
    open_rows = open_source if predictor is None else predictor.open
    names = None if columns is None else column_names(columns)
    cut = None if delimiter is None else delimiter.replace("\\t", "\t").replace("tab", "\t")
    if cut is not None and len(cut) != 1:
        raise UsageError(
            f"--delimiter got '{delimiter}'; give one character, or tab. Where several characters separate cells, make "
            f"them one first, for example with 'sed \"s/{delimiter}/\\t/g\" FILE > FILE.tsv'."
        )
    try:
        return open_rows(paths[0] if len(paths) == 1 else list(paths), columns=names, delimiter=cut)
    except DataError as error:
        if not re.search("[Gg]ive the (file's own column names|names of its columns)", str(error)):
            raise
        names, those = "label,I1..I13,C1..C26", ""
        if like is not None:
            names, those = shlex.quote(",".join(like.columns)), f", if they are those of {like.name}"
        elif predictor is not None:
            names = shlex.quote(",".join(predictor.artifact.encoder.recipes[0].columns(labels=False)))
            those = ", in the file's order and with its other columns; those are what the model reads"
        raise DataError(f"{error} On the command line: --columns {names}{those}") from error


def column_names(text: str) -> list[str]:
    """Return names with commas between; `I1..I13` stands for all in between.

    >>> column_names("label,I1..I3,C")
    ['label', 'I1', 'I2', 'I3', 'C']
    """
    names: list[str] = []
    for part in text.split(","):
        spanned = re.fullmatch(r"(.*?)(\d+)\.\.\1(\d+)", part.strip())
        if spanned:
            names += [f"{spanned[1]}{i}" for i in range(int(spanned[2]), int(spanned[3]) + 1)]
        else:
            names.append(part.strip())
    for name in names:
        if not name or names.count(name) > 1:
            raise UsageError(
                f"--columns: the name '{name}' is {'given twice' if name else 'empty'}; name every column once."
            )
    return names
