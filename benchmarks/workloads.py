"""The two work loads of the training benchmarks, the models on them, and a bare training loop.

A: Frappe's size (10 id fields, 5.4k ids, dim 10, batch 4096, dense L2). B: Criteo's shape (26 id and 13 numeric fields,
5 million ids, dim 16, batch 10,000). Settings are those of the peers' benchmark, so that rows/s can be compared.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from clicksmith.batch.batch import Inputs
from clicksmith.encode.layout import IdColumn, Layout, NumericColumn, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.train.dense import DenseOptimizer
from clicksmith.train.rows import RowOptimizers, row_optimizers
from clicksmith.train.settings import Precision, TrainSettings
from clicksmith.train.trainer import train

FRAPPE = {"user": 957, "item": 4082, "daytime": 7, "weekday": 7, "isweekend": 2, "homework": 3, "cost": 2, "weather": 9}
FRAPPE |= {"country": 80, "city": 233}
CRITEO = (
    1461,
    584,
    10131227,
    2202608,
    306,
    24,
    12518,
    634,
    4,
    93146,
    5684,
    8351593,
    3195,
    28,
    14993,
    5461306,
    11,
    5653,
)
CRITEO += (2173, 4, 7046547, 18, 16, 286181, 105, 142572)


@dataclass
class Work:
    """A work load: data in memory, and its settings."""

    name: str
    layout: Layout
    ids: np.ndarray
    numeric: np.ndarray
    labels: np.ndarray
    dim: int
    batch: int
    l2: float
    histories: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


def layout_of(names: list[str], rows: list[int], numbers: list[str]) -> Layout:
    slots = tuple(Slot(n, r) for n, r in zip(names, rows, strict=True))
    order = (*numbers, *names)
    return Layout(
        slots=slots,
        ids=tuple(IdColumn(n, n) for n in names),
        numeric=tuple(NumericColumn(n) for n in numbers),
        order=order,
    )


def work_a(rows: int = 200_000) -> Work:
    """Return random rows of Frappe's size, skewed as real ids are."""
    random, sizes = np.random.default_rng(0), [v + 2 for v in FRAPPE.values()]
    ids = np.stack([skewed(random, rows, size) for size in sizes], 1)
    labels = (random.random(rows) < 0.33).astype(np.float32)
    return Work("A", layout_of(list(FRAPPE), sizes, []), ids, np.zeros((rows, 0), np.float32), labels, 10, 4096, 0.05)


def work_b(rows: int = 200_000, total: int = 5_000_000) -> Work:
    """Return random rows of Criteo's shape with about `total` ids."""
    random, card = np.random.default_rng(1), np.array(CRITEO, float)
    small = card < 20_000
    card[~small] *= (total - card[small].sum()) / card[~small].sum()
    sizes = [int(c) + 3 for c in card]
    ids = np.stack([skewed(random, rows, size) for size in sizes], 1)
    numeric = np.log1p(random.exponential(1, (rows, 13))).astype(np.float32)
    labels = (random.random(rows) < 0.25).astype(np.float32)
    names = [f"C{i + 1}" for i in range(26)], [f"I{i + 1}" for i in range(13)]
    return Work("B", layout_of(names[0], sizes, names[1]), ids, numeric, labels, 16, 10_000, 0.0)


def skewed(random: np.random.Generator, rows: int, size: int, power: float = 1.05) -> np.ndarray:
    """Return ids 1 .. size - 1 of a bounded Zipf law."""
    top = size - 2
    value = ((top ** (1 - power) - 1) * random.random(rows) + 1) ** (1 / (1 - power))
    return np.minimum(value.astype(np.int64), top).astype(np.int32)


