"""OptFS: gates by loops, the schedule, degenerate settings, planted features, and what is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import UsageError
from clicksmith.evaluate import auc
from clicksmith.fitting.job import fit
from clicksmith.models import MODELS
from clicksmith.plan import KeptFeatures, Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FoundBy
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.job import search
from clicksmith.search.optfs import FeatureGate, OptFS, temperature_at
from clicksmith.serve.predictor import load
from clicksmith.testing.subject import Subject

NAMES = tuple(f"f{i}" for i in range(6))
SCHEMA = Schema(fields=tuple(Categorical(name) for name in NAMES), label=Label("click"))


def planted(rows: int, seed: int = 0, values: int = 100) -> pl.DataFrame:
    """Fields 0-2: the even values say something, the odd ones nothing; fields 3-5 are noise. Zipf-like counts."""
    truth = np.random.default_rng(7)
    random = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, values + 1) ** 0.7
    ids = np.stack([random.choice(values, rows, p=weights / weights.sum()) for _ in NAMES], 1)
    effects = truth.choice([-1.2, 1.2], (3, values)) * (np.arange(values) % 2 == 0)
    logit = sum(effects[f][ids[:, f]] for f in range(3))
    click = random.random(rows) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {name: [f"v{x:03}" for x in ids[:, i]] for i, name in enumerate(NAMES)} | {"click": click.astype(int)}
    )


QUICK = {"batch_size": 512, "learning_rate": 5e-3, "table_l2": 0.0, "monitor": "auc"}


@pytest.mark.parametrize("name", MODELS)
def test_with_every_gate_at_its_start_the_model_is_the_plain_one(name):
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    gated = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=FeatureGate()))
    plain, search_model = subject.model(), subject.model(spec=gated)
    state = search_model.state_dict()
    search_model.load_state_dict(state | plain.state_dict())
    inputs = subject.inputs(16)
    torch.testing.assert_close(search_model(inputs).logits, plain(inputs).logits, rtol=1e-5, atol=1e-6)


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
            grads[i] += (r + 1) * scale * 3.0 * s * (1 - s)
    torch.testing.assert_close(out, expected)
    (out * torch.tensor([1.0, 2.0, 3.0]).double().reshape(3, 1, 1)).sum().backward()
    torch.testing.assert_close(gate.gates.grad[:, 0], grads)


@pytest.mark.parametrize(("heat", "gap"), [(10, 0.76), (100, 0.40), (1000, 2.7e-5)])
def test_the_gate_approaches_its_hard_form(heat, gap):
    c = torch.cat([torch.linspace(0.011, 1, 500), -torch.linspace(0.011, 1, 500)]).double()
    soft = torch.sigmoid(heat * c) / torch.sigmoid(torch.tensor(0.5).double())
    hard = (c > 0) / torch.sigmoid(torch.tensor(0.5).double())
    assert float((soft - hard).abs().max()) == pytest.approx(gap, rel=0.03)


def test_the_temperature_rises_geometrically_and_one_epoch_is_hot():
    assert [round(temperature_at(e, OptFS(epochs=5, temperature=1e4))) for e in range(5)] == [1, 10, 100, 1000, 10000]
    assert temperature_at(0, OptFS(epochs=1, temperature=50.0)) == 50.0


def test_noise_fields_lose_their_features_and_quality_stays(tmp_path):
    train, valid, test = planted(40_000, 1), planted(4000, 2), planted(8000, 3)
    plan = search(
        "optfs", train, valid=valid, schema=SCHEMA, backbone="fm", model_options={"dim": 4}, settings=QUICK,
        options={"epochs": 10, "penalty": 2.3e-4}, out=tmp_path / "plan.json",
    )  # fmt: skip
    (part,) = plan.parts
    assert isinstance(part, KeptFeatures)
    encoder = Encoder.fit(SCHEMA, train)
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
        run = fit(train, out=tmp_path / name, plan=under, epochs=8, **asked)
        found[name] = auc(test["click"].to_numpy(), load(run.path).predict(test.drop("click")))
    assert found["small"] > found["plain"] - 0.005


def test_a_plan_found_with_one_backbone_trains_another_and_is_repeatable(tmp_path):
    rows = planted(3000)
    plans = [
        search("optfs", rows, schema=SCHEMA, backbone="deepfm", model_options={"dim": 4, "units": (8,)}, settings=QUICK,
               options={"epochs": 2, "penalty": 1e-3}, out=tmp_path / f"{i}.json")
        for i in range(2)
    ]  # fmt: skip
    assert plans[0].digest == plans[1].digest
    again = search("optfs", rows, schema=SCHEMA, backbone="deepfm", model_options={"dim": 4, "units": (8,)},
                   settings=QUICK, options={"epochs": 2, "penalty": 1e-3}, out=tmp_path / "0.json")  # fmt: skip
    assert again == plans[0]
    run = fit(rows, schema=SCHEMA, model="lr", plan=plans[0], epochs=1, out=tmp_path / "run")
    assert run.metrics["test"]["rows"] == 300


def test_a_search_under_a_plan_refers_to_its_rows(tmp_path):
    rows = planted(3000)
    first = search("optfs", rows, schema=SCHEMA, backbone="lr", settings=QUICK, options={"epochs": 2, "penalty": 1e-3},
                   out=tmp_path / "first.json")  # fmt: skip
    second = search("optfs", rows, schema=SCHEMA, backbone="lr", settings=QUICK, options={"epochs": 2, "penalty": 1e-3},
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
        search("optfs", planted(2000), schema=SCHEMA, backbone="lr", settings={**QUICK, "learning_rate": 0.2},
               options={"epochs": 3, "penalty": 10.0}, out=tmp_path / "plan.json")  # fmt: skip


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
    code = "import sys; from clicksmith.cli.main import main; sys.exit(main())"
    words = ["search", "optfs", str(tmp_path / "rows.csv"), "--label", "click", "--backbone", "fm", "--quiet",
             "--search.epochs", "4", "--search.penalty", "1e-3", "--train.batch-size", "64"]  # fmt: skip
    killed = [sys.executable, "-c", code, *words, "--out", str(tmp_path / "killed.json")]
    process = subprocess.Popen(killed, env={**os.environ, "OMP_NUM_THREADS": "1"})
    checkpoint = tmp_path / "killed.json.search" / "training" / "checkpoint" / "state.json"
    while process.poll() is None and not checkpoint.exists():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed.json").exists()
    assert main([*words, "--out", str(tmp_path / "killed.json")]) == 0
    assert main([*words, "--out", str(tmp_path / "whole.json")]) == 0
    assert Plan.load(tmp_path / "killed.json").digest == Plan.load(tmp_path / "whole.json").digest


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
