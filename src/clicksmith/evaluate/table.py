"""Metrics as a table in the terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from clicksmith.evaluate.evaluation import Metrics
from clicksmith.evaluate.interval import Estimate
from clicksmith.evaluate.metrics import metric_named

ARROWS = {"high": "↑", "low": "↓", "one": "→ 1"}
"""Which way is better."""


def metrics_table(metrics: Metrics, title: str = "") -> Group:
    """Return metrics, slices and notes as something `rich` prints."""
    table = Table(title=title or None, caption=_caption(metrics), caption_justify="left", title_justify="left")
    table.add_column("metric")
    table.add_column("better", justify="center")
    table.add_column("value", justify="right")
    table.add_column(f"{metrics.level:.0%} interval")
    for name, estimate in metrics.values.items():
        metric = metric_named(name)
        table.add_row(metric.title, ARROWS[metric.best], f"{estimate.value:.5f}", _interval(estimate))
    parts: list[Table | Text] = [table, *_slices(metrics)]
    parts += [Text(f"note: {note}", style="yellow") for note in metrics.notes]
    return Group(*parts)


def _caption(metrics: Metrics) -> str:
    text = f"{metrics.rows:,} rows, {metrics.clicks:,} clicks ({metrics.clicks / metrics.rows:.3%})"
    if metrics.groups is not None:
        counts = metrics.groups
        text += f"; {counts.used:,} groups, {counts.dropped:,} of one class left out ({counts.dropped_rows:,} rows)"
    return text


def _interval(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"{estimate.low:.5f} – {estimate.high:.5f}"


def _slices(metrics: Metrics) -> list[Table]:
    tables: list[Table] = []
    for column in dict.fromkeys(s.column for s in metrics.slices):
        slices = [s for s in metrics.slices if s.column == column]
        names = [name for name in metrics.values if any(name in s.values for s in slices)]
        table = Table("value", "rows", "clicks", title=Text(f"by {column}"), title_justify="left")
        for name in names:
            table.add_column(metric_named(name).title)
        for row in slices:
            cells = (str(row.values[n]) if n in row.values else "–" for n in names)
            table.add_row(Text(row.value), f"{row.rows:,}", f"{row.clicks:,}", *(Text(cell) for cell in cells))
        tables.append(table)
    return tables
