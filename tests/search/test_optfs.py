"""OptFS: gates by loops, the schedule, degenerate settings, planted features, and what is refused."""

import json
import shutil
import signal
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import warm
from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DivergedError, UsageError
from clicksmith.evaluate import auc
from clicksmith.fitting.asked import new_model, spec_for
from clicksmith.fitting.job import fit
from clicksmith.fitting.split import parts_of
from clicksmith.models import MODELS, model_spec
from clicksmith.plan import KeptFeatures, Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.overlap import overlap
from clicksmith.plan.parts import FoundBy
from clicksmith.search.gates import DenseGates, FeatureGate, FeatureGateModule, LazyGates, lowered
from clicksmith.search.job import search
from clicksmith.search.optfs import STRIDE, GateHook, OptFS, gated_spec, stuck, temperature_at
from clicksmith.serve.predictor import load
from clicksmith.testing.subject import Subject
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.dense import DenseOptimizer
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from search.features_world import NAMES, SCHEMA, planted
from train.worlds import LAYOUT, clicks


def gate_of(penalty: float, *, lazy: bool) -> tuple[FeatureGateModule, LazyGates | None]:
    """Return a gate in float64 with spread values, and what moves it lazily."""
    gate = FeatureGateModule((("a", 5), ("b", 4)), 0.5).double()
    with torch.no_grad():
        gate.gates.copy_(torch.linspace(-0.4, 0.6, 9).double().unsqueeze(1))
    return gate, LazyGates(gate, penalty) if lazy else None


QUICK = {"batch_size": 512, "learning_rate": 5e-3, "table_l2": 0.0, "monitor": "auc"}


FAST = {**QUICK, "batch_size": 64, "learning_rate": 0.02}
"""Steps enough for a few rows to close gates."""


@pytest.mark.parametrize("name", MODELS)
def test_with_every_gate_at_its_start_the_model_is_the_plain_one(name):
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    gated = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=FeatureGate()))
    plain, search_model = subject.model(), subject.model(spec=gated)
    state = search_model.state_dict()
    search_model.load_state_dict(state | plain.state_dict())
    inputs = subject.inputs(16)
    torch.testing.assert_close(search_model(inputs).logits, plain(inputs).logits, rtol=0, atol=0)


def test_the_gate_and_its_gradient_equal_their_loops():
    gate = FeatureGate(start=0.5).build((("a", 5), ("b", 4))).double()
    with torch.no_grad():
        gate.gates.copy_(torch.linspace(-1, 1, 9).double().unsqueeze(1))
        gate.temperature.fill_(3.0)
    ids = torch.tensor([[2, 3], [4, 1], [2, 0]], dtype=torch.int32)
    out = gate(ids, ("a", "b"))
    expected, grads = torch.zeros(3, 2, 1).double(), torch.zeros(9).double()
    scale = 1 / torch.sigmoid(torch.tensor(0.5).double())
    for r in range(3):
        for c, start in enumerate((0, 5)):
            i = start + int(ids[r, c])
            s = torch.sigmoid(3.0 * gate.gates[i, 0].detach())
            expected[r, c, 0] = s * scale
            if ids[r, c] != 0:  # padding learns nothing
                grads[i] += (r + 1) * scale * 3.0 * s * (1 - s)
    torch.testing.assert_close(out, expected)
    (out * torch.tensor([1.0, 2.0, 3.0]).double().reshape(3, 1, 1)).sum().backward()
    torch.testing.assert_close(gate.gates.grad[:, 0], grads)


def test_gates_outside_the_batch_get_exactly_the_gradient_of_the_penalty():
    gate, _ = gate_of(0.0, lazy=False)
    gate.temperature.fill_(4.0)
    mover, before = DenseGates(gate, 0.3), gate.gates.detach().clone()
    mover.adam = DenseOptimizer("sgd", [gate.gates])
    mover.step(0.1)
    s = torch.sigmoid(4.0 * before)
    expected = before - 0.1 * 0.3 * 4.0 * s * (1 - s)
    expected[[0, 1, 5, 6]] = before[[0, 1, 5, 6]]  # padding and unseen pay nothing
    torch.testing.assert_close(gate.gates.detach(), expected)


