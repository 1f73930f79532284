"""Clicksmith in the peers' benchmark: our specs, our Store, our Trainer.

Options: prec=fp32|bf16, update=auto|dense|exact|lazy. For rates (`--mode rate`); every call of `train` is a training of
its own, so optimiser state does not live on between the epochs of `--mode auc`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import workloads
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.models.spec import CTRModel
from clicksmith.train.hook import Hook
from clicksmith.train.predict import predict_logits
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train


class _Told(Hook):
    """Tells the harness of every step."""

    def __init__(self, on_step):
        self.on_step = on_step

    def after_step(self, *_):
        self.on_step(None)


class Contender:
    name = "clicksmith"

    def __init__(self, prec="fp32", update="auto"):
        self.precision, self.update = prec, update

    def supports(self, work, model):
        return model in workloads.MODELS["A" if work.startswith("frappe") else "B"]

    def prepare(self, data, model, spec):
        torch.manual_seed(0)
        work = "A" if data.name == "frappe" else "B"
        layout = workloads.layout_of(list(data.cat_names), list(data.vocab), list(data.num_names))
        self.stores = {part: self._store(data[part], layout) for part in ("train", "valid", "test")}
        self.model = CTRModel(workloads.spec_of(work, model, spec["dim"]), layout)
        self.settings = TrainSettings(
            batch_size=spec["batch"],
            learning_rate=spec["lr"],
            table_l2=spec["emb_reg"],
            table_update=self.update,
            precision=self.precision,
            device="cpu",
        )

    def _store(self, part, layout):
        arrays = (np.ascontiguousarray(part[name]) for name in ("cat", "num", "y"))
        ids, numeric, labels = arrays
        return Store.of(EncodedRows(ids, numeric, labels=labels[:, None]), layout)

    def train(self, epochs, on_step):
        from msgspec.structs import replace

        train(self.model, self.stores["train"], None, replace(self.settings, epochs=epochs), hook=_Told(on_step))

    def predict(self, part):
        return 1 / (1 + np.exp(-predict_logits(self.model, self.stores[part])[:, 0].astype(np.float64)))
