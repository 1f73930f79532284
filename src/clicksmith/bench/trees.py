"""LightGBM, the baseline that advertisers really use (Ke et al., NeurIPS 2017), on `features` of the encoded rows."""

import time
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.features import PIECE, Features, Table, pieces
from clicksmith.bench.fitted import Fitted
from clicksmith.bench.row import Configuration
from clicksmith.encode.layout import Layout
from clicksmith.encode.store import Store
from clicksmith.errors import CompositionError, UsageError
from clicksmith.parts import Part
from clicksmith.train.monitor import Judge, measured, score_of
from clicksmith.train.progress import Plan, Progress
from clicksmith.train.settings import TrainSettings

LIGHTGBM = "LightGBM"
"""Its name among the models of a benchmark."""
_MOST_LEAVES = 131_072
_ROW = 64
"""Bytes of a row beside its features: gradients, scores, its leaf, its fold."""


class Trees(Part, frozen=True):
    """Gradient boosted trees. Early stopping looks at validation rows only."""

    leaves: int = 63
    """Of a tree, at most."""
    learning_rate: float = 0.05
    rounds: int = 2000
    """Trees, at most."""
    every: int = 10
    """Trees between two evaluations."""
    patience: int = 10
    """Stop after this many evaluations in a row that are no better than the best."""
    least_rows: int = 50
    """Of a leaf."""
    l2: float = 1.0
    row_share: float = 0.8
    """Of the rows, drawn for each tree."""
    column_share: float = 0.8
    """Of the features, drawn for each tree."""
    few: int = 256
    """Slots of at most so many ids are categories; ids of larger ones become a count and a click rate."""
    folds: int = 5
    """Click rates of training rows come from the other folds."""
    prior: float = 20.0
    """How many rows the mean click rate counts for in that of an id."""

    def __post_init__(self) -> None:
        """Check every value."""
        least: dict[str, float] = {"leaves": 2, "rounds": 1, "every": 1, "patience": 1, "least_rows": 1, "folds": 2}
        least |= {"l2": 0, "few": 0}
        bad = [f"{name} is {getattr(self, name)}; at least {low}" for name, low in least.items()
               if getattr(self, name) < low]  # fmt: skip
        above = ("learning_rate", "row_share", "column_share", "prior")
        bad += [f"{name} is {getattr(self, name)}; more than 0" for name in above if not getattr(self, name) > 0]
        most: dict[str, float] = {"row_share": 1, "column_share": 1, "leaves": _MOST_LEAVES, "folds": 255}
        bad += [f"{name} is {getattr(self, name)}; at most {high}" for name, high in most.items()
                if getattr(self, name) > high]  # fmt: skip
        if bad:
            raise CompositionError(f"trees: {bad[0]} is needed.")


def trees_memory(trees: Trees, layout: Layout, rows: int) -> int:
    """Return about how many bytes training holds: a byte per feature and row twice, and the statistics of ids."""
    features = Features(layout, few=trees.few, folds=0, prior=1)
    statistics = 8 * features.statistics + 4 * trees.folds * features.statistics
    return rows * (2 * len(features.names) + _ROW) + statistics


def lightgbm() -> Any:
    """Return the package. Raises UsageError saying what to install where it is missing."""
    try:
        return import_module("lightgbm")
    except (ImportError, OSError) as error:  # OSError: its library for threads is missing
        raise UsageError(
            f"the baseline {LIGHTGBM} needs the package lightgbm, which cannot be imported ({error}); "
            "install it with: pip install 'clicksmith[baselines]'."
        ) from error


def fit_trees(
    trees: Trees, asked: Configuration, rows: Store, valid: Store, progress: Progress, *, threads: int
) -> Fitted:
    """Grow trees until validation rows are served no better; the same with any number of threads."""
    package, seed = lightgbm(), asked.seed
    fold = np.random.default_rng(seed).integers(0, trees.folds, rows.rows, np.uint8)
    features = Features(rows.layout, few=trees.few, folds=trees.folds, prior=trees.prior)
    features.fit(rows, fold)
    options = _options(trees, seed, threads)
    learned = _data(package, features, rows, fold, options)
    judged = _data(package, features, valid, None, options, learned)
    booster = package.Booster(options, learned).add_valid(judged, "valid")
    judge = Judge(TrainSettings(monitor=asked.settings["monitor"], patience=trees.patience))
    curve: list[dict[str, Any]] = []
    progress.started(Plan(rows.rows, trees.every, trees.rounds, trees.rounds, 0, "cpu", "fp32"))
    seconds, done, reason = 0.0, 0, "epochs"
    while done < trees.rounds and reason == "epochs":
        began = time.monotonic()
        grown = min(trees.every, trees.rounds - done)
        stuck = any([booster.update() for _ in range(grown)])
        seconds, done = seconds + time.monotonic() - began, done + grown
        logits: list[NDArray[np.float64]] = []

        def look(scores: NDArray[np.float64], _: Any, keep: Any = logits) -> tuple[str, float, bool]:
            keep.append(scores)
            return "looked", 0.0, True

        booster.eval_valid(look)
        found = measured(logits[0].astype(np.float32)[:, None], valid, judge.settings.monitor)
        entry: dict[str, Any] = {
            "epoch": done, "step": done, "learning_rate": trees.learning_rate, "seconds": round(seconds, 3),
            "rows_per_second": round(rows.rows * done / seconds, 1), "valid": found,
            "best": judge.judge(score_of(found, judge.settings.monitor), done),
        }  # fmt: skip
        curve.append(entry)
        progress.evaluated(entry)
        reason = "no split left" if stuck else "patience" if judge.enough else "epochs"
    progress.finished(reason)
    best = next(entry for entry in curve if entry["step"] == judge.best_step)
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model(judge.best_step)["tree_info"])

    def score(store: Store) -> NDArray[np.float32]:
        found = [
            booster.predict(
                features.table(piece), raw_score=True, num_iteration=judge.best_step, num_threads=threads
            )
            for _, piece in pieces(store)
        ]  # fmt: skip
        return np.concatenate(found).astype(np.float32)

    return Fitted(
        score=score,
        embedding=features.statistics,
        dense=3 * leaves - 2 * judge.best_step,  # a value per leaf, a feature and a threshold per split
        flops_per_row=None,
        valid=best["valid"],
        epochs=done,
        best_epoch=best["epoch"],
        reason=reason,
        curve=curve,
        seconds_to_best=best["seconds"],
        rows_per_second=curve[-1]["rows_per_second"],
        device="cpu",
        packages={"lightgbm": package.__version__},
    )


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