def test_lazy_gates_end_where_explicit_steps_do():
    (lazy, mover), (explicit, _) = gate_of(0.02, lazy=True), gate_of(0.02, lazy=False)
    assert mover is not None
    batches = [torch.tensor([[2, 3], [4, 2]]), torch.tensor([[3, 0], [3, 1]]), torch.tensor([[2, 3], [1, 3]])]
    features = explicit.features()
    for heat in (1.0, 5.0):
        for gate in (lazy, explicit):
            mover.settle()
            gate.temperature.fill_(heat)
        for number in range(600):
            ids, rate = batches[number % 3], 0.002 / (1 + number % 2)
            for gate in (lazy, explicit):
                (
                    gate(ids.int(), ("a", "b")) * torch.tensor([[[1.0], [-2.0]], [[0.5], [1.0]]]).double()
                ).sum().backward()
            mover.step(rate)
            with torch.no_grad():
                s = torch.sigmoid(heat * explicit.gates)
                explicit.gates.sub_(rate * (explicit.gates.grad + 0.02 * heat * s * (1 - s) * features))
            explicit.gates.grad = None
    mover.settle()
    torch.testing.assert_close(lazy.gates.detach(), explicit.gates.detach(), rtol=0, atol=3e-5)


def test_the_flow_of_the_penalty_equals_many_small_steps():
    u, by = torch.linspace(-3, 6, 19).double(), torch.full((19,), 2.0).double()
    small = u.clone()
    for _ in range(20_000):
        small -= 2.0 / 20_000 / (2 + 2 * torch.cosh(small))
    torch.testing.assert_close(lowered(u, by), small, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("heat", "gap"), [(10, 0.76), (100, 0.40), (1000, 2.7e-5)])
def test_the_gate_approaches_its_hard_form(heat, gap):
    c = torch.cat([torch.linspace(0.011, 1, 500), -torch.linspace(0.011, 1, 500)])
    gate = FeatureGateModule((("a", 1000),), 0.5)
    with torch.no_grad():
        gate.gates[:, 0] = c
        gate.temperature.fill_(heat)
    soft = gate(torch.arange(1000).unsqueeze(1), ("a",))[:, 0, 0]
    assert float((soft - (c > 0) * gate.scale).abs().max()) == pytest.approx(gap, rel=0.03)


def test_the_temperature_rises_geometrically_and_one_epoch_is_hot():
    assert [round(temperature_at(e, OptFS(epochs=5, temperature=1e4))) for e in range(5)] == [1, 10, 100, 1000, 10000]
    assert temperature_at(0, OptFS(epochs=1, temperature=50.0)) == 50.0


def test_noise_fields_lose_their_features_and_quality_stays(tmp_path):
    rows, valid, test = planted(40_000, 1), planted(4000, 2), planted(8000, 3)
    plan = search(
        "optfs", rows, valid=valid, schema=SCHEMA, backbone="fm", model_options={"dim": 4}, settings=QUICK,
        options={"epochs": 10, "penalty": 2.3e-4}, out=tmp_path / "plan.json",
    )  # fmt: skip
    (part,) = plan.parts
    assert isinstance(part, KeptFeatures)
    encoder = Encoder.fit(SCHEMA, rows)
    useful: list[bool] = []
    noise: list[bool] = []
    for i, name in enumerate(NAMES):
        for value, kept in zip(encoder.values(name), part.slots[name].values[2:], strict=True):
            (useful if i < 3 and int(value[1:]) % 2 == 0 else noise if i >= 3 else []).append(bool(kept))
    assert np.mean(noise) <= 0.05, f"{np.mean(noise):.2f} of the noise is kept"
    assert np.mean(useful) - np.mean(noise) >= 0.4, f"{np.mean(useful):.2f} of what is useful is kept"
    asked = {
        "valid": valid,
        "schema": SCHEMA,
        "model": "fm",
        "options": {"dim": 4},
        "settings": {**QUICK, "patience": 2},
    }
    found = {}
    for name, under in (("plain", ()), ("small", tmp_path / "plan.json")):
        run = fit(rows, out=tmp_path / name, plan=under, epochs=8, **asked)
        found[name] = auc(test["click"].to_numpy(), load(run.path).predict(test.drop("click")))
    assert found["small"] > found["plain"] - 0.005


