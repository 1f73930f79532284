"""OptFS beyond its parts: hard gates are the small model, L2 leaves gates alone, the search goes on to the end."""

from itertools import combinations
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from clicksmith.embed.table import Plain
from clicksmith.errors import DivergedError
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.job import fit
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.plan import Plan
from clicksmith.search import optfs
from clicksmith.search.gates import FeatureGate, FeatureGateModule
from clicksmith.search.job import search
from clicksmith.search.optfs import GATE, GateHook, OptFS, gated_spec
from clicksmith.search.rewound import rewound
from clicksmith.testing import planned
from clicksmith.testing.layouts import LAYOUTS
from clicksmith.testing.subject import Subject, require_close
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from search.features_world import SCHEMA, planted
from train.worlds import LAYOUT, SIZES, clicks


def gate_in(model: CTRModel) -> FeatureGateModule:
    return cast("FeatureGateModule", model.embedder.gate)


def plain_weights(model: CTRModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in weights_of(model).items() if not name.startswith(GATE)}


@pytest.mark.parametrize("name", MODELS)
def test_with_hard_gates_the_model_is_the_small_one_with_its_vectors_scaled(name):
    """Of IPNN too, whose released search and refit keep soft gates. Histories, bags, views, shared vocabularies."""
    spec = MODELS[name]()
    if not all(isinstance(table, Plain) for table in (spec.embed.table, spec.embed.view_table)) or spec.embed.ids:
        pytest.skip("no row per id, or a gate of its own")
    subject = Subject(MODELS[name], spec)
    model = subject.model(spec=gated_spec(spec, 0.3))
    gate, kept = gate_in(model), {slot: planned.kept_of(rows) for slot, rows in subject.layout.rows.items()}
    with torch.no_grad():
        gate.temperature.fill_(1e6)
        for slot, mask in kept.items():
            at = gate.store.starts[slot]
            gate.gates[at : at + len(mask), 0] = torch.where(mask, 0.02, -0.02)
    masks = gate.kept()
    assert all(masks[slot].tolist() == mask.tolist() for slot, mask in kept.items())
    small = subject.model(seed=1, layout=planned._compact(subject.layout, zeros=True))
    rewound(small, plain_weights(model), masks, gate.scale)
    inputs = subject.inputs(24)
    few = planned._renumbered(inputs, subject.layout, lambda rows: planned._numbers(rows, planned.ZERO))
    require_close(small(few).logits, model(inputs).logits, "hard gates", 1e-5)


def test_what_is_kept_is_what_c_says_and_not_the_scaled_gate():
    gate = FeatureGate(start=2.0).build((("a", 6),))
    with torch.no_grad():
        gate.gates[:, 0] = torch.tensor([2.0, -1.0, 1e-6, -1e-6, 0.0, -0.5])  # all gates are above 0.3 at T = 1
    assert bool((gate(torch.arange(6).unsqueeze(1), ("a",)) > 0.3).all())
    assert gate.kept()["a"].tolist() == [True, True, True, False, False, False]


def test_gated_pairs_of_a_factorisation_machine_equal_their_loops():
    layout = LAYOUTS["ids"]
    subject = Subject(MODELS["fm"], model_spec("fm", dim=4), layout)
    model = subject.model(spec=gated_spec(subject.spec, 0.5)).double()
    gate, inputs = gate_in(model), subject.inputs(6)
    with torch.no_grad():
        gate.gates.uniform_(-1, 1)
        gate.temperature.fill_(3.0)
    slots = [c.slot for c in layout.ids]
    for row, logit in zip(inputs.ids.tolist(), model(inputs).logits[:, 0], strict=True):
        gates = [torch.sigmoid(3 * gate.gates[gate.store.starts[s] + i, 0]) * gate.scale
                 for s, i in zip(slots, row, strict=True)]  # fmt: skip
        vectors, weights = (
            [store.weight[store.starts[s] + i] for s, i in zip(slots, row, strict=True)]
            for store in (model.embedder.columns.table.store, model.embedder.views[0].columns.table.store)
        )
        expected = model.head.bias[0] + sum(g * w[0] for g, w in zip(gates, weights, strict=True))
        for i, j in combinations(range(len(slots)), 2):
            expected = expected + gates[i] * gates[j] * (vectors[i] @ vectors[j])
        torch.testing.assert_close(logit, expected)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any operation made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [x for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, torch.Tensor)]
        self.most = max([self.most, *(x.numel() for x in made if not x._is_view())])
        return out


@pytest.mark.parametrize("rows", [1000, 1_000_000])
def test_a_gate_is_looked_up_by_id_and_never_computed_for_the_vocabulary(rows):
    gate = FeatureGate().build((("a", rows), ("b", 10)))
    ids = torch.full((32, 2), 5, dtype=torch.int32)
    with torch.no_grad(), Largest() as seen:
        gate(ids, ("a", "b"))
    assert 64 <= seen.most <= 4 * 64


# ---- the search's training


