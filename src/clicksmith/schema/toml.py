"""Writing TOML: what a schema is made of, texts, whole numbers, lists and tables, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast


def toml_text(table: Mapping[str, Any]) -> str:
    """Return a table as TOML; None, which TOML lacks, is left out, and lists of tables are written as sections.

    >>> print(toml_text({"group": "user", "max_size": None, "fields": [{"name": "ad", "min_count": 2}]}))
    group = "user"
    <BLANKLINE>
    [[fields]]
    name = "ad"
    min_count = 2
    <BLANKLINE>
    """
    sections = {
        key: value for key, value in table.items() if isinstance(value, (list, tuple)) and value and _tables(value)
    }
    lines = _lines({key: value for key, value in table.items() if key not in sections})
    for key, tables in sections.items():
        for section in tables:
            lines += ["", f"[[{key}]]", *_lines(section)]
    return "\n".join(lines) + "\n"


def _tables(items: Sequence[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_lines(cast("dict[str, Any]", value))) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in cast("Sequence[Any]", value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON allows in a text