@pytest.mark.slow
def test_five_seeds_agree_far_above_chance_on_what_to_keep(tmp_path):
    rows, valid = planted(40_000, 1), planted(4000, 2)
    plans = [
        search(
            "optfs", rows, valid=valid, schema=SCHEMA, backbone="fm", model_options={"dim": 4}, settings=QUICK, seed=s,
            options={"epochs": 10, "penalty": 2.3e-4}, out=tmp_path / f"{s}.json",
        )
        for s in range(5)
    ]  # fmt: skip
    shares = [plan.parts[0].found_by.scores["kept"] for plan in plans]
    agree, _ = overlap(plans)
    chance = np.mean(shares) / (2 - np.mean(shares))  # of sets drawn by chance
    print(f"Jaccard overlap {agree:.3f}, of as many features by chance {chance:.3f}")
    assert agree > 0.7 and agree > 2 * chance


def test_a_plan_found_with_one_backbone_trains_another_and_is_repeatable(tmp_path):
    rows = planted(3000)
    plans = [
        search("optfs", rows, schema=SCHEMA, backbone="deepfm", model_options={"dim": 4, "units": (8,)}, settings=FAST,
               options={"epochs": 2, "penalty": 1e-3}, out=tmp_path / f"{i}.json")
        for i in range(2)
    ]  # fmt: skip
    assert plans[0].digest == plans[1].digest
    again = search("optfs", rows, schema=SCHEMA, backbone="deepfm", model_options={"dim": 4, "units": (8,)},
                   settings=FAST, options={"epochs": 2, "penalty": 1e-3}, out=tmp_path / "0.json")  # fmt: skip
    assert again == plans[0]
    scores = again.parts[0].found_by.scores
    assert 0.1 < scores["kept"] < 0.95
    run = fit(rows, schema=SCHEMA, model="lr", plan=plans[0], epochs=1, out=tmp_path / "run")
    assert run.metrics["test"]["rows"] == 300


