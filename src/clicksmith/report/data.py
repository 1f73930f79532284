"""What a report shows, as plain values: whoever has a part of it fills that part in."""

from typing import Any, Literal

import msgspec
import numpy as np

from clicksmith.evaluate.evaluation import Metrics
from clicksmith.evaluate.scored import Scored, one_class
from clicksmith.plan import Plan


class Series(msgspec.Struct, frozen=True):
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]


class Curves(msgspec.Struct, frozen=True):
    """A line chart: a metric over epochs or steps."""

    title: str
    series: tuple[Series, ...]
    x_title: str = "epoch"
    best: Literal["high", "low"] | None = None
    """Mark the highest or the lowest point of each line but those named 'train'."""


class Distribution(msgspec.Struct, frozen=True):
    """Where the predictions lie. Make it with `distribution_of`."""

    edges: tuple[float, ...]
    """Logits between the bins."""
    clicks: tuple[float, ...]
    """Share of the clicks in each bin."""
    others: tuple[float, ...]
    """Share of the non-clicks in each bin."""
    roc: tuple[tuple[float, float], ...]
    """(false-positive rate, true-positive rate), from (0, 0) to (1, 1)."""


class Bar(msgspec.Struct, frozen=True):
    """One line of a ranking."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class Ranking(msgspec.Struct, frozen=True):
    """Fields or models by a number each, best first, with intervals."""

    title: str
    bars: tuple[Bar, ...]
    unit: str = ""
    """What the number is, as in 'drop of AUC when shuffled'."""


class Searched(msgspec.Struct, frozen=True):
    """What a search tried for one parameter."""

    name: str
    labels: tuple[str, ...] = ()
    """The values, where they are names or a list; else the parameter is a number."""
    log: bool = False


class Trial(msgspec.Struct, frozen=True):
    """One trial of a search."""

    number: int
    state: str
    score: float | None
    at: tuple[float, ...]
    """Of each parameter the number, or the position of the value in its labels."""
    told: tuple[str, ...]
    """Of each parameter the value as text."""
    note: str = ""


class Trials(msgspec.Struct, frozen=True):
    """A search: what was tried and how good it was."""

    metric: str
    """Larger is better."""
    parameters: tuple[Searched, ...]
    trials: tuple[Trial, ...]


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column of the data."""

    name: str
    kind: str
    unique: int | None = None
    missing: float | None = None
    """Share of empty cells, 0 to 1."""
    reason: str = ""
    """Why the schema takes it so."""
    example: str = ""
    unseen: dict[str, float] = {}
    """Share of values that training did not see, 0 to 1, by part of the rows."""


class PartRows(msgspec.Struct, frozen=True):
    """One part of the rows: train, valid or test."""

    name: str
    rows: int
    ones: dict[str, int]
    """By label, the rows in which it is 1."""


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a page can show. What is empty is left out of the page."""

    title: str
    subtitle: str = ""
    created: str = ""
    metrics: dict[str, Metrics] = {}
    """By split: valid, test, ... The last one heads the page."""
    possible: dict[str, float] = {}
    """The best value that any model can reach, where the truth is known: {"auc": 0.789}."""
    curves: tuple[Curves, ...] = ()
    distributions: dict[str, Distribution] = {}
    """By split."""
    rankings: tuple[Ranking, ...] = ()
    search: Trials | None = None
    plan: Plan = Plan()
    """What the model was built under."""
    parts: tuple[PartRows, ...] = ()
    """Of a run: `unique` of its profile counts ids, of other profiles distinct values."""
    profile: tuple[ColumnProfile, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader must know first: suspects of leaking, metrics that are not defined."""
    settings: dict[str, Any] = {}
    environment: dict[str, Any] = {}


def distribution_of(rows: Scored, bins: int = 40, points: int = 200) -> Distribution:
    """Return histogram and ROC of predictions; of any number of rows a few kilobytes."""
    logits = rows.logits
    low, high = (float(x) for x in np.quantile(logits, [0.0005, 0.9995]))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    number = np.clip(np.searchsorted(edges, logits, side="right") - 1, 0, bins - 1)
    weights = rows.row_weights
    counts = [np.bincount(number[m], weights[m], bins) for m in (rows.labels, ~rows.labels)]
    shares = [tuple((c / max(float(c.sum()), 1e-300)).tolist()) for c in counts]
    return Distribution(tuple(edges.tolist()), shares[0], shares[1], _roc(rows, points))


def _roc(rows: Scored, points: int) -> tuple[tuple[float, float], ...]:
    if one_class(rows) is not None:
        return ()
    order = np.argsort(-rows.scores, kind="stable")
    weights, labels, scores = rows.row_weights[order], rows.labels[order], rows.scores[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)
    right, wrong = np.cumsum(weights * labels)[ends], np.cumsum(weights * ~labels)[ends]
    curve = np.stack([wrong / wrong[-1], right / right[-1]], axis=1)
    along = curve.sum(axis=1) / 2  # equal steps along the curve, so that steep and flat parts are both smooth
    kept = np.unique(np.searchsorted(along, np.linspace(0, 1, points)).clip(0, along.size - 1))
    return ((0.0, 0.0), *((float(x), float(y)) for x, y in curve[kept]))
