"""Growing trees with LightGBM (Ke et al., NeurIPS 2017), stopped by validation rows alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.store import Store
from clicksmith.errors import UsageError
from clicksmith.train.monitor import Judge, check_monitor, measured, score_of
from clicksmith.train.progress import Plan, Progress
from clicksmith.train.settings import Monitor, TrainSettings
from clicksmith.trees.features import PIECE, Features, Table, pieces
from clicksmith.trees.spec import Trees


@dataclass(frozen=True, kw_only=True)
class Grown:
    """Trees as grown, cut back to what validation rows chose."""

    booster: Any
    features: Features
    history: list[dict[str, Any]]
    """One entry per evaluation, as the trainer's; an epoch is a tree."""
    best: dict[str, Any]
    """The entry that was best."""
    reason: str
    threads: int
    version: str
    """Of LightGBM."""

    def score(self, store: Store) -> NDArray[np.float32]:
        """Return the logits [rows]."""
        kept = {"raw_score": True, "num_iteration": self.best["step"], "num_threads": self.threads}
        found = [self.booster.predict(self.features.table(piece), **kept) for _, piece in pieces(store)]
        return np.concatenate(found).astype(np.float32)

    @property
    def size(self) -> int:
        """How many numbers the kept trees are: a value per leaf, a feature and a threshold per split."""
        trees = self.booster.dump_model(self.best["step"])["tree_info"]
        return sum(3 * tree["num_leaves"] - 2 for tree in trees)


def lightgbm() -> Any:
    """Return the package. Raises UsageError saying what to install where it is missing."""
    try:
        return import_module("lightgbm")
    except (ImportError, OSError) as error:  # OSError: its library for threads is missing
        raise UsageError(
            f"the baseline LightGBM needs the package lightgbm, which cannot be imported ({error}); "
            "install it with: pip install 'clicksmith[baselines]'."
        ) from error


def grow(
    trees: Trees,
    rows: Store,
    valid: Store,
    *,
    seed: int,
    monitor: Monitor,
    threads: int,
    progress: Progress,
    stop: Callable[[Sequence[dict[str, Any]]], str] | None = None,
) -> Grown:
    """Grow trees until validation rows are served no better; the same with any number of threads.

    `stop` is asked after each evaluation, as by the trainer. Raises UsageError if LightGBM is not installed,
    DataError if `monitor` means nothing on the validation rows.
    """
    check_monitor(monitor, valid)
    package = lightgbm()
    fold = np.random.default_rng(seed).integers(0, trees.folds, rows.rows, np.uint8)
    features = Features(rows.layout, few=trees.few, folds=trees.folds, prior=trees.prior)
    features.fit(rows, fold)
    options = _options(trees, seed, threads)
    learned = _data(package, features, rows, fold, options)
    judged = _data(package, features, valid, None, options, learned)
    booster = package.Booster(options, learned).add_valid(judged, "valid")
    judge = Judge(TrainSettings(monitor=monitor, patience=trees.patience))
    history: list[dict[str, Any]] = []
    progress.started(Plan(rows.rows, trees.every, trees.rounds, trees.rounds, 0, "cpu", "fp32"))
    seconds, done, reason = 0.0, 0, ""
    while not reason:
        began = time.monotonic()
        more = min(trees.every, trees.rounds - done)
        stuck = any([booster.update() for _ in range(more)])
        seconds, done = seconds + time.monotonic() - began, done + more
        found = measured(_scores(booster)[:, None], valid, monitor)
        history.append({
            "kind": "evaluation", "epoch": done, "step": done, "learning_rate": trees.learning_rate,
            "seconds": round(seconds, 3), "rows_per_second": round(rows.rows * done / seconds, 1), "valid": found,
            "best": judge.judge(score_of(found, monitor), done),
        })  # fmt: skip
        progress.evaluated(history[-1])
        reason = "no split left" if stuck else "patience" if judge.enough else "epochs" if done == trees.rounds else ""
        reason = reason or ("" if stop is None else stop(history))
    progress.finished(reason)
    best = next(entry for entry in history if entry["step"] == judge.best_step)
    return Grown(
        booster=booster, features=features, history=history, best=best, reason=reason, threads=threads,
        version=package.__version__,
    )  # fmt: skip


def _scores(booster: Any) -> NDArray[np.float32]:
    """Return the logits of the validation rows, of which LightGBM keeps the probabilities while it grows."""
    kept: list[NDArray[np.float64]] = []

    def look(scores: NDArray[np.float64], _: Any) -> tuple[str, float, bool]:
        kept.append(scores)
        return "seen", 0.0, True

    booster.eval_valid(look)
    p = np.clip(kept[0], 1e-15, 1 - 1e-15)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def _options(trees: Trees, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "binary", "num_leaves": trees.leaves, "learning_rate": trees.learning_rate,
        "min_data_in_leaf": trees.least_rows, "lambda_l2": trees.l2, "bagging_fraction": trees.row_share,
        "bagging_freq": 1, "feature_fraction": trees.column_share, "metric": "none", "seed": seed,
        "num_threads": threads, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip


def _data(
    package: Any,
    features: Features,
    store: Store,
    fold: NDArray[np.uint8] | None,
    options: dict[str, Any],
    like: Any = None,
) -> Any:
    """Return rows in LightGBM's form, a byte a value, made from pieces; the table is never whole in memory."""

    class Rows(package.Sequence):
        batch_size = PIECE
        held: tuple[int, Table] = (-1, np.empty((0, 0)))

        def __len__(self) -> int:
            return store.rows

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                return features.table(
                    store.slice(index.start, index.stop), None if fold is None else fold[index.start : index.stop]
                )
            start = int(index) // PIECE * PIECE  # rows that bins are chosen by are asked for one by one, in order
            if self.held[0] != start:
                self.held = start, self[start : start + PIECE]
            return self.held[1][index - start].copy()

    made = package.Dataset(
        Rows(), label=store.targets["labels"][:, 0], reference=like, params=options, free_raw_data=True,
        feature_name=[f"f{i}" for i in range(len(features.names))],
        categorical_feature=list(range(features.categories)),
    )  # fmt: skip
    found = made.construct()
    store.release()
    return found
