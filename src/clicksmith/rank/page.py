"""The page of a ranking: fields against the columns whose answer is known, pairs, drift, and what is odd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import chain

from clicksmith.rank.controls import LABEL
from clicksmith.rank.methods import UNITS
from clicksmith.rank.ranking import Drift, FieldScore, Ranking
from clicksmith.report import svg, tables
from clicksmith.report.charts import Chart, line_chart
from clicksmith.report.data import Curves, Series
from clicksmith.report.page import document, figures, listed, tile
from clicksmith.report.tables import Cell

SHOWN = 40
"""Fields in the picture; all are in the table."""
PAIRS = 200
"""Pairs in the table, the strongest relation first."""
FOLLOWED = 6
"""Fields in the picture of drift."""


def ranking_page(ranking: Ranking, title: str) -> str:
    """Return the page as HTML."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    sure = sum(f.q <= 0.05 and f.information > 0 for f in ranking.fields)
    tiles = "".join(
        [
            tile("fields", f"{len(ranking.fields):,}", f"{sure:,} surely say something (q ≤ 0.05)"),
            tile("rows", f"{ranking.rows:,}", f"{svg.percent(ranking.rate)} clicks"),
            tile("entropy of the label", f"{ranking.entropy:.4f}", "nats; no field can say more"),
        ]
    )
    said = f"fields by what they say of '{escape(ranking.label)}', score {escape(ranking.method)}"
    header = f'<header><h1>{escape(title)}</h1><p>{said}</p><div class="tiles">{tiles}</div></header>'
    odd = [f"'{f.field}': {flag}" for f in ranking.fields for flag in f.flags]
    sections = (
        ("notes", "Notes", listed(ranking.notes)),
        ("ranking", "Ranking", figures([_bars(ranking)]) + _table(ranking.fields)),
        ("odd", "What is odd", listed(odd)),
        ("pairs", "Pairs", _pairs(ranking)),
        ("drift", "Drift", "" if ranking.drift is None else figures(_drift(ranking.drift))),
        ("quality", "Quality of the columns", _quality(ranking.fields)),
        ("controls", "Columns whose answer is known", _table(ranking.controls)),
    )
    return document(title, header, sections, f"written by Clicksmith {escape(when)}")


def _bars(ranking: Ranking) -> Chart:
    """Return the scores of the best fields, with a line for each control but the label."""
    fields, lines = ranking.fields[:SHOWN], [c for c in ranking.controls if c.field != LABEL]
    width, left, pitch = 560, 178, 20
    bottom = 8 + len(fields) * pitch
    scores = [0.0, *(f.score for f in fields)]
    axis = svg.Axis(min(scores), max(scores) if max(scores) > min(scores) else 1e-9, left, width - 70, (), svg.number)
    zero, parts = axis.at(0.0), list[str]()
    for place, found in enumerate(fields):
        y = 8 + place * pitch
        start, stop = sorted((zero, axis.at(found.score)))
        tip = f"{found.field}: {svg.number(found.score)}, z {found.z:.1f}, {found.values:,} values"
        name, tone = svg.escape(svg.shorten(found.field, 22)), "c1" if found.q <= 0.05 else "faint"
        shape = f'x="{start}" y="{y + 2}" width="{max(stop - start, 1):g}" height="{pitch - 6}" rx="2"'
        parts.append(f'<text class="name" x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        parts.append(f'<rect class="bar {tone}" {shape} {svg.tipped(stop, y + 9, tip)}/>')
        parts.append(f'<text class="tick" x="{stop + 6}" y="{y + 13}">{svg.number(float(f"{found.score:.3g}"))}</text>')
    for line in lines:
        x = axis.at(line.score)
        tip = f"{line.field}: {svg.number(line.score)}"
        parts.append(f'<line class="whisker ink" x1="{x}" x2="{x}" y1="4" y2="{bottom}" {svg.tipped(x, 6, tip)}/>')
    rest = len(ranking.fields) - len(fields)
    more = f"; {rest} more in the table" if rest else ""
    unit = UNITS.get(ranking.method, "nats")
    lines_are = "lines: ten columns that say nothing (constant, random, row number, hash); faint bars may be noise"
    note = f"{ranking.method}, {unit}; {lines_are}{more}"
    rows = tuple((f.field, svg.number(f.score), f"{f.z:.2f}") for f in chain(fields, ranking.controls))
    image = svg.picture("".join(parts), f"Fields by score, best first: {fields[0].field}", width, bottom + 8)
    return Chart("Fields by score", image, note, (), ("name", "score", "z"), rows, wide=True)


def _table(fields: Sequence[FieldScore]) -> str:
    head = ("field", "score", "information", "z", "q", "plain MI", "read as", "values", "other readings")
    return tables.table(head, (_row(f) for f in fields), "fields, best first")


def _row(found: FieldScore) -> list[Cell | str]:
    view = found.view if found.best is None else f"has '{found.best}'"
    others = ", ".join(f"{name} {svg.number(value)}" for name, value in found.views.items() if name != found.view)
    numbers = (found.score, found.information, found.z, found.q, found.mutual_information)
    cells = [Cell(svg.number(float(f"{value:.4g}")), value) for value in numbers]
    return [Cell(found.field, markup=f"<b>{escape(found.field)}</b>"), *cells, view, _whole(found.values), others]


def _quality(fields: Sequence[FieldScore]) -> str:
    head = ("field", "coverage", "values", "seen once", "unseen in valid", "table at 16 numbers", "most frequent")
    rows: list[list[Cell | str]] = []
    for f in fields:
        top = ", ".join(f"{value or '(empty)'} {svg.percent(share)}" for value, share in f.top)
        size = Cell(f"{f.values * 64 / 1e6:.2f} MB", f.values)
        rows.append([f.field, _share(f.coverage), _whole(f.values), _share(f.singletons), _share(f.unseen), size, top])
    return tables.table(head, rows, "quality of the columns", "text")


def _pairs(ranking: Ranking) -> str:
    if not ranking.pairs:
        return ""
    head = ("fields", "relation", "synergy", "z", "redundancy")
    rows: list[list[Cell | str]] = []
    for p in ranking.pairs[:PAIRS]:
        numbers = [Cell(svg.number(float(f"{value:.4g}")), value) for value in (p.relation, p.synergy, p.z)]
        rows.append([" and ".join(p.fields), *numbers, _share(p.redundancy)])
    order = f"<p>Most relevant, least redundant, best related (3MR): {escape(', '.join(ranking.order))}.</p>"
    note = (
        '<p class="note">relation: what two fields say together beyond the better one, in nats. redundancy: share of '
    )
    note += "the poorer field that the other one knows.</p>"
    return order + note + tables.table(head, rows, "pairs")


def _drift(drift: Drift) -> Iterable[Chart]:
    places = range(len(drift.periods))
    title = f"from {drift.periods[0]} to {drift.periods[-1]}"
    points = tuple((float(i), drift.rate[i]) for i in places if drift.rows[i])
    yield line_chart(Curves("Click rate", (Series("click rate", points),), x_title=title))
    for name, values in list(drift.information.items())[:FOLLOWED]:
        points = tuple((float(i), values[i]) for i in places if drift.rows[i])
        yield line_chart(Curves(f"{name}: information, nats", (Series(name, points),), x_title=title))


def _share(value: float | None) -> Cell:
    return Cell("", -1.0) if value is None else Cell(svg.percent(value), value)


def _whole(value: int) -> Cell:
    return Cell(f"{value:,}", float(value))
