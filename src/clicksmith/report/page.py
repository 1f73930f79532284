"""`page`: one self-contained HTML file. It asks for nothing outside itself, and its content policy forbids it to."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from clicksmith.evaluate.evaluation import Metrics
from clicksmith.plan import Plan
from clicksmith.report import charts, planned, searched, tables
from clicksmith.report.data import ReportData
from clicksmith.report.svg import percent

Section = tuple[str, str, str]
"""Key, title and markup."""
COUNTED = (
    "ids: values with a vector of their own in the model. missing: empty cells of the training rows; not told where "
    "columns share a vocabulary, values are hashed, or a Plan renumbered them. unseen: values without an id, of some "
    "rows of each part; empty cells are among them where the schema takes these as unseen. example: the most frequent "
    "values, or the limits."
)
"""What the columns of a run's profile are."""
TILES = ("auc", "gauc", "logloss", "predicted_over_observed")


def page(data: ReportData) -> str:
    """Return the report as HTML. Every text of `data` is escaped, column names included."""
    return document(
        data.title, _header(data), _sections(data), f"written by Clicksmith {escape(data.created)}".rstrip()
    )


def plan_page(plan: Plan, title: str = "Plan") -> str:
    """Return a page on a Plan alone."""
    return page(ReportData(title=title, subtitle=f"digest {plan.digest[:16]}, {len(plan.parts)} parts", plan=plan))


def document(title: str, header: str, sections: Iterable[Section], footer: str) -> str:
    """Return a page of sections with its navigation; all but `title` and the sections' titles is markup.

    A section without markup is left out.
    """
    style = files("clicksmith.report").joinpath("page.css").read_text("utf-8")
    script = files("clicksmith.report").joinpath("page.js").read_text("utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    shown = [(key, name, body) for key, name, body in sections if body]
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in shown)
    main = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escape(name)}</h2>{body}</section>'
        for key, name, body in shown
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<a class="skip" href="#main">skip to the content</a>{header}<nav aria-label="sections">{links}</nav>'
        f'<main id="main">{main}</main><footer>{footer}</footer>'
        f'<div id="tip" role="status" aria-live="polite" hidden></div><script>{script}</script></body></html>\n'
    )


def _header(data: ReportData) -> str:
    subtitle = f"<p>{escape(data.subtitle)}</p>" if data.subtitle else ""
    tiles = ""
    if data.metrics:
        split, metrics = list(data.metrics.items())[-1]
        tiles = f'<div class="tiles">{"".join(_tiles(split, metrics, data.possible))}</div>'
    return f"<header><h1>{escape(data.title)}</h1>{subtitle}{tiles}</header>"


def _tiles(split: str, metrics: Metrics, possible: dict[str, float]) -> Iterable[str]:
    for name in TILES:
        if name not in metrics.values:
            continue
        found = metrics.values[name]
        title = tables.metric_named(name).title
        below = [] if found.low is None else [f"{metrics.level:.0%}: {found.low:.4f} – {found.high:.4f}"]
        if name in possible:
            below.append(f"of a possible {possible[name]:.4f}")
        yield tile(f"{title} · {split}", f"{found.value:.4f}", *below)
    yield tile(
        f"rows · {split}", f"{metrics.rows:,}", f"{metrics.clicks:,} clicks, {percent(metrics.clicks / metrics.rows)}"
    )


def tile(name: str, value: str, *below: str) -> str:
    """Return a number that heads a page; all three are text."""
    lines = "".join(f"<small>{escape(line)}</small>" for line in below)
    return f'<div class="tile"><span>{escape(name)}</span><strong>{escape(value)}</strong>{lines}</div>'


def _sections(data: ReportData) -> Iterable[Section]:
    notes = [*data.notes, *(f"{split}: {note}" for split, m in data.metrics.items() for note in m.notes)]
    yield "notes", "Notes", listed(notes)
    yield "metrics", "Metrics", _metrics(data.metrics)
    if data.search is not None:
        yield "search", "Search", figures(searched.search_charts(data.search))
        yield "trials", "Trials", searched.trials_table(data.search)
    yield "plan", "Plan", _plan(data.plan)
    yield "training", "Training", figures(charts.line_chart(c) for c in data.curves if any(s.points for s in c.series))
    yield "quality", "Predictions", figures(_quality(data))
    yield "importance", "Importance", figures(charts.bar_chart(r) for r in data.rankings if r.bars)
    yield "slices", "Slices", _slices(data.metrics)
    yield "data", "Data", _data(data)
    yield "settings", "Settings", tables.settings_table(data.settings, "settings") if data.settings else ""
    yield (
        "environment",
        "Environment",
        tables.settings_table(data.environment, "environment") if data.environment else "",
    )


def _plan(plan: Plan) -> str:
    if not plan.parts:
        return ""
    return listed(plan.summary()) + figures(planned.plan_charts(plan)) + planned.origins_table(plan)


def _data(data: ReportData) -> str:
    parts = tables.parts_table(data.parts) + f'<p class="note">{escape(COUNTED)}</p>' if data.parts else ""
    return parts + (tables.profile_table(data.profile, "ids" if data.parts else "values") if data.profile else "")


def _metrics(metrics: dict[str, Metrics]) -> str:
    if not metrics:
        return ""
    lines = "".join(f"<li>{escape(tables.counts_line(split, m))}</li>" for split, m in metrics.items())
    level = next(iter(metrics.values())).level
    text = f"The small figures are {level:.0%} confidence intervals. ↑ higher is better, ↓ lower, → 1 nearer to one."
    note = f'<p class="note">{text}</p>'
    return f'{tables.metrics_tables(metrics)}{note}<ul class="note">{lines}</ul>'


def _quality(data: ReportData) -> Iterable[charts.Chart]:
    for split, metrics in list(data.metrics.items())[-1:]:
        if len(metrics.reliability) > 1:
            yield charts.calibration_chart(metrics.reliability, metrics.level, split)
    if any(d.roc for d in data.distributions.values()):
        yield charts.roc_chart(data.distributions)
    for split, distribution in list(data.distributions.items())[-1:]:
        yield charts.histogram_chart(distribution, split)


def _slices(metrics: dict[str, Metrics]) -> str:
    return "".join(tables.slices_tables(found.slices, split) for split, found in metrics.items())


def listed(texts: Sequence[str]) -> str:
    """Return texts as a list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def figures(found: Iterable[charts.Chart]) -> str:
    """Return charts side by side, each with the table of its numbers."""
    shown = "".join(_figure(chart) for chart in found)
    return f'<div class="grid">{shown}</div>' if shown else ""


def _figure(chart: charts.Chart) -> str:
    key = "".join(f'<span class="key"><i class="{tone}"></i>{escape(name)}</span>' for tone, name in chart.key)
    key = f'<span class="keys">{key}</span>' if key else ""
    note = f'<p class="note">{escape(chart.note)}</p>' if chart.note else ""
    numbers = tables.table(
        chart.head, [[_numeric(text) for text in row] for row in chart.rows], f"{chart.title}, numbers"
    )
    wide = ' class="wide"' if chart.wide else ""
    return (
        f"<figure{wide}><figcaption><b>{escape(chart.title)}</b>{key}</figcaption>{chart.image}{note}"
        f"<details><summary>numbers</summary>{numbers}</details></figure>"
    )


def _numeric(text: str) -> tables.Cell:
    try:
        return tables.Cell(text, float(text.rstrip("%").replace(",", "")))
    except ValueError:
        return tables.Cell(text)
