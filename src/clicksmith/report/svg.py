"""Axes and marks of hand-made SVG. Colours are CSS classes, so that one picture serves light and dark pages."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 400, 256
LEFT, RIGHT, TOP, BOTTOM = 60, 22, 12, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """A map from values to pixels, with ticks; `low` is less than `high`."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    stop: float
    """Pixel of `high`."""
    ticks: tuple[float, ...]
    label: Callable[[float], str]
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value; values beyond the ends lie on them."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return round(self.start + share * (self.stop - self.start), 2)


def horizontal(low: float, high: float, label: Callable[[float], str], *, log: bool = False, count: int = 6) -> Axis:
    """Return an x axis over [low, high]."""
    return _axis(low, high, LEFT, WIDTH - RIGHT, label, log, count)


def vertical(low: float, high: float, label: Callable[[float], str], *, log: bool = False, count: int = 6) -> Axis:
    """Return a y axis over [low, high]."""
    return _axis(low, high, HEIGHT - BOTTOM, TOP, label, log, count)


def _axis(
    low: float, high: float, start: float, stop: float, label: Callable[[float], str], log: bool, count: int
) -> Axis:
    low, high = widened(low, high)
    return Axis(low, high, start, stop, log_ticks(low, high) if log else nice_ticks(low, high, count), label, log)


def widened(low: float, high: float) -> tuple[float, float]:
    """Return the two ends of an axis, a little apart if they are one value.

    >>> widened(0.0, 1.0), widened(1.0, 1.0)
    ((0.0, 1.0), (0.95, 1.05))
    """
    return (low, high) if high > low else (low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05)


def nice_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Return round numbers within [low, high], about `count` of them.

    >>> nice_ticks(0.0, 1.0)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return 1, 2 and 5 times powers of ten within [low, high], thinned out if there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = tuple(m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high)
        if len(ticks) <= 7:
            return ticks
    return ticks


def grid(x: Axis, y: Axis, x_title: str, y_title: str = "") -> str:
    """Return grid lines, tick labels and titles."""
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(v)}" y2="{y.at(v)}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y.at(v) + 4}" text-anchor="end">{escape(y.label(v))}</text>'
        for v in y.ticks
    ]
    base = HEIGHT - BOTTOM
    parts += [
        f'<line class="stub" x1="{x.at(v)}" x2="{x.at(v)}" y1="{base}" y2="{base + 4}"/>'
        f'<text class="tick" x="{x.at(v)}" y="{base + 18}" text-anchor="middle">{escape(x.label(v))}</text>'
        for v in x.ticks
    ]
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    if y_title:
        middle = (TOP + base) / 2
        turned = f'transform="translate(13 {middle}) rotate(-90)"'
        parts.append(f'<text class="axis" {turned} text-anchor="middle">{escape(y_title)}</text>')
    return "".join(parts)


def path(points: Iterable[tuple[float, float]], css: str) -> str:
    """Return a line through pixels."""
    return f'<path class="{css}" d="M{"L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def mark(x: float, y: float, tip: str, css: str = "", radius: float = 4.0) -> str:
    """Return a dot that has a tooltip."""
    return f'<circle class="{css}" cx="{x:g}" cy="{y:g}" r="{radius:g}" {tipped(x, y, tip)}/>'


def tipped(x: float, y: float, tip: str) -> str:
    """Return the attributes that make an element answer to pointer and arrow keys."""
    return f'data-x="{x:g}" data-y="{y:g}" data-tip="{escape(tip)}"'


def picture(content: str, summary: str, width: float = WIDTH, height: float = HEIGHT) -> str:
    """Return the SVG element; `summary` is read out in its place."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" tabindex="0" aria-label="{escape(summary)}">'
        f"{content}</svg>"
    )


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters, with an ellipsis if something is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: float) -> str:
    """Return a number with four significant digits, without exponent where that is readable.

    >>> number(0.78125), number(12345678), number(0.00002)
    ('0.7812', '12,345,678', '2e-05')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(value: float) -> str:
    """Return a share as a percentage with as many digits as it needs.

    >>> percent(0.5), percent(0.0125), percent(0.0003)
    ('50%', '1.25%', '0.03%')
    """
    return f"{value * 100:.3g}%"


def span(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Return low and high with some air."""
    low, high = min(values), max(values)
    air = (high - low) * margin
    return low - air, high + air