class Seen(GateHook):
    """Remembers the weights with which each epoch began."""

    def __init__(self, *args):
        super().__init__(*args)
        self.began: list[dict[str, torch.Tensor]] = []

    def begin_epoch(self, epoch):
        super().begin_epoch(epoch)
        self.stepper.optimizers.flush()
        self.began.append(plain_weights(cast("CTRModel", self.stepper.model)))


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_rewind_is_every_weight_of_that_epoch_bit_for_bit(epoch, tmp_path):
    """Cross biases and running means too, which the released code leaves as searched."""
    spec = model_spec("dcn", dim=4, units=(8,), dropout=0.0)
    model = new_model(gated_spec(spec, 0.5), LAYOUT, 0)
    hook = Seen(OptFS(epochs=3, rewind=epoch), gate_in(model), tmp_path / "rewind.safetensors")
    settings = TrainSettings(epochs=3, batch_size=32, learning_rate=0.05, table_update="exact", evaluate_every=99)
    train(model, clicks(200), None, settings, hook=hook)
    kept, found = load_file(tmp_path / "rewind.safetensors"), hook.began[epoch]
    assert kept.keys() == found.keys() >= {name for name in found if "bias" in name or "running_mean" in name}
    whole = {slot: planned.kept_of(3)[:1].repeat(rows).numpy() for slot, rows in LAYOUT.rows.items()}
    back = weights_of(rewound(new_model(spec, LAYOUT, 9), kept, whole, 1.0))
    for name, tensor in found.items():
        torch.testing.assert_close(kept[name], tensor, rtol=0, atol=0)
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)
    if epoch:
        moved = {name for name, tensor in found.items() if not torch.equal(tensor, hook.began[epoch - 1][name])}
        assert {name for name in found if "bias" in name or "running_mean" in name} <= moved


def test_l2_does_not_reach_the_gates():
    rows = clicks(30)
    met = {int(i) for i in rows.slice(0, 30).ids[:, 0]}
    never = [i for i in range(2, SIZES["user"]) if i not in met]
    model = new_model(gated_spec(model_spec("fm", dim=4), 0.5), LAYOUT, 0)
    before = model.embedder.columns.table.store.weight.detach().clone()
    settings = TrainSettings(epochs=2, batch_size=10, learning_rate=0.05, table_l2=0.5, dense_l2=0.5)
    train(model, rows, None, settings, hook=GateHook(OptFS(epochs=2, penalty=0.0), gate_in(model), Path("never")))
    assert never and all(float(gate_in(model).gates[i]) == 0.5 for i in never)
    table = model.embedder.columns.table.store
    assert all(bool((table.weight[i] != before[i]).all()) for i in never)  # which it does reach


def test_the_search_goes_on_until_gates_are_hard_though_validation_falls(tmp_path, monkeypatch):
    found = []

    def noted(*args, **how):
        found.append(train(*args, **how))
        return found[-1]

    monkeypatch.setattr(optfs, "train", noted)
    steep = {"batch_size": 64, "learning_rate": 1.0, "monitor": "auc", "patience": 1, "epochs": 1, "steps": 3}
    search("optfs", planted(600, 3), schema=SCHEMA, backbone="lr", settings=steep, out=tmp_path / "plan.json",
           options={"epochs": 5, "temperature": 1e4, "penalty": 1e-6, "gate_rate": 1e-3})  # fmt: skip
    history = found[0].history
    assert [round(entry["temperature"]) for entry in history] == [1, 10, 100, 1000, 10000]
    scores = [entry["valid"]["auc"] for entry in history]
    assert max(scores) > scores[-1] and found[0].metrics["auc"] == scores[-1]  # the end counts, not the best


def test_a_gate_that_is_not_finite_is_seen_between_two_evaluations():
    model = new_model(gated_spec(model_spec("lr"), 0.5), LAYOUT, 0)
    hook = GateHook(OptFS(), gate_in(model), Path("never"))
    hook.mover = type("Still", (), {"step": lambda self, rate: None})()
    with torch.no_grad():
        gate_in(model).gates[3] = float("nan")
    hook.before_update(63, 0.1)
    with pytest.raises(DivergedError, match=r"not finite at step 64 \(learning rate 0\.1\); use a lower one, or give"):
        hook.before_update(64, 0.1)


def test_a_plan_of_deepfm_survives_its_file_and_trains_autoint(tmp_path):
    rows = planted(2000)
    plan = search("optfs", rows, schema=SCHEMA, backbone="deepfm", model_options={"dim": 4, "units": (8,)},
                  settings={"batch_size": 64, "learning_rate": 0.02}, options={"epochs": 2, "penalty": 1e-3},
                  out=tmp_path / "plan.json")  # fmt: skip
    assert Plan.load(tmp_path / "plan.json") == plan
    run = fit(rows, schema=SCHEMA, model="autoint", options={"dim": 4, "layers": 1}, plan=tmp_path / "plan.json",
              epochs=1, out=tmp_path / "run")  # fmt: skip
    kept = {slot: int(mask.values.sum()) for slot, mask in plan.parts[0].slots.items()}
    assert run.predictor().artifact.encoder.layout.rows == kept
    assert 0 < sum(kept.values()) - 12 < 600
