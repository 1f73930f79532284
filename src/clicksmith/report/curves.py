"""Charts from the lines of a training log (`log.jsonl`), whatever its columns are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from clicksmith.evaluate.metrics import METRICS
from clicksmith.report.data import Curves, Series

CLOCK = ("epoch", "step")
"""Columns that can be the x axis."""
ASIDE = frozenset({"seconds", "eta", "time", "rows", "rows_per_second", "elapsed", "seed", "peak_memory", "version"})
"""Columns that are no curves."""
SPLITS = ("train", "valid", "test")
POINTS = 300
"""The loss of steps is drawn with at most so many points, each the mean of its neighbours."""


def curves_of(log: Iterable[Mapping[str, Any]]) -> tuple[Curves, ...]:
    """Return one chart a metric, with a line for each split that logs it; losses of all splits share a chart.

    A line of the log is a flat or nested object: `{"epoch": 1, "loss": 0.5, "valid": {"auc": 0.7}}`. Lines of
    `"kind": "step"` make a chart of their own, of the loss; all others are evaluations.
    """
    entries = list(log)
    lines = [_flat(line) for line in entries if line.get("kind") != "step"]
    steps = [_flat(line) for line in entries if line.get("kind") == "step"]
    clock = _clock(lines)
    charts: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for number, line in enumerate(lines):
        x = float(line.get(clock, number + 1))
        for name, value in line.items():
            split, metric = _split_of(name)
            if metric in CLOCK or metric in ASIDE:
                continue
            title = "loss" if metric in ("loss", "logloss") else metric
            charts.setdefault(title, {}).setdefault(split, []).append((x, value))
    order = sorted(charts, key=lambda title: (title != "loss", title not in METRICS))
    drawn = [_chart(title, charts[title], clock) for title in order if _moves(charts[title])]
    thin = _thinned([(line["step"], line["loss"]) for line in steps if "step" in line and "loss" in line])
    return (*drawn, Curves("loss between evaluations", (Series("train", thin),), "step")) if thin else tuple(drawn)


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return at most `POINTS` means of neighbours; nothing if there is nothing to see."""
    if len({y for _, y in points}) < 2:
        return ()
    width = -(-len(points) // POINTS)
    pieces = [points[at : at + width] for at in range(0, len(points), width)]
    return tuple((piece[-1][0], sum(y for _, y in piece) / len(piece)) for piece in pieces)


def _chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], clock: str) -> Curves:
    best = METRICS[title].best if title in METRICS else "low" if title == "loss" else None
    shown = METRICS[title].title if title in METRICS else title.replace("_", " ")
    series = tuple(Series(split, tuple(points)) for split, points in lines.items())
    return Curves(shown, series, clock, None if best == "one" else best)


def _moves(lines: Mapping[str, Sequence[tuple[float, float]]]) -> bool:
    """Return whether there is something to see: two points of one line that differ."""
    return any(len({y for _, y in points}) > 1 for points in lines.values())


def _clock(lines: Sequence[Mapping[str, float]]) -> str:
    """Return the first clock that gives every line its own place, else the finest one there is."""
    for name in CLOCK:
        values = [line[name] for line in lines if name in line]
        if values and len(set(values)) == len(values):
            return name
    return next((name for name in reversed(CLOCK) if any(name in line for line in lines)), "epoch")


def _split_of(name: str) -> tuple[str, str]:
    for split in SPLITS:
        for joint in (".", "_", "/"):
            if name.startswith(split + joint):
                return split, name[len(split) + 1 :]
    return "train", name


def _flat(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            found |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
            found[f"{prefix}{name}"] = float(value)
    return found
