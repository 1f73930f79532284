"""Write the generated part of models.md: `python docs/make_models.py`. A test checks that the page is current."""

import inspect
from pathlib import Path

from clicksmith.datasets.published import role
from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.models import MODELS, describe, model_spec, source
from clicksmith.models.spec import CTRModel
from clicksmith.papers import PAPERS

PAGE = Path(__file__).parent / "models.md"
BEGIN, END = "<!-- begin: written by docs/make_models.py -->", "<!-- end -->"

FRAPPE = {
    "user": 957, "item": 4082, "daytime": 7, "weekday": 7, "isweekend": 2, "homework": 3, "cost": 2, "weather": 9,
    "country": 80, "city": 233,
}  # fmt: skip
"""Distinct values of each field of Frappe_x1."""


def frappe() -> Layout:
    """Return Frappe's layout: 10 id fields; each has two rows more than values, for padding and unseen."""
    slots = tuple(Slot(name, values + 2) for name, values in FRAPPE.items())
    columns = tuple(IdColumn(name, name, role(name)) for name in FRAPPE)
    return Layout(slots=slots, ids=columns, labels=("label",), order=tuple(FRAPPE))


def source_of(name: str) -> str:
    """Return who published a model, as its module says in brackets, with a link where the paper is indexed."""
    text, key = source(name)
    return f"[{text}]({PAPERS[key].url})" if key else text


def options_of(name: str) -> str:
    """Return the options of a model with their defaults."""
    options = inspect.signature(MODELS[name]).parameters.values()
    return ", ".join(f"`{o.name}={o.default!r}`" for o in options) or "none"


def tables() -> str:
    """Return the table of models and the list of their options."""
    layout = frappe()
    lines = ["| model | | published | tables | other weights |", "|---|---|---|--:|--:|"]
    for name in MODELS:
        counts = CTRModel(model_spec(name), layout).parameter_counts()
        what = describe(name).rstrip(".")
        lines.append(f"| `{name}` | {what} | {source_of(name)} | {counts.embedding:,} | {counts.dense:,} |")
    lines += ["", "| model | options and defaults |", "|---|---|"]
    lines += [f"| `{name}` | {options_of(name)} |" for name in MODELS]
    return "\n".join(lines)


def current(page: str) -> str:
    """Return the page with the generated part as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text()))
