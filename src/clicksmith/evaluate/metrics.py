"""The table of metrics: their names (also as `monitor` in training), which way is better, and how they are computed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from clicksmith.errors import UsageError
from clicksmith.evaluate.auc import auc_influence, auc_of
from clicksmith.evaluate.calibration import expected_calibration_error, ratio_influence
from clicksmith.evaluate.gauc import gauc_influence
from clicksmith.evaluate.interval import Influence, Scale
from clicksmith.evaluate.logloss import brier_influence, entropy_influence, logloss_influence
from clicksmith.evaluate.ranking import hit_rate, mrr, ndcg
from clicksmith.evaluate.scored import Scored
from clicksmith.names import lookup

Best = Literal["high", "low", "one"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: how it is called, which way is better, and its functions."""

    title: str
    best: Best
    """Higher is better, lower is better, or nearer to 1 is better."""
    value: Callable[[Scored], float]
    influence: Callable[[Scored], Influence] | None = None
    """None if the metric has no interval but the bootstrap's."""
    scale: Scale = "share"
    needs_groups: bool = False

    def gain(self, new: float, old: float) -> float:
        """Return how much better `new` is than `old`; negative if it is worse."""
        if self.best == "one":
            return abs(old - 1) - abs(new - 1)
        return new - old if self.best == "high" else old - new


def _metric(
    title: str, best: Best, influence: Callable[[Scored], Influence], scale: Scale = "share", *, groups: bool = False
) -> Metric:
    return Metric(title, best, lambda rows: influence(rows).value, influence, scale, groups)


METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", "high", auc_of, auc_influence),
    "gauc": _metric("GAUC", "high", gauc_influence, groups=True),
    "gauc_by_clicks": _metric("GAUC by clicks", "high", lambda r: gauc_influence(r, "clicks"), groups=True),
    "logloss": _metric("log-loss", "low", logloss_influence, "positive"),
    "normalised_entropy": _metric("normalised entropy", "low", entropy_influence, "positive"),
    "brier": _metric("Brier score", "low", brier_influence, "positive"),
    "predicted_over_observed": _metric("predicted / observed", "one", ratio_influence, "positive"),
    "ece": Metric("calibration error", "low", expected_calibration_error),
    "ece_by_mass": Metric(
        "calibration error, equal mass", "low", lambda r: expected_calibration_error(r, binning="mass")
    ),
    "ndcg@10": _metric("NDCG@10", "high", lambda r: ndcg(r, 10), groups=True),
    "mrr": _metric("MRR", "high", mrr, groups=True),
    "hitrate@10": _metric("HitRate@10", "high", lambda r: hit_rate(r, 10), groups=True),
}
"""Every metric by name; `ndcg`, `mrr` and `hitrate` also take another cut-off, as in `ndcg@5`."""

_AT_K: dict[str, tuple[str, Callable[[Scored, int], Influence]]] = {
    "ndcg": ("NDCG", ndcg),
    "mrr": ("MRR", mrr),
    "hitrate": ("HitRate", hit_rate),
}


def metric_named(name: str) -> Metric:
    """Return the metric of that name; raises UnknownNameError with the nearest name."""
    at_k = re.fullmatch(r"(ndcg|mrr|hitrate)@([1-9]\d{0,8})", name)
    if at_k is None or name in METRICS:
        return lookup(METRICS, name, "metric")
    (title, function), k = _AT_K[at_k[1]], int(at_k[2])
    return _metric(f"{title}@{k}", "high", lambda rows: function(rows, k), groups=True)


def measure(rows: Scored, names: Sequence[str] = ("auc", "logloss")) -> dict[str, float]:
    """Return the value of each metric, without intervals: the quick way for use while training."""
    return {name: metric_named(name).value(rows) for name in several(names)}


def several(names: Sequence[str]) -> Sequence[str]:
    """Return the names; raises UsageError for a single text, whose letters would be taken for names."""
    if isinstance(names, str):
        raise UsageError(f"names='{names}' is one text; pass a list of metric names, as in ['{names}'].")
    return names
