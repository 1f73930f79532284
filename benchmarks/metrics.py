"""How long do exact metrics of 5 million predictions take, beside scikit-learn and a loop over groups?

    python benchmarks/metrics.py [--rows N] [--groups N] [--runs N] [--out FILE]

Contenders take turns on the same rows; the figure is the median of process CPU time (every contender uses one thread).
The loop over groups is scikit-learn's AUC once per group, timed on a part of the groups and scaled up.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sklearn
from sklearn.metrics import log_loss, roc_auc_score

from clicksmith.evaluate import auc, evaluate, gauc, logloss

LOOPED = 2_000
"""Groups that the loop is timed on."""


def world(rows: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, float32 logits and users of different activity, about 16 % clicks."""
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1, rows).astype(np.float32)
    labels = random.random(rows) < 1 / (1 + np.exp(-logits))
    return labels, logits, (groups * random.random(rows) ** 2).astype(np.int64)


def loop_over_groups(labels: np.ndarray, logits: np.ndarray, users: np.ndarray) -> float:
    """Return GAUC the usual way: rows gathered by group, one AUC a group."""
    order = np.argsort(users, kind="stable")
    edges = np.flatnonzero(np.diff(users[order])) + 1
    total = weight = 0.0
    for mine in np.split(order, edges):
        if 0 < labels[mine].sum() < mine.size:
            total += mine.size * roc_auc_score(labels[mine], logits[mine])
            weight += mine.size
    return total / weight


def timed(contenders: dict[str, Callable[[], Any]], runs: int) -> dict[str, dict[str, Any]]:
    """Return the median CPU seconds of each contender, in turns, and its value."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    values: dict[str, Any] = {}
    for _ in range(runs):
        for name, contender in contenders.items():
            start = time.process_time()
            values[name] = contender()
            seconds[name].append(time.process_time() - start)
    return {name: {"seconds": statistics.median(s), "value": values[name]} for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--groups", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "metrics.json")
    options = parser.parse_args()
    labels, logits, users = world(options.rows, options.groups)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    few = np.flatnonzero(users % max(1, options.groups // LOOPED) == 0)
    scale = np.unique(users).size / np.unique(users[few]).size
    found = timed(
        {
            "auc": lambda: auc(labels, logits),
            "auc, scikit-learn": lambda: float(roc_auc_score(labels, logits)),
            "logloss": lambda: logloss(labels, logits=logits),
            "logloss, scikit-learn": lambda: float(log_loss(labels, p)),
            "gauc": lambda: gauc(labels, logits, users).value,
            "gauc of some groups": lambda: gauc(labels[few], logits[few], users[few]).value,
            "gauc of some groups, loop": lambda: loop_over_groups(labels[few], logits[few], users[few]),
            "all metrics with intervals": lambda: evaluate(labels, logits=logits, groups=users)["auc"],
        },
        options.runs,
    )
    loop = found["gauc of some groups, loop"]
    assert abs(found["auc"]["value"] - found["auc, scikit-learn"]["value"]) < 1e-12
    assert abs(found["gauc of some groups"]["value"] - loop["value"]) < 1e-10
    result = {
        "question": "CPU seconds of exact metrics, one thread",
        "rows": options.rows,
        "groups": int(np.unique(users).size),
        "runs": options.runs,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "seconds": {name: round(f["seconds"], 4) for name, f in found.items()},
        "times_faster": {
            "auc to scikit-learn": round(found["auc, scikit-learn"]["seconds"] / found["auc"]["seconds"], 2),
            "logloss to scikit-learn": round(
                found["logloss, scikit-learn"]["seconds"] / found["logloss"]["seconds"], 2
            ),
            "gauc to a loop over groups, scaled up": round(loop["seconds"] * scale / found["gauc"]["seconds"], 1),
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
