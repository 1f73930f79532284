"""OptInter on Frappe at the setting of its specification, beside every uniform choice and random Plans.

    python benchmarks/optinter_frappe.py --data FOLDER     # about ten minutes; writes results/optinter_frappe.json

Three layers of 256, vectors of 16, pair vectors of 8, first weights of deviation .01, Adam 1e-3, batches of 2,048, one
seed, the epoch that is best on validation. `reference` is what the same setting gave in an implementation apart from
ours, AUC and log-loss, where there is one.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import torch

from clicksmith.datasets.dataset import Dataset
from clicksmith.datasets.load import load
from clicksmith.embed.table import Plain
from clicksmith.fitting.job import fit
from clicksmith.models.dnn import dnn
from clicksmith.models.spec import ModelSpec
from clicksmith.plan import Plan
from clicksmith.plan.parts import FoundBy, PairOp, Pairs
from clicksmith.search.job import search
from machine import command, machine

STD, DIM = 0.01, 8
SETTINGS = {
    "batch_size": 2048, "learning_rate": 1e-3, "table_l2": 0.0, "monitor": "auc", "patience": 4, "plateau_factor": 1.0,
    "epochs": 40, "precision": "fp32",
}  # fmt: skip
SEARCH = {"std": STD, "dim": DIM, "candidates": 1}
REFERENCE = {
    "naive": (0.9739, 0.186), "factorise": (0.9770, 0.168), "memorise, min 1": (0.9831, 0.552),
    "memorise": (0.9802, 0.133), "memorise, min 5": (0.9763, 0.155), "only user x item": (0.9792, 0.145),
    "all but user x item": (0.9782, 0.156), "joint": (0.9807, 0.129), "bilevel": (0.9764, 0.173),
}  # fmt: skip
RANDOM = 5


def main() -> None:
    """Train and test every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of frappe_x1_rebuilt")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = load("frappe_x1_rebuilt", asked.data, fetch=False)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for name, plan in plans(data, Path(work)):
            results.append({"plan": name, **trained(data, plan, Path(work) / f"run{len(results)}")})
            if name in REFERENCE:
                results[-1] |= dict(zip(("reference", "reference_logloss"), REFERENCE[name], strict=True))
            print(results[-1], flush=True)
    told = {"command": command(), "machine": machine(), "settings": SETTINGS, "search": SEARCH, "results": results}
    path = Path(__file__).parent / "results" / "optinter_frappe.json"
    path.write_text(json.dumps(told, indent=1) + "\n")


def plans(data: Dataset, work: Path) -> Iterator[tuple[str, Plan | None]]:
    """Yield each Plan with its name; None is no pair at all."""
    names = [field.name for field in data.schema.fields]
    pairs = list(combinations(names, 2))
    apart = ("user", "item")
    yield "naive", None
    yield "factorise", uniform(pairs, "factorise")
    yield "memorise, min 1", uniform(pairs, "memorise", 1)
    yield "memorise", uniform(pairs, "memorise")
    yield "memorise, min 5", uniform(pairs, "memorise", 5)
    yield "only user x item", uniform([apart], "memorise")
    yield "all but user x item", uniform([pair for pair in pairs if set(pair) != set(apart)], "memorise")
    for name, options in {
        "joint": SEARCH | {"mode": "joint"},
        "bilevel": SEARCH,
        "default": {"dim": DIM},  # std .1, and the Plan of the counts as the other candidate
    }.items():
        yield name, found(data, options, work / f"{name}.json", seed=0)
    for seed in range(RANDOM):
        yield f"random {seed}", found(data, SEARCH | {"mode": "random"}, work / f"random{seed}.json", seed=seed)


def uniform(pairs: list[tuple[str, str]], op: Any, min_count: int = 2) -> Plan:
    """Return the Plan that treats all pairs alike."""
    ops = tuple(PairOp(fields=pair, op=op, dim=DIM, std=STD, min_count=min_count) for pair in pairs)
    return Plan(parts=(Pairs(pairs=ops, found_by=FoundBy(method="hand")),))


def found(data: Dataset, options: dict[str, Any], out: Path, *, seed: int) -> Plan:
    """Return the Plan that a search finds."""
    return search(
        "optinter", data.train, valid=data.valid, schema=data.schema, backbone=backbone(), options=options,
        settings=SETTINGS, seed=seed, out=out,
    )  # fmt: skip


def trained(data: Dataset, plan: Plan | None, out: Path) -> dict[str, Any]:
    """Return the test figures of the backbone under a Plan, and what the Plan has."""
    run = fit(
        data.train, valid=data.valid, test=data.test, schema=data.schema, model=backbone(), settings=SETTINGS,
        plan=plan or (), seed=0, calibration="none", out=out,
    )  # fmt: skip
    test, model = run.metrics["test"], run.predictor().artifact.model
    ops = [pair.op for part in (plan.parts if plan else ()) if isinstance(part, Pairs) for pair in part.pairs]
    return {
        "auc": round(test["auc"], 5),
        "logloss": round(test["logloss"], 5),
        "memorised": ops.count("memorise"),
        "factorised": ops.count("factorise"),
        "embedding": model.parameter_counts().embedding,
    }


def backbone() -> ModelSpec:
    """Return the network of the specification."""
    spec = dnn(dim=16, units=(256, 256, 256), batch_norm=False, dropout=0.0)
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=Plain(std=STD)))


if __name__ == "__main__":
    main()