def test_a_search_under_a_plan_refers_to_its_rows(tmp_path):
    rows = planted(3000)
    first = search("optfs", rows, schema=SCHEMA, backbone="lr", settings=FAST, options={"epochs": 2, "penalty": 1e-3},
                   out=tmp_path / "first.json")  # fmt: skip
    second = search("optfs", rows, schema=SCHEMA, backbone="lr", settings=FAST, options={"epochs": 2, "penalty": 1e-3},
                    plan=first, out=tmp_path / "second.json")  # fmt: skip
    files = (tmp_path / "first.json", tmp_path / "second.json")
    small = fit(rows, schema=SCHEMA, model="lr", plan=files, epochs=1, out=tmp_path / "run").record.plan
    assert small not in (first.digest, second.digest)
    with pytest.raises(UsageError, match="another numbering"):
        fit(rows, schema=SCHEMA, model="lr", plan=files[1], epochs=1, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"penalty": -1.0}, "penalty is -1.0; it must be at least 0"),
        ({"temperature": 0.5}, "temperature is 0.5; it must be at least 1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"rewind": 5}, "rewind is 5; it must be from 0 to 4"),
        ({"rewind": -1}, "rewind is -1"),
        ({"gate_rate": 0.0}, "gate_rate is 0.0"),
        ({"start": 0.0}, "start is 0.0; it must be above 0"),
        ({"penality": 1.0}, "Did you mean 'penalty'"),
        ({"penalty": float("inf")}, "finite"),
    ],
)
def test_options_out_of_their_bounds_are_refused(options, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        search("optfs", planted(200), schema=SCHEMA, backbone="lr", options=options, out=tmp_path / "plan.json")
    assert not (tmp_path / "plan.json").exists()


def test_a_search_that_would_drop_everything_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no feature is kept at penalty 10; use a smaller"):
        search("optfs", planted(2000), schema=SCHEMA, backbone="lr", options={"epochs": 3, "penalty": 10.0},
               settings={**QUICK, "batch_size": 64, "learning_rate": 0.05}, out=tmp_path / "plan.json")  # fmt: skip


def test_the_command_line_searches_and_says_what_is_next(tmp_path, capsys):
    planted(2000).write_csv(tmp_path / "rows.csv")
    out = str(tmp_path / "plan.json")
    asked = [
        "search",
        "optfs",
        str(tmp_path / "rows.csv"),
        "--label",
        "click",
        "--backbone",
        "fm",
        "--out",
        out,
        "--quiet",
    ]
    asked += ["--search.penalty", "1e-3", "--search.epochs", "2", "--model.dim", "4", "--seed", "3"]
    assert main(asked) == 0
    told = capsys.readouterr()
    assert "features kept" in told.out and f"--plan {out}" in told.err + told.out
    assert json.loads(Path(out).read_text())["parts"][0]["found_by"]["seed"] == 3
    assert main(["fit", str(tmp_path / "rows.csv"), "--label", "click", "--model", "fm", "--seed", "3", "--epochs", "1",
                 "--plan", out, "--out", str(tmp_path / "run"), "--quiet"]) == 0  # fmt: skip
    assert main([*asked[:-2], "--seed", "4"]) == 2
    assert "holds another search" in capsys.readouterr().err
    assert main(["search", "optfz", str(tmp_path / "rows.csv"), "--backbone", "fm", "--out", out]) == 2
    assert "Did you mean 'optfs'" in capsys.readouterr().err


def test_a_killed_search_ends_with_the_same_plan(tmp_path):
    planted(8000).write_csv(tmp_path / "rows.csv")
    words = ["search", "optfs", str(tmp_path / "rows.csv"), "--label", "click", "--backbone", "fm", "--quiet",
             "--search.epochs", "4", "--search.penalty", "1e-4", "--search.gate-rate", ".02",
             "--train.batch-size", "64"]  # fmt: skip
    process, said = warm.begin("clicksmith", *words, "--out", str(tmp_path / "killed.json"))
    checkpoint = tmp_path / "killed.json.search" / "training" / "checkpoint" / "state.json"
    until = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, said.read()
    assert not (tmp_path / "killed.json").exists()
    assert main([*words, "--out", str(tmp_path / "killed.json")]) == 0
    assert main([*words, "--out", str(tmp_path / "whole.json")]) == 0
    whole = Plan.load(tmp_path / "whole.json")
    assert Plan.load(tmp_path / "killed.json").digest == whole.digest
    assert 0.05 < whole.parts[0].found_by.scores["kept"] < 0.95


def test_every_feature_kept_equals_no_plan(tmp_path):
    rows = planted(1500)
    encoder = Encoder.fit(SCHEMA, rows)
    masks = {slot: Array(np.ones(n, bool)) for slot, n in encoder.layout.rows.items()}
    whole = Plan(parts=(KeptFeatures(slots=masks, numbering=numbering(encoder), found_by=FoundBy(method="optfs")),))
    both = [
        load(fit(rows, valid=planted(300, 2), schema=SCHEMA, model="fm", plan=p, epochs=1, out=tmp_path / n).path)
        for p, n in ((whole, "a"), ((), "b"))
    ]
    np.testing.assert_array_equal(*(one.predict(rows.head(50).drop("click")) for one in both))


def test_rewinding_leaves_the_weights_of_that_epoch_for_the_kept_rows(tmp_path):
    rows, found = planted(1500), {}
    asked = {"schema": SCHEMA, "backbone": "deepfm", "model_options": {"dim": 4, "units": (8,)}, "settings": FAST}
    for rewind in (0, 1):
        options = {"epochs": 2, "penalty": 1e-3, "rewind": rewind}
        found[rewind] = search("optfs", rows, **asked, options=options, out=tmp_path / f"{rewind}.json")
    assert found[0].digest == found[1].digest
    spec = spec_for("deepfm", {"dim": 4, "units": (8,)}, SCHEMA)
    parts = parts_of(rows, None, None, schema=SCHEMA, how="auto", seed=0)
    encoder = Encoder.fit(SCHEMA, parts.train)
    first = weights_of(new_model(gated_spec(spec, 0.5), encoder.layout, 0))
    start = load_file(tmp_path / "0.json.start.safetensors")
    kept = torch.cat([torch.from_numpy(mask.values) for mask in found[0].parts[0].slots.values()])
    scale = 1 / torch.sigmoid(torch.tensor(0.5))
    for name, tensor in start.items():
        whole = first[name]
        torch.testing.assert_close(tensor, whole[kept] * scale if len(kept) in whole.shape else whole)
    later = load_file(tmp_path / "1.json.start.safetensors")
    assert not torch.equal(later["embedder.columns.table.store.weight"], start["embedder.columns.table.store.weight"])
    model = {"model": "deepfm", "options": {"dim": 4, "units": (8,)}, "epochs": 1}
    runs = [
        fit(rows, schema=SCHEMA, plan=found[1], start=s, out=tmp_path / n, **model)
        for n, s in (("warm", tmp_path / "1.json.start.safetensors"), ("cold", None))
    ]
    assert runs[0].record.identity != runs[1].record.identity
    assert runs[0].metrics["valid"]["auc"] != runs[1].metrics["valid"]["auc"]
    with pytest.raises(UsageError, match="weights of another model"):
        fit(rows, schema=SCHEMA, start=tmp_path / "1.json.start.safetensors", out=tmp_path / "whole", **model)


def test_lazy_gates_search_too(tmp_path):
    options = {"epochs": 3, "penalty": 4e-3, "gate_update": "lazy", "gate_rate": 20.0}
    plan = search("optfs", planted(2000), schema=SCHEMA, backbone="fm", model_options={"dim": 4}, settings=FAST,
                  options=options, out=tmp_path / "plan.json")  # fmt: skip
    assert 0 < plan.parts[0].found_by.scores["kept"] < 1


@pytest.mark.parametrize("update", ["lazy", "dense"])
def test_a_search_that_is_stopped_within_epochs_ends_with_the_same_bits(tmp_path, monkeypatch, update):
    options = OptFS(epochs=3, penalty=4e-3, gate_update=update, gate_rate=5.0 if update == "lazy" else 0.02)
    settings = TrainSettings(epochs=3, batch_size=32, learning_rate=0.01, seed=1)
    real, left = GateHook.before_update, []

    def stopping(self, step, rate):
        real(self, step, rate)
        if left and step == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(GateHook, "before_update", stopping)
    found = {}
    for name, stops in (("whole", []), ("stopped", [4, 7, 16])):  # ten steps an epoch
        left[:] = stops
        while True:
            model = new_model(gated_spec(model_spec("fm", dim=4), 0.5), LAYOUT, 0)
            hook = GateHook(options, model.embedder.gate, tmp_path / "rewind")
            try:
                train(model, clicks(320), None, settings, run_dir=tmp_path / name, hook=hook)
                break
            except KeyboardInterrupt:
                pass
        assert not left
        found[name] = {n: t.clone() for n, t in model.state_dict().items()}
    for name, tensor in found["whole"].items():
        torch.testing.assert_close(found["stopped"][name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [{"temperature": 1e39}, {"start": 1e39}, {"start": float("inf")}])
def test_gates_beyond_all_numbers_are_refused(wrong):
    with pytest.raises(UsageError, match=r"at most 1e\+09"):
        OptFS(**wrong)


def test_the_mended_command_is_no_other_search_where_the_first_failed(tmp_path):
    given = {
        "schema": SCHEMA,
        "backbone": "fm",
        "model_options": {"dim": 4},
        "settings": {**FAST, "learning_rate": 0.1},
    }
    with pytest.raises(UsageError, match=r"no feature is kept at penalty 10; use a smaller --search\.penalty"):
        search("optfs", planted(600), **given, options={"epochs": 3, "penalty": 10.0}, out=tmp_path / "plan.json")
    search("optfs", planted(600), **given, options={"epochs": 3, "penalty": 1e-4}, out=tmp_path / "plan.json")
    with pytest.raises(
        UsageError, match=r"holds another search; .* Choose another --out, or remove '.+search' and what i"
    ):
        search("optfs", planted(600), **given, options={"epochs": 3, "penalty": 1e-3}, out=tmp_path / "plan.json")
    shutil.rmtree(tmp_path / "plan.json.search")
    (tmp_path / "plan.json").unlink()
    search("optfs", planted(600), **given, options={"epochs": 3, "penalty": 1e-3}, out=tmp_path / "plan.json")


def test_epochs_that_no_one_reads_are_refused_and_notes_are_told_when_quiet(tmp_path, capsys):
    planted(600).write_csv(tmp_path / "rows.csv")
    words = ["search", "optfs", str(tmp_path / "rows.csv"), "--label", "click", "--backbone", "fm", "--quiet",
             "--out", str(tmp_path / "plan.json"), "--search.penalty", "0"]  # fmt: skip
    assert main([*words, "--epochs", "2"]) == 2
    assert "optfs has epochs of its own; give --search.epochs 2" in capsys.readouterr().err
    assert main([*words, "--search.epochs", "1"]) == 0
    err = capsys.readouterr().err
    assert "note: " in err and "features are kept" in err and "train:" not in err


def test_a_gate_that_is_not_finite_stops_the_search_and_names_its_rate(monkeypatch):
    monkeypatch.setattr(DenseGates, "step", lambda self, _: self.gate.gates.data.fill_(float("inf")))
    model = new_model(gated_spec(model_spec("fm", dim=4), 0.5), LAYOUT, 0)
    hook = GateHook(OptFS(gate_rate=0.3), model.embedder.gate, Path("never"))
    with pytest.raises(
        DivergedError, match=r"a gate is not finite at step 10 \(gate_rate 0\.3\); give a lower --search"
    ):
        train(model, clicks(300), None, TrainSettings(epochs=9, batch_size=32), hook=hook)


def test_no_step_of_adam_is_longer_than_is_told_before_training():
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    adam, longest = DenseOptimizer("adam", [weight]), 0.0
    for step in range(3000):  # the worst for Adam: after a long rest gradients that grow by .999 / .9
        weight.grad = torch.full_like(weight, 1e9 * (0.999 / 0.9) ** (step - 2999))
        before = float(weight.detach())
        adam.step(0.01)
        longest = max(longest, abs(float(weight.detach()) - before) / 0.01)
    assert 0.9 * STRIDE < longest < STRIDE


def test_gates_that_cannot_close_are_told_by_what_their_steps_can_do_at_most():
    assert stuck(OptFS(epochs=5), 13, 1e-3)  # 65 steps of .0073 at most
    assert not stuck(OptFS(epochs=5), 14, 1e-3) and not stuck(OptFS(penalty=0.0), 1, 1e-9)
    options = OptFS(epochs=3, penalty=1e-4, temperature=9.0, gate_update="lazy")
    (note,) = stuck(options, 10, 20.0)
    gate = FeatureGateModule((("a", 3),), options.start)
    mover = LazyGates(gate, options.penalty)
    for epoch in range(3):
        gate.temperature.fill_(temperature_at(epoch, options))
        for _ in range(10):
            mover.step(20.0)
        mover.settle()
    assert f"30 steps of 20 leave it at {float(gate.gates.detach()[2]):.3g}, and gates begin" in note
    assert not stuck(options, 10, 2000.0)


def test_a_learning_rate_that_is_too_high_stops_with_epoch_and_temperature(tmp_path):
    with pytest.raises(DivergedError, match=r"epoch 1, temperature 1"):
        search("optfs", planted(600), schema=SCHEMA, backbone="fm", model_options={"dim": 4},
               settings={**FAST, "learning_rate": 1e30, "clip_norm": None}, options={"epochs": 2},
               out=tmp_path / "plan.json")  # fmt: skip


def test_without_penalty_and_at_one_temperature_training_is_the_plain_one():
    spec, store = model_spec("deepfm", dim=4, units=(8,)), clicks(300)
    settings = TrainSettings(epochs=2, batch_size=32, learning_rate=0.01, seed=1)
    plain, gated = (new_model(s, LAYOUT, 0) for s in (spec, gated_spec(spec, 0.5)))
    options = OptFS(epochs=2, penalty=0.0, temperature=1.0, gate_rate=1e-30)
    gate = gated.embedder.gate
    assert isinstance(gate, FeatureGateModule)
    for model, hook in ((plain, None), (gated, GateHook(options, gate, Path("never")))):
        train(model, store, None, settings, hook=hook)
    for name, tensor in weights_of(plain).items():
        torch.testing.assert_close(weights_of(gated)[name], tensor, rtol=0, atol=0)
