"""The pictures of a report. Each is an SVG and the numbers behind it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from clicksmith.evaluate.calibration import Bin
from clicksmith.report import svg
from clicksmith.report.data import Curves, Distribution, Ranking, Series

TONE = {"train": "c0", "valid": "c1", "test": "c2"}
TONES = 5
"""Colours of lines, `c0` and on: as many as a benchmark has seeds."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with its caption, key and table."""

    title: str
    image: str
    note: str
    key: tuple[tuple[str, str], ...]
    """(CSS class, name) of each line."""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: bool = False
    """Over all columns of the page."""


def line_chart(curves: Curves) -> Chart:
    """Return a metric over epochs, one line a split, its best point ringed."""
    xs = [x for s in curves.series for x, _ in s.points]
    ys = [y for s in curves.series for _, y in s.points]
    x = svg.horizontal(min(xs), max(xs), svg.number)
    x = svg.Axis(x.low, x.high, x.start, x.stop, tuple(t for t in x.ticks if t == int(t)), lambda v: f"{v:,.0f}")
    y = svg.vertical(*svg.span(ys), svg.number)
    alone = len(curves.series) == 1
    tones = ["c1" if alone else TONE.get(s.name, f"c{i % TONES}") for i, s in enumerate(curves.series)]
    parts = [svg.grid(x, y, curves.x_title, svg.shorten(curves.title, 32))]
    for series, tone in zip(curves.series, tones, strict=True):
        pixels = [(x.at(a), y.at(b)) for a, b in series.points]
        parts.append(svg.path(pixels, f"line {tone}"))
        radius = 3.0 if len(pixels) <= 40 else 1.5
        parts += [
            svg.mark(*p, f"{series.name} · {curves.x_title} {a:,.0f}: {svg.number(b)}", f"dot {tone}", radius)
            for p, (a, b) in zip(pixels, series.points, strict=True)
        ]
    best = _best_points(curves)
    parts += [f'<circle class="ring" cx="{x.at(a)}" cy="{y.at(b)}" r="7"/>' for _, (a, b) in best]
    note = "; ".join(f"best {name}: {svg.number(b)} at {curves.x_title} {a:,.0f}" for name, (a, b) in best)
    clock = sorted(set(xs))
    found = {s.name: dict(s.points) for s in curves.series}
    rows = tuple((f"{a:,.0f}", *(svg.number(p[a]) if a in p else "" for p in found.values())) for a in clock)
    return Chart(
        curves.title,
        svg.picture("".join(parts), f"{curves.title} over {curves.x_title}s. {note}"),
        note,
        () if alone else tuple((tone, s.name) for tone, s in zip(tones, curves.series, strict=True)),
        (curves.x_title, *found),
        rows,
    )


def calibration_chart(bins: Sequence[Bin], level: float, split: str = "") -> Chart:
    """Return predicted against observed click share with Wilson intervals; on the diagonal is calibrated."""
    log = _spans_decades(bins)
    least = min((v for b in bins for v in (b.predicted, b.observed, b.low) if v > 0), default=1e-3) if log else 0.0
    most = max(max(b.predicted, b.high) for b in bins) or 1.0
    low, high = (least * 0.8, min(most * 1.25, 1.0)) if log else (0.0, min(most * 1.05, 1.0))
    x = svg.horizontal(low, high, svg.percent, log=log)
    y = svg.vertical(low, high, svg.percent, log=log)
    parts = [
        svg.grid(x, y, "predicted probability", "observed share"),
        svg.path([(x.at(v), y.at(v)) for v in (low, high)], "ideal"),
    ]
    parts.append(svg.path([(x.at(b.predicted), y.at(b.observed)) for b in bins], "line thin c1"))
    outside = 0
    for b in bins:
        fits = b.low <= b.predicted <= b.high
        outside += not fits
        px, py = x.at(b.predicted), y.at(b.observed)
        tip = (
            f"predicted {svg.percent(b.predicted)}, observed {svg.percent(b.observed)} "
            f"[{svg.percent(b.low)}, {svg.percent(b.high)}], {b.rows:,} rows"
        )
        tone = "c1" if fits else "bad"
        parts.append(f'<line class="whisker {tone}" x1="{px}" x2="{px}" y1="{y.at(b.low)}" y2="{y.at(b.high)}"/>')
        parts.append(svg.mark(px, py, tip, f"dot {tone}", 4.5))
    note = f"{len(bins) - outside} of {len(bins)} groups of rows lie on the diagonal within their {level:.0%} interval"
    note += "; the red ones do not" if outside else ""
    rows = tuple(
        (f"{b.rows:,}", svg.percent(b.predicted), svg.percent(b.observed), svg.percent(b.low), svg.percent(b.high))
        for b in bins
    )
    title = "Calibration" + (f" on {split}" if split else "")
    head = ("rows", "predicted", "observed", "low", "high")
    return Chart(title, svg.picture("".join(parts), f"{title}. {note}"), note, (), head, rows)