def spec_of(work: str, model: str, dim: int) -> ModelSpec:
    """Return the model of the peers' benchmark as our spec."""
    mlp: dict[str, Any] = {"units": (400, 400, 400), "batch_norm": work == "A"}
    if model == "DNN":
        return model_spec("dnn", dim=dim, dropout=0.2 if work == "A" else 0.1, **mlp)
    if model == "DCNv2":
        layers, dropout = (4, 0.4) if work == "A" else (3, 0.1)
        return model_spec("dcnv2", dim=dim, layers=layers, dropout=dropout, **mlp)
    if model == "DeepFM":
        return model_spec("deepfm", dim=dim, dropout=0.2, **mlp)
    if model == "AutoInt":
        attention: dict[str, Any] = {"layers": 5, "width": 128, "heads": 4, "residual": "identity", "scale": True}
        attention |= {"norm": "pre_relu", "attention_dropout": 0.1}
        return model_spec("autoint_plus", dim=dim, dropout=0.1, **attention, **mlp)
    if work == "A":
        sizes: dict[str, Any] = {"units1": (400,), "units2": (100,), "dropout1": 0.4, "dropout2": 0.4, "heads": 5}
        gates: dict[str, Any] = {"gate_units": (400,), "context1": ("user",), "context2": ("item",)}
        return model_spec("finalmlp", dim=dim, batch_norm=True, **sizes, **gates)
    sizes = {"units1": (400, 400, 400), "units2": (400,), "dropout1": 0.1, "dropout2": 0.1, "heads": 50}
    return model_spec("finalmlp", dim=dim, batch_norm=False, gate=False, **sizes)


MODELS = {"A": ("DNN", "FinalMLP", "DCNv2", "DeepFM", "AutoInt"), "B": ("DNN", "FinalMLP", "DCNv2")}


def epochs_per_second(work: Work, spec: ModelSpec, windows: int, precision: Precision = "fp32") -> list[float]:
    """Return the speed of our trainer's epochs, the first (warm-up) left out."""
    torch.manual_seed(0)
    rows = EncodedRows(work.ids, work.numeric, histories=work.histories, labels=work.labels[:, None])
    settings = TrainSettings(
        epochs=windows + 1, batch_size=work.batch, table_l2=work.l2, precision=precision, device="cpu"
    )
    history = train(CTRModel(spec, work.layout), Store.of(rows, work.layout), None, settings).history
    ends = [entry["seconds"] for entry in history]
    return [1 / (end - start) for start, end in itertools.pairwise(ends)]


class Stepper:
    """A bare training loop: what a step costs without the trainer around it."""

    def __init__(
        self, work: Work, model: str | ModelSpec, *, precision: str = "fp32", update: Any = "auto", lr: float = 1e-3
    ) -> None:
        torch.manual_seed(0)
        self.work, self.lr, self.low = work, lr, precision == "bf16"
        spec = spec_of(work.name, model, work.dim) if isinstance(model, str) else model
        self.model = CTRModel(spec, work.layout).train()
        self.rows: RowOptimizers = row_optimizers(self.model, l2=work.l2, update=update)
        tables = {id(o.store.weight) for o in self.rows.optimizers}
        dense = [p for p in self.model.parameters() if id(p) not in tables]
        self.dense = DenseOptimizer("adam", dense)
        self.ids, self.numeric, self.labels = (torch.from_numpy(a) for a in (work.ids, work.numeric, work.labels))
        self.batches = self._batches()

    def _batches(self) -> Iterator[torch.Tensor]:
        while True:
            order = torch.randperm(len(self.labels))
            yield from order[: len(order) // self.work.batch * self.work.batch].split(self.work.batch)

    def step(self) -> float:
        """Train on one batch."""
        rows = next(self.batches)
        inputs, labels = Inputs(self.ids[rows], self.numeric[rows]), self.labels[rows]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low):
            logits = self.model(inputs).logits
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float().squeeze(1), labels)
        loss.backward()
        self.dense.step(self.lr)
        self.dense.zero_grad()
        self.rows.step(self.lr)
        return float(loss.detach())
