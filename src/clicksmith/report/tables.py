"""The tables of a report: sorted by a click on the head, filtered by typing."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isinf
from typing import Any, cast

from clicksmith.evaluate.evaluation import Metrics, Slice
from clicksmith.evaluate.interval import Estimate
from clicksmith.evaluate.metrics import METRICS, metric_named
from clicksmith.report.data import ColumnProfile, PartRows
from clicksmith.report.svg import number, percent

FILTER_FROM = 13
"""Rows from which a table gets a filter."""
BETTER = {"high": ("↑", "higher is better"), "low": ("↓", "lower is better"), "one": ("→ 1", "nearer to 1 is better")}


class Cell:
    """Text, how it is sorted, and markup that stands for it."""

    __slots__ = ("markup", "numeric", "order")

    def __init__(self, text: str, order: float | None = None, markup: str | None = None) -> None:
        self.markup = escape(text) if markup is None else markup
        self.order = order
        self.numeric = order is not None


def table(head: Sequence[str], rows: Iterable[Sequence[Cell | str]], label: str, css: str = "") -> str:
    """Return a table that sorts and filters; `label` names it for screen readers."""
    body = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    numeric = [any(row[i].numeric for row in body) for i in range(len(head))]
    top = "".join(
        f'<th scope="col"{_right(n)}><button type="button">{escape(h)}</button></th>'
        for h, n in zip(head, numeric, strict=True)
    )
    lines = "".join(f"<tr>{''.join(_cell(c, n) for c, n in zip(row, numeric, strict=True))}</tr>" for row in body)
    asks = f'placeholder="filter {len(body)} rows" aria-label="filter {escape(label)}"'
    search = f'<input class="filter" type="search" {asks}>' if len(body) >= FILTER_FROM else ""
    return (
        f'{search}<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">'
        f'<table class="{css}"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def metrics_tables(metrics: Mapping[str, Metrics]) -> str:
    """Return all metrics by split, each with its interval."""
    names = [n for n in METRICS if any(n in m.values for m in metrics.values())]
    names += [n for m in metrics.values() for n in m.values if n not in names]
    rows: list[list[Cell | str]] = []
    for name in dict.fromkeys(names):
        metric = metric_named(name)
        arrow, meaning = BETTER[metric.best]
        first = Cell(metric.title, markup=f'{escape(metric.title)} <span class="way" title="{meaning}">{arrow}</span>')
        rows.append([first, *(estimate_cell(m.values.get(name)) for m in metrics.values())])
    return table(("metric", *metrics), rows, "metrics", "wide")


def counts_line(split: str, metrics: Metrics) -> str:
    """Return rows, clicks and what GAUC left out, as a sentence."""
    text = f"{split}: {metrics.rows:,} rows, {metrics.clicks:,} clicks ({percent(metrics.clicks / metrics.rows)})"
    if metrics.groups is not None:
        g = metrics.groups
        text += f"; GAUC over {g.used:,} groups, {g.dropped:,} of one class left out ({g.dropped_rows:,} rows)"
    return text


def slices_tables(slices: Sequence[Slice], split: str = "") -> str:
    """Return a table for each column that rows were sliced by."""
    small = f" <small>{escape(split)}</small>" if split else ""
    return "".join(
        f"<h3>{escape(column)}{small}</h3>{_slices_table([s for s in slices if s.column == column], column)}"
        for column in dict.fromkeys(s.column for s in slices)
    )


def _slices_table(slices: Sequence[Slice], column: str) -> str:
    """Return the metrics by value of a column."""
    names = list(dict.fromkeys(n for s in slices for n in s.values))
    head = (column, "rows", "click share", *(metric_named(n).title for n in names))
    rows = [
        [
            s.value or "(empty)",
            Cell(f"{s.rows:,}", s.rows),
            Cell(percent(s.clicks / s.rows), s.clicks / s.rows),
            *(estimate_cell(s.values.get(n)) for n in names),
        ]
        for s in slices
    ]
    return table(head, rows, f"metrics by {column}")


def parts_table(parts: Sequence[PartRows]) -> str:
    """Return the parts of the rows: how many there are, and how many are 1 by label."""
    labels = list(dict.fromkeys(label for part in parts for label in part.ones))
    rows = [
        [part.name, Cell(f"{part.rows:,}", part.rows), *(_ones(part.ones.get(n, 0), part.rows) for n in labels)]
        for part in parts
    ]
    return table(("part", "rows", *(f"{label} = 1" for label in labels)), rows, "rows of the data")


def profile_table(columns: Sequence[ColumnProfile], counted: str = "values") -> str:
    """Return the columns of the data: kind, values (or what else is counted), shares, the reason for the kind."""
    parts = list(dict.fromkeys(part for c in columns for part in c.unseen))
    rows = [
        [
            Cell(c.name, markup=f"<b>{escape(c.name)}</b>"),
            Cell(c.kind, markup=f'<span class="kind">{escape(c.kind)}</span>'),
            Cell("", -1.0) if c.unique is None else Cell(f"{c.unique:,}", c.unique),
            *(_share(share) for share in (c.missing, *(c.unseen.get(part) for part in parts))),
            c.example,
            c.reason,
        ]
        for c in columns
    ]
    head = ("column", "kind", counted, "missing", *(f"unseen in {part}" for part in parts), "example", "why")
    return table(head, rows, "columns of the data", "text")


def settings_table(settings: Mapping[str, Any], label: str) -> str:
    """Return nested settings as name and value."""
    return table(
        ("name", "value"), [[k, Cell(v, markup=f"<code>{escape(v)}</code>")] for k, v in _flat(settings)], label, "text"
    )


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Return value and interval in one cell."""
    if estimate is None:
        return Cell("–", float("-inf"))
    low = (
        ""
        if estimate.low is None
        else f'<small title="{escape(estimate.method)}">{estimate.low:.4f} – {estimate.high:.4f}</small>'
    )
    return Cell("", estimate.value, f"<b>{estimate.value:.4f}</b>{low}")


def _ones(ones: int, rows: int) -> Cell:
    return Cell(f"{ones:,} ({percent(ones / max(1, rows))})", ones / max(1, rows))


def _share(share: float | None) -> Cell:
    if share is None:
        return Cell("", -1.0)
    bar = f'<span class="meter" aria-hidden="true"><i style="width:{share * 100:.1f}%"></i></span>'
    return Cell("", share, f"{percent(share)}{bar if share else ''}")


def _cell(cell: Cell, numeric: bool) -> str:
    order = "" if cell.order is None else f' data-order="{_order(cell.order)}"'
    return f"<td{_right(numeric)}{order}>{cell.markup}</td>"


def _order(value: float) -> str:
    """Return a number, with all its digits, as JavaScript's `Number` reads it."""
    if isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value)).removesuffix(".0")


def _right(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(v, Mapping) for v in cast("list[Any]", value)):
            found += _flat({f"{name}.{i}": v for i, v in enumerate(cast("list[Any]", value))}, prefix)
        elif isinstance(value, (list, tuple)):
            found.append((f"{prefix}{name}", ", ".join(str(v) for v in cast("list[Any]", value)) or "none"))
        else:
            found.append((f"{prefix}{name}", number(value) if isinstance(value, float) else str(value)))
    return found