def roc_chart(distributions: dict[str, Distribution]) -> Chart:
    """Return the ROC curve of each split."""
    x, y = svg.horizontal(0, 1, svg.percent), svg.vertical(0, 1, svg.percent)
    parts = [svg.grid(x, y, "share of non-clicks above the threshold", "share of clicks above it")]
    parts.append(svg.path([(x.at(0), y.at(0)), (x.at(1), y.at(1))], "ideal"))
    shown = {name: d.roc for name, d in distributions.items() if d.roc}
    for name, points in shown.items():
        tone = TONE.get(name, "c1")
        parts.append(svg.path([(x.at(a), y.at(b)) for a, b in points], f"line {tone}"))
        for a, b in points[:: max(1, len(points) // 50)]:
            parts.append(
                svg.mark(
                    x.at(a), y.at(b), f"{name}: {svg.percent(b)} of clicks at {svg.percent(a)} of non-clicks", "ghost"
                )
            )
    rows = tuple(
        (name, svg.percent(a), svg.percent(_height_at(points, a)))
        for name, points in shown.items()
        for a in (0.01, 0.05, 0.1, 0.2, 0.5)
    )
    key = tuple((TONE.get(name, "c1"), name) for name in shown)
    return Chart(
        "ROC curve", svg.picture("".join(parts), "ROC curve"), "further above the dashed line is better", key,
        ("split", "non-clicks", "clicks"), rows,
    )  # fmt: skip


def histogram_chart(distribution: Distribution, split: str = "") -> Chart:
    """Return how the predictions of clicks and of non-clicks are spread, on the scale of log-odds."""
    edges = distribution.edges
    x = svg.horizontal(edges[0], edges[-1], svg.percent)
    x = svg.Axis(x.low, x.high, x.start, x.stop, _logit_ticks(edges[0], edges[-1]), lambda z: svg.percent(_sigmoid(z)))
    y = svg.vertical(0, max(*distribution.clicks, *distribution.others) * 1.06, svg.percent)
    parts = [svg.grid(x, y, "predicted probability (log-odds scale)", "share of rows")]
    for shares, tone in ((distribution.others, "c0"), (distribution.clicks, "c1")):
        steps = [(x.at(edges[0]), y.at(0))]
        for a, b, share in zip(edges, edges[1:], shares, strict=False):
            steps += [(x.at(a), y.at(share)), (x.at(b), y.at(share))]
        parts.append(svg.path([*steps, (x.at(edges[-1]), y.at(0))], f"area {tone}"))
    rows: list[tuple[str, ...]] = []
    for a, b, up, down in zip(edges, edges[1:], distribution.clicks, distribution.others, strict=False):
        between = f"{svg.percent(_sigmoid(a))} – {svg.percent(_sigmoid(b))}"
        tip = f"{between}: {svg.percent(up)} of clicks, {svg.percent(down)} of non-clicks"
        parts.append(svg.mark(x.at((a + b) / 2), y.at(max(up, down)), tip, "ghost"))
        rows.append((between, svg.percent(up), svg.percent(down)))
    title = "Predictions" + (f" on {split}" if split else "")
    note = "the less the two overlap, the better the model tells them apart"
    head = ("predicted", "of clicks", "of non-clicks")
    return Chart(
        title,
        svg.picture("".join(parts), f"{title}: {note}"),
        note,
        (("c1", "clicks"), ("c0", "non-clicks")),
        head,
        tuple(rows),
    )


def bar_chart(ranking: Ranking, most: int = 25) -> Chart:
    """Return bars with intervals, best first; beyond `most` only in the table."""
    bars = ranking.bars[:most]
    ends = [v for b in bars for v in (0.0, b.value, b.low or 0.0, b.high or 0.0)]
    width, left, pitch = 500, 158, 24
    high, low = max(ends) or 1e-9, min(ends)
    axis = svg.Axis(low, high, left, width - 70, (), svg.number)
    zero = axis.at(0)
    parts: list[str] = []
    for i, bar in enumerate(bars):
        y = 8 + i * pitch
        interval = "" if bar.low is None else f" [{svg.number(bar.low)}, {svg.number(bar.high or 0.0)}]"
        tip = f"{bar.name}: {svg.number(bar.value)}{interval}"
        start, stop = sorted((zero, axis.at(bar.value)))
        certain = bar.low is None or bar.low > 0
        name = svg.escape(svg.shorten(bar.name, 19))
        parts.append(f'<text class="name" x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        shape = f'x="{start}" y="{y + 2}" width="{max(stop - start, 1):g}" height="{pitch - 9}" rx="2"'
        tone = "c1" if certain else "faint"
        parts.append(f'<rect class="bar {tone}" {shape} {svg.tipped(stop, y + 9, tip)}/>')
        edge = stop
        if bar.low is not None and bar.high is not None:
            edge = max(axis.at(bar.high), stop)
            ends_at = f'x1="{axis.at(bar.low)}" x2="{axis.at(bar.high)}"'
            parts.append(f'<line class="whisker ink" {ends_at} y1="{y + 9.5}" y2="{y + 9.5}"/>')
        parts.append(f'<text class="tick" x="{edge + 6}" y="{y + 13.5}">{svg.number(float(f"{bar.value:.3g}"))}</text>')
    parts.append(f'<line class="base" x1="{zero}" x2="{zero}" y1="4" y2="{8 + len(bars) * pitch}"/>')
    rest = len(ranking.bars) - len(bars)
    faint = any(b.low is not None and b.low <= 0 for b in bars)
    told = (ranking.unit, "faint: the interval reaches 0" if faint else "", f"{rest} more in the table" if rest else "")
    note = "; ".join(part for part in told if part)
    rows = tuple(
        (b.name, svg.number(b.value), *("" if v is None else svg.number(v) for v in (b.low, b.high)))
        for b in ranking.bars
    )
    image = svg.picture("".join(parts), f"{ranking.title}. First: {bars[0].name}", width, 14 + len(bars) * pitch)
    return Chart(ranking.title, image, note, (), ("name", "value", "low", "high"), rows)


def _best_points(curves: Curves) -> list[tuple[str, tuple[float, float]]]:
    if curves.best is None:
        return []
    choose = max if curves.best == "high" else min
    lines: list[Series] = [s for s in curves.series if s.name != "train"]
    return [(s.name, choose(s.points, key=lambda p: p[1])) for s in lines]


def _spans_decades(bins: Sequence[Bin]) -> bool:
    least = min(min(b.predicted, b.observed) for b in bins)
    return least > 0 and max(b.predicted for b in bins) / least > 30


def _height_at(points: Sequence[tuple[float, float]], x: float) -> float:
    for (a, b), (c, d) in pairwise(points):
        if c >= x:
            return b if c == a else b + (d - b) * (x - a) / (c - a)
    return 1.0


def _logit_ticks(low: float, high: float) -> tuple[float, ...]:
    shares = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
    if high - low < 4:
        shares = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    return tuple(z for z in (math.log(p / (1 - p)) for p in shares) if low <= z <= high)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-max(min(z, 700.0), -700.0)))
