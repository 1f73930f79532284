"""One run of the study of Plans, in a process of its own: search, refit under what was found, test once, record.

RESULTS/DATASET/BACKBONE/METHOD/SEED.json, and SEED.npy with the test logits in half precision; DATASET/test_labels.npy,
and DATASET/test_groups.npy where rows have groups.
"""

import time
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from clicksmith.bench.facts import GROUPS, LABELS, store_facts
from clicksmith.bench.row import write_array
from clicksmith.bench.settings import Contestant, contestants, settings_for
from clicksmith.datasets.dataset import Dataset, Rows
from clicksmith.datasets.load import load
from clicksmith.embed.rows import row_stores
from clicksmith.encode.source import open_source
from clicksmith.errors import CompositionError
from clicksmith.evaluate.predictions import Predictions
from clicksmith.fitting.asked import AskedSchema
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models.spec import CTRModel
from clicksmith.plan import Pairs, Plan
from clicksmith.run import Run, write_json
from clicksmith.search.job import search, start_of
from clicksmith.serve.size import size_of
from latency import timed
from machine import machine
from plans_recipes import PLAIN, Asked, Facts, Recipe, Refused, needs, recipe

METRICS = ("auc", "logloss")


class Clock(Quiet):
    """Sums the processor seconds between the beginnings and ends of trainings, and keeps what is said."""

    def __init__(self) -> None:
        self.seconds, self.began, self.lines = 0.0, 0.0, list[str]()

    def started(self, _: Any) -> None:
        """Start the clock."""
        self.began = time.process_time()

    def finished(self, _: str) -> None:
        """Stop it."""
        self.seconds += time.process_time() - self.began

    def said(self, text: str) -> None:
        """Keep it, but for what the record says elsewhere."""
        if not text.startswith(("split: ", "rows: ", "plan: ")):
            self.lines.append(text)

    def noted(self, text: str) -> None:
        """Keep it."""
        self.lines.append(f"note: {text}")


def run(asked: Asked) -> Facts:
    """Make a run and write its record; one that cannot be is recorded with the reason."""
    warnings.simplefilter("ignore")
    about = {"command": asked.command, "machine": machine(), "dataset": asked.dataset, "backbone": asked.backbone}
    about |= {"method": asked.method, "seed": asked.seed, "train": asked.train}
    known = {name: msgspec.json.decode(asked.record(name).read_bytes()) for name in needs(asked.method)}
    try:
        facts = about | _made(asked, recipe(asked.searches, asked.method, known))
    except (Refused, CompositionError) as error:
        facts = about | {"refused": str(error)}
    write_json(asked.record(), facts)
    return facts


def _made(asked: Asked, wanted: Recipe) -> Facts:
    data, one = dataset(asked), contestant(asked, wanted.dim)
    given = {"valid": data.valid, "schema": AskedSchema(data.schema, data.root), "seed": asked.seed}
    given |= {"settings": one.settings, "name": asked.backbone}
    clock, plans, start = Clock(), list[Plan](), None
    began = time.process_time()
    for i, step in enumerate(wanted.steps):
        out = Path(asked.work) / f"plan{i}.json"
        plans.append(
            search(step.search, data.train, backbone=one.spec, options=step.options, plan=plans, out=out,
                   progress=clock, **given)
        )  # fmt: skip
        start = start_of(out) if step.start else None
    spent = {"search": time.process_time() - began, "search_training": clock.seconds}
    clock.seconds, began = 0.0, time.process_time()
    made = fit(
        data.train, test=data.test, model=one.spec, plan=plans, start=start, calibration="none", progress=clock,
        out=Path(asked.work) / "run", **given,
    )  # fmt: skip
    spent |= {"refit": time.process_time() - began, "refit_training": clock.seconds}
    _store(asked, Predictions.open(made.folder.predictions("test")))
    curve = [line for line in made.folder.read_log() if line["kind"] == "evaluation"]
    best = max(curve, key=lambda line: line["valid"][one.settings.monitor])
    facts = _size(made, data.test)
    if asked.method == PLAIN:
        facts["embedding_by_dim"] = _sizes(asked, made)
    return {
        "searches": msgspec.to_builtins(wanted.steps),
        **{part: {name: made.metrics[part][name] for name in METRICS} for part in ("valid", "test")},
        **facts,
        "cpu_seconds": {name: round(seconds, 2) for name, seconds in spent.items()},
        "epochs": len(curve),
        "best_epoch": best["epoch"],
        "plan": [line for plan in plans for line in plan.summary()],
        "pairs": Counter(
            pair.op for plan in plans for part in plan.parts if isinstance(part, Pairs) for pair in part.pairs
        ),
        "scores": [part.found_by.scores for plan in plans for part in plan.parts],
        "said": clock.lines,
    }


def dataset(asked: Asked) -> Dataset:
    """Return the data: a published set, or one that a TOML file declares."""
    if asked.dataset.endswith(".toml"):
        return Dataset.from_toml(asked.dataset)
    return load(asked.dataset, asked.folder, fetch=False)


def contestant(asked: Asked, dim: int | None) -> Contestant:
    """Return the backbone with the benchmark's tuned settings, or with vectors of another length."""
    (found,) = contestants(settings_for(asked.dataset), [asked.backbone], train=asked.train)
    return found if dim is None else replace(found, spec=found.function(**{**found.options, "dim": dim}))


def _sizes(asked: Asked, made: Run) -> dict[int, int]:
    """Return how many parameters embed at other dimensions, up to four times the tuned one."""
    artifact = made.predictor().artifact
    found: dict[int, int] = {}
    for dim in range(1, 4 * artifact.spec.embed.dim + 1):
        with torch.device("meta"):
            spec = contestant(asked, dim).spec
            found[dim] = CTRModel(spec, artifact.encoder.layout).parameter_counts().embedding
    return found


def _size(made: Run, rows: Rows) -> Facts:
    """Return how large the model is, and how long it takes for raw rows in milliseconds of wall time."""
    predictor = made.predictor()
    model, slots = predictor.artifact.model, predictor.artifact.encoder.layout.slots
    counts, size = model.parameter_counts(), size_of(made.path)
    frame = next(iter(open_source(rows).batches())).head(100)
    raw = frame.drop(predictor.artifact.schema.labels[0].name).to_dicts()
    waited = {str(n): timed(partial(predictor.predict, raw[:n]), 0.3)["p50_ms"] for n in (1, len(raw))}
    return {
        "parameters": counts.total,
        "embedding": counts.embedding,
        "rows": sum(slot.rows for slot in slots),
        "slots": len(slots),
        "dim": predictor.artifact.spec.embed.dim,
        "bytes": {
            "tables": sum(s.weight.numel() * s.weight.element_size() for s in row_stores(model)),
            "memory": size.memory,
            "encoder": size.encoder,
            "disk": size.disk,
        },
        "latency_ms": waited,
    }


def _store(asked: Asked, predictions: Predictions) -> None:
    """Write the test logits in half precision, and labels and groups if they are not there."""
    write_array(asked.record().with_suffix(".npy"), np.clip(predictions.logits[:, 0], -65504, 65504).astype(np.float16))
    facts: dict[str, np.ndarray] = {LABELS: predictions.labels[:, 0].astype(np.uint8)}
    if predictions.groups is not None:
        facts[GROUPS] = np.unique(predictions.groups, return_inverse=True)[1].astype(np.int32)
    store_facts(asked.record().parents[2], facts)
