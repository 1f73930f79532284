"""What does `Embed.unseen_rate` buy? Logloss on rows whose user training never saw, and on the others.

    python benchmarks/unseen_ids.py            # a few minutes; writes benchmarks/results/unseen_ids.json

Planted data: a click depends on user, item and context; every value of training is known, so the unseen id occurs in
no training row. A third of the test rows have an unseen user. Rate 0 is what BARS and its code do: the unseen vector
keeps its initial value. Each figure is the mean over seeds, at the epoch that is best on all rows.
"""

import json
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as logloss

from clicksmith.batch.batch import Inputs
from clicksmith.encode.layout import UNSEEN, IdColumn, Layout, Slot
from clicksmith.models import MODELS
from clicksmith.models.spec import CTRModel
from machine import machine

RATES = (0.0, 0.01, 0.02, 0.05)
SEEDS = (0, 1, 2)
USERS, ITEMS, CONTEXTS, ROWS = 3000, 500, 20, 30_000
EFFECTS = [np.random.default_rng(0).normal(0, 0.7, n) for n in (USERS, ITEMS, CONTEXTS)]


def rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids [count, 3] (2 and more: known) and labels [count, 1]; users follow a power law."""
    random = np.random.default_rng(seed)
    users = np.minimum((random.pareto(1.0, count) * 20).astype(int), USERS - 1)
    ids = np.stack([users, random.integers(0, ITEMS, count), random.integers(0, CONTEXTS, count)], 1)
    logit = -1.5 + sum(effect[ids[:, c]] for c, effect in enumerate(EFFECTS))
    labels = random.random(count) < 1 / (1 + np.exp(-logit))
    return torch.from_numpy(ids + 2).int(), torch.from_numpy(labels).float().unsqueeze(1)


def trial(name: str, rate: float, seed: int) -> dict[str, float]:
    """Train and return the figures of the best epoch."""
    (ids, labels), (test_ids, test_labels) = rows(ROWS, 1 + seed), rows(ROWS, 100 + seed)
    torch.manual_seed(seed)
    strange = ~torch.isin(test_ids[:, 0], ids[:, 0]) | (torch.rand(ROWS) < 0.3)
    test_ids[strange, 0] = UNSEEN
    names = ("user", "item", "context")
    slots = tuple(Slot(n, size + 2) for n, size in zip(names, (USERS, ITEMS, CONTEXTS), strict=True))
    layout = Layout(slots=slots, ids=tuple(IdColumn(n, n) for n in names))
    spec = MODELS[name]()
    spec = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, dim=8, unseen_rate=rate))
    model, none = CTRModel(spec, layout), torch.zeros(ROWS, 0)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    epochs = []
    for _ in range(4):
        for part in torch.randperm(ROWS).split(1024):
            optimiser.zero_grad()
            logloss(model.train()(Inputs(ids[part], none[part])).logits, labels[part]).backward()
            optimiser.step()
        with torch.no_grad():
            logits = model.eval()(Inputs(test_ids, none)).logits
        each = logloss(logits, test_labels, reduction="none")[:, 0]
        ratio = torch.sigmoid(logits[strange]).mean() / test_labels[strange].mean()
        figures = {"all": each.mean(), "unseen": each[strange].mean(), "seen": each[~strange].mean(), "ratio": ratio}
        epochs.append({k: float(v) for k, v in figures.items()})
    return min(epochs, key=lambda e: e["all"])


def main() -> None:
    """Run every trial and write the means."""
    torch.set_num_threads(1)
    results = []
    for name in ("lr", "dnn", "deepfm"):
        for rate in RATES:
            trials = [trial(name, rate, seed) for seed in SEEDS]
            mean = {k: round(float(np.mean([t[k] for t in trials])), 4) for k in trials[0]}
            results.append({"model": name, "unseen_rate": rate, "seeds": len(SEEDS), **mean})
            print(results[-1], flush=True)
    path = Path(__file__).parent / "results" / "unseen_ids.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
