"""How good is it, and is the difference real? Metrics on arrays; numpy only, no torch."""

from clicksmith.evaluate.auc import auc
from clicksmith.evaluate.bootstrap import bootstrap
from clicksmith.evaluate.calibrator import Calibrator, fit_calibrator, negative_sampling
from clicksmith.evaluate.compare import Comparison, compare, relative_improvement
from clicksmith.evaluate.evaluation import Metrics, evaluate
from clicksmith.evaluate.gauc import GroupAUC, gauc
from clicksmith.evaluate.interval import Estimate
from clicksmith.evaluate.logloss import logloss
from clicksmith.evaluate.metrics import METRICS, measure
from clicksmith.evaluate.predictions import Predictions
from clicksmith.evaluate.scored import Scored, scored
from clicksmith.evaluate.streaming import RunningMetrics
from clicksmith.evaluate.table import metrics_table

__all__ = [
    "METRICS", "Calibrator", "Comparison", "Estimate", "GroupAUC", "Metrics", "Predictions", "RunningMetrics", "Scored",
    "auc", "bootstrap", "compare", "evaluate", "fit_calibrator", "gauc", "logloss", "measure", "metrics_table",
    "negative_sampling", "relative_improvement", "scored",
]  # fmt: skip
