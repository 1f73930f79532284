"""The pictures that compare models: quality against a cost, and who is tied with whom."""

from collections.abc import Sequence

import msgspec

from clicksmith.report import svg
from clicksmith.report.charts import Chart

PITCH = 22
"""Pixels between two models of a tie chart."""


class Spot(msgspec.Struct, frozen=True):
    """A model in a scatter: a cost, and a quality of which more is better."""

    name: str
    x: float
    y: float


class Placed(msgspec.Struct, frozen=True):
    """A model in a tie chart: a figure, its interval, and whom it is tied with."""

    name: str
    value: float
    low: float
    high: float
    tied: tuple[str, ...]


def pareto(spots: Sequence[Spot]) -> list[Spot]:
    """Return the spots of which no other is as cheap and better, or as good and cheaper; the cheapest first.

    >>> [s.name for s in pareto([Spot("a", 1, 1), Spot("b", 2, 1), Spot("c", 3, 2)])]
    ['a', 'c']
    """
    found: list[Spot] = []
    for spot in sorted(spots, key=lambda s: (s.x, -s.y, s.name)):
        if not found or spot.y > found[-1].y:
            found.append(spot)
    return found


def scatter_chart(title: str, spots: Sequence[Spot], x_title: str, y_title: str) -> Chart:
    """Return quality against a cost (logarithmic), the Pareto front drawn and named."""
    positive = [s.x for s in spots if s.x > 0] or [1.0]
    x = svg.horizontal(min(positive) * 0.8, max(positive) * 1.25, _short, log=True, count=5)
    y = svg.vertical(*svg.span([s.y for s in spots]), svg.number)
    front = pareto(spots)
    corners = [(x.at(front[0].x), y.at(front[0].y))]
    for spot in front[1:]:
        corners += [(x.at(spot.x), corners[-1][1]), (x.at(spot.x), y.at(spot.y))]
    parts = [svg.grid(x, y, x_title), svg.path(corners, "front c2")]
    for spot in sorted(spots, key=lambda s: (s in front, s.x, s.name)):
        tip = f"{spot.name}: {y_title} {spot.y:.5f}, {x_title} {svg.number(spot.x)}"
        parts.append(svg.mark(x.at(spot.x), y.at(spot.y), tip, f"dot {'c2' if spot in front else 'c1'}", 4.5))
    placed = {s: (x.at(s.x), y.at(s.y)) for s in spots}
    parts += _names([(s.name, *placed[s]) for s in reversed(front)], list(placed.values()))
    note = "dashed: the Pareto front, the models that no other beats at the same cost or less"
    note += "; a cost of 0 is drawn at the left edge" if any(s.x <= 0 for s in spots) else ""
    rows = tuple(
        (s.name, svg.number(s.x), f"{s.y:.5f}", "yes" if s in front else "")
        for s in sorted(spots, key=lambda s: (-s.y, s.name))
    )
    summary = f"{title}. On the Pareto front: {', '.join(s.name for s in front)}"
    key = (("c2", "on the front"), ("c1", "others"))
    return Chart(
        title, svg.picture("".join(parts), summary), note, key, ("model", x_title, y_title, "Pareto front"), rows
    )


def tie_chart(title: str, models: Sequence[Placed], value_title: str, level: float) -> Chart:
    """Return models at their figure, best first, with intervals; each bar at the right joins models all tied."""
    groups = tie_groups(models)
    lanes = _lanes(groups)
    step = min(9.0, 110 / (max(lanes, default=0) + 1))
    width, left, base = 500, 130, 10 + PITCH * len(models)
    right = width - 16 - step * (max(lanes, default=-1) + 1)
    low, high = svg.widened(*svg.span([v for m in models for v in (m.low, m.high)], 0.03))
    axis = svg.Axis(low, high, left, right, svg.nice_ticks(low, high, 4), svg.number)
    parts: list[str] = []
    for tick in axis.ticks:
        at = axis.at(tick)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="6" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{at}" y="{base + 16}" text-anchor="middle">{axis.label(tick)}</text>')
    for i, model in enumerate(models):
        y, x = _line(i), axis.at(model.value)
        tied = f"tied with {len(model.tied)}" if model.tied else "tied with none"
        tip = f"{model.name}: {value_title} {model.value:.5f} [{model.low:.5f}, {model.high:.5f}], {tied}"
        name = svg.escape(svg.shorten(model.name, 16))
        parts.append(f'<text class="name" x="{left - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
        ends = f'x1="{axis.at(model.low)}" x2="{axis.at(model.high)}" y1="{y}" y2="{y}"'
        parts.append(f'<line class="whisker c1" {ends}/>{svg.mark(x, y, tip, "dot c1", 4.5)}')
    for (first, last), lane in zip(groups, lanes, strict=True):
        x = right + 12 + step * lane
        parts.append(f'<line class="lane c2" x1="{x:g}" x2="{x:g}" y1="{_line(first) - 6}" y2="{_line(last) + 6}"/>')
    parts.append(
        f'<text class="axis" x="{(left + right) / 2:g}" y="{base + 34}" text-anchor="middle">'
        f"{svg.escape(value_title)}</text>"
    )
    note = f"lines: {level:.0%} intervals; each bar at the right joins models of which no two differ significantly"
    rows = tuple(
        (m.name, f"{m.value:.5f}", f"{m.low:.5f}", f"{m.high:.5f}", ", ".join(m.tied) or "none") for m in models
    )
    image = svg.picture("".join(parts), f"{title}. First: {models[0].name}", width, base + 42)
    return Chart(title, image, note, (), ("model", value_title, "low", "high", "tied with"), rows)


def tie_groups(models: Sequence[Placed]) -> list[tuple[int, int]]:
    """Return (first, last) of each longest run of two or more neighbours of which all pairs are tied."""
    found: list[tuple[int, int]] = []
    for first in range(len(models)):
        last = first
        while last + 1 < len(models) and all(models[last + 1].name in models[i].tied for i in range(first, last + 1)):
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _lanes(groups: Sequence[tuple[int, int]]) -> list[int]:
    """Return a lane for each group, so that bars of one lane do not touch."""
    ends: list[int] = []
    found: list[int] = []
    for first, last in groups:
        lane = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        found.append(lane)
    return found


def _line(i: int) -> int:
    return 14 + PITCH * i


def _names(named: Sequence[tuple[str, float, float]], dots: Sequence[tuple[float, float]]) -> list[str]:
    """Return names beside their spots, where they lie on no dot and no other name; one that would is left out."""
    taken = [(x - 5, x + 5, y - 5, y + 5) for x, y in dots]
    parts: list[str] = []
    for name, x, y in named:
        text = svg.shorten(name, 14)
        wide = 8.0 * len(text)
        places = [
            (start, middle)
            for middle in (y - 12, y + 14, y)
            for start in (x - wide / 2, x - 8 - wide, x + 8)
            if start > svg.LEFT and start + wide < svg.WIDTH and svg.TOP - 6 < middle < svg.HEIGHT - svg.BOTTOM
        ]
        for start, middle in places:
            box = (start, start + wide, middle - 6, middle + 6)
            if not any(box[0] < b and a < box[1] and box[2] < d and c < box[3] for a, b, c, d in taken):
                taken.append(box)
                parts.append(f'<text class="name" x="{start:g}" y="{middle + 4:g}">{svg.escape(text)}</text>')
                break
    return parts


def _short(value: float) -> str:
    """Return a tick of a cost in few characters."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
