"""The whole search: planted truth, the same Plan after an interruption, refit with another backbone."""

import shlex

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from ranked_world import RANKS, ranked
from scipy.stats import spearmanr

from clicksmith.cli.main import main
from clicksmith.embed.rows import row_stores
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, UsageError
from clicksmith.fitting.asked import new_model, spec_for
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models import model_spec
from clicksmith.models.planned import spec_under
from clicksmith.plan import Columns, FoundBy, KeptFeatures, Plan
from clicksmith.plan.apply import apply_plan
from clicksmith.plan.merge import merge
from clicksmith.search.job import search
from clicksmith.search.optembed.gate import ThresholdGate
from clicksmith.search.optembed.method import METHOD, Rest, search_optembed
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.score import Scorer
from clicksmith.search.optembed.supernet import wide
from clicksmith.serve.artifact import load
from clicksmith.train.counts import id_counts
from clicksmith.train.settings import TrainSettings
from clicksmith.train.start import load_start
from search.features_world import NAMES, SCHEMA, planted

SETTINGS = TrainSettings(epochs=2, batch_size=256, learning_rate=1e-2, device="cpu")
SMALL = OptEmbed(alpha=0, threshold_rate=0, max_ratio=0.5, generations=4, mutations=4, crossovers=4, probe=False)


class Stopped(Exception):
    """Where a test interrupts a search."""


class Told(Quiet):
    """Hands every line to a function."""

    def __init__(self, told):
        self.said = self.noted = told


def found(folder=None, told=lambda _: None, options=SMALL, seed=0):
    settings = msgspec.structs.replace(SETTINGS, seed=seed)
    return search_optembed(
        model_spec("fm", dim=4), ranked(3000, 1), None, ranked(1000, 2), settings, options, folder=folder,
        progress=Told(told),
    )  # fmt: skip


def test_an_interrupted_search_goes_on_to_the_same_result(tmp_path):
    whole = found()
    assert whole.parameters <= 0.5 * 5 * 298 + 1
    told = []

    def interrupt(line):
        told.append(line)
        if line.startswith("generation 2"):
            raise Stopped

    with pytest.raises(Stopped):
        found(tmp_path, interrupt)
    told.clear()
    again = found(tmp_path, told.append)
    assert [line.split(":")[0] for line in told if line.startswith("generation")] == ["generation 3", "generation 4"]
    assert (again.widths, again.front, again.parameters) == (whole.widths, whole.front, whole.parameters)
    assert found(seed=1).front != whole.front


def test_the_plan_is_kept_features_and_prefixes():
    kept = {"a": np.array([True, True, True, False]), "b": np.ones(5, bool)}
    result = found()
    result = type(result)(kept, {"a": 3, "b": 4}, 0, (), (), result.model, 1, 1)
    by = FoundBy(method="optembed")
    features, columns = result.parts(4, {"a": "x", "b": "y"}, by)
    assert isinstance(features, KeptFeatures) and list(features.slots) == ["a"]
    assert isinstance(columns, Columns) and columns.slots["a"][0].columns == (0, 1, 2) and "b" not in columns.slots
    for part in Plan(parts=(features, columns)).parts:
        part.check()


def test_budgets_that_cannot_be_met_are_refused():
    with pytest.raises(UsageError, match=r"max_ratio is 0\.01, 14 parameters, and the smallest candidate \(width 1 "):
        found(options=msgspec.structs.replace(SMALL, max_ratio=0.01))


def test_the_smallest_within_the_slack_is_taken_of_a_front_that_all_rows_have_scored():
    options = msgspec.structs.replace(SMALL, score_rows=100)
    best, least = (found(options=msgspec.structs.replace(options, slack=slack)) for slack in (0.0, 1.0))
    assert best.front == least.front and len(best.front) > 1
    assert best.parameters == max(best.front, key=lambda one: one.score).parameters
    assert least.parameters == least.front[0].parameters < best.parameters
    rows, table = ranked(1000, 2), best.model.embedder.columns.table
    scorer = Scorer(best.model, table, rows, rows, norm_rows=10, metric="auc", seed=0)
    candidates = [dict(zip(table.slots, one.widths, strict=True)) for one in best.front]
    assert [one.score for one in best.front] == scorer(candidates, np.arange(1000))
    assert [one.score for one in best.front] != scorer(candidates, np.arange(100))


def test_ids_seen_seldom_count_less_of_their_size_where_evidence_is_asked():
    counts = id_counts(ranked(3000, 1))
    for evidence in (0.0, 50.0):
        gate = found(options=msgspec.structs.replace(SMALL, evidence=evidence, generations=1)).model.embedder.gate
        if not evidence:
            assert gate.evidence is None
            continue
        seen = torch.cat([counts[name] for name, _ in gate.slots])
        assert torch.allclose(gate.evidence, seen / (seen + 50.0))


class Heard(Quiet):
    """Keeps the notes."""

    def __init__(self):
        self.lines = []

    def noted(self, text):
        self.lines.append(text)


def test_of_few_ids_narrow_vectors_cost_more_than_whole_ones(tmp_path):
    """Three ids: width 7 of 8 takes 4 * 7 + 2 * 8 numbers, whole 5 * 8."""
    asked = {"valid": planted(200, 1, values=3), "schema": SCHEMA, "backbone": "fm", "model_options": {"dim": 8}}
    asked["settings"] = {"batch_size": 128, "epochs": 1}
    options = {"generations": 2, "threshold_rate": 0, "widths": (7, 8), "max_ratio": 1.0}
    plan = search("optembed", planted(400, values=3), options=options, out=tmp_path / "within.json", **asked)
    assert plan.parts == ()  # nothing else is within the budget
    heard, options = Heard(), OptEmbed(generations=1, threshold_rate=0, widths=(7,))
    plan = search(
        "optembed", planted(400, values=3), options=options, out=tmp_path / "beyond.json", progress=heard, **asked
    )
    assert plan.parts[-1].found_by.scores["kept"] > 1
    assert list(METHOD.controls(options, plan)) == ["warm"]  # as many features would be more than all
    assert any("narrower vectors have padding of their own" in line for line in heard.lines)


def test_a_start_file_holds_the_supernets_statistics_and_is_the_same_after_an_interruption(tmp_path):
    def stop(line):
        if line.startswith("front: "):  # all candidates are scored
            raise Stopped

    asked = {"valid": planted(400, 1), "schema": SCHEMA, "backbone": "dnn", "model_options": {"dim": 4, "units": (4,)}}
    asked |= {"settings": {"batch_size": 128, "epochs": 2}}
    asked["options"] = {"max_ratio": 0.5, "generations": 1, "mutations": 2, "crossovers": 2, "start": "supernet"}
    search("optembed", planted(600), out=tmp_path / "whole.json", **asked)
    with pytest.raises(Stopped):
        search("optembed", planted(600), out=tmp_path / "again.json", progress=Told(stop), **asked)
    search("optembed", planted(600), out=tmp_path / "again.json", **asked)
    files = [(tmp_path / f"{name}.json.start.safetensors").read_bytes() for name in ("whole", "again")]
    assert files[0] == files[1] and b"running_mean" in files[0]


@pytest.mark.slow
def test_richer_fields_get_more_columns():
    options = OptEmbed(alpha=0, threshold_rate=0, max_ratio=0.55, generations=30)
    settings = msgspec.structs.replace(SETTINGS, epochs=4)
    rows, select = ranked(40_000, 1, scale=2.0), ranked(10_000, 2, scale=2.0)
    result = search_optembed(model_spec("fm", dim=8), rows, None, select, settings, options)
    widths = [result.widths[f"rank{rank}"] for rank in RANKS]
    assert spearmanr(RANKS, widths).statistic >= 0.8


def test_noise_is_pruned_before_what_is_useful_and_another_backbone_is_refitted(tmp_path):
    rows, valid = planted(20_000), planted(6000, 1)
    asked = {"batch_size": 512, "learning_rate": 5e-3, "table_l2": 1e-3, "l2_mode": "dense", "monitor": "auc"}
    plan = search(
        "optembed", rows, valid=valid, schema=SCHEMA, out=tmp_path / "plan.json", backbone="dnn",
        model_options={"dim": 8, "units": (16,), "dropout": 0.0}, settings=asked | {"epochs": 8},
        options={"max_ratio": 0.5, "generations": 2, "widths": (2, 4, 8), "alpha": 0.1, "threshold_rate": 0.05},
    )  # fmt: skip
    features = next(part for part in plan.parts if isinstance(part, KeptFeatures))
    run = fit(
        rows, valid=valid, schema=SCHEMA, model="fm", options={"dim": 8}, plan=tmp_path / "plan.json",
        settings=asked | {"table_l2": 0.0, "l2_mode": "auto"}, epochs=1, out=tmp_path / "run",
    )  # fmt: skip
    artifact = load(run.path)
    vocabularies = Encoder.fit(SCHEMA, rows).fitted.vocabularies
    useful, noise = [], []
    for f, name in enumerate(NAMES):
        vocabulary = vocabularies[name].values.to_list()
        kept = features.slots[name].values[2:] if name in features.slots else np.ones(len(vocabulary), bool)
        for value, stays in zip(vocabulary, kept, strict=True):
            (useful if f < 3 and int(value[1:]) % 2 == 0 else noise).append(stays)
    assert np.mean(useful) - np.mean(noise) >= 0.4
    whole = sum(8 * (2 + len(vocabularies[name].counts)) for name in NAMES)
    table = artifact.model.embedder.columns.table
    size = sum(p.numel() for p in table.parameters())
    assert size <= 0.5 * whole
    assert size == features.found_by.scores["parameters"]  # what was priced is what is there


@pytest.mark.parametrize("widths", [(2, 3), (4,)])
def test_the_start_file_holds_the_supernets_first_weights_in_kept_rows_and_columns(widths, tmp_path):
    rows, valid = planted(3000), planted(1000, 1)
    search(
        "optembed", rows, valid=valid, schema=SCHEMA, out=tmp_path / "plan.json", backbone="deepfm",
        model_options={"dim": 4, "units": (4,), "dropout": 0.0}, settings={"batch_size": 256, "epochs": 2},
        options={"generations": 1, "widths": widths},
    )  # fmt: skip
    plan = Plan.load(tmp_path / "plan.json")
    encoder = Encoder.fit(SCHEMA, rows)
    applied = apply_plan(plan, encoder)
    spec = spec_for("deepfm", {"dim": 4, "units": (4,), "dropout": 0.0}, SCHEMA)
    compact = new_model(spec_under(applied, spec), applied.encoder.layout, 5)
    load_start(compact, applied.encoder.ids_digest, tmp_path / "plan.json.start.safetensors")
    table = wide(spec.embed.table, encoder.layout, 4)
    drawn = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=table))
    plain = new_model(drawn, encoder.layout, 0)  # the supernet draws as the plain model does, but for the deviation
    assert plan.parts
    features = {s: a.values for part in plan.parts if isinstance(part, KeptFeatures) for s, a in part.slots.items()}
    cut = {s: b[0].columns for part in plan.parts if isinstance(part, Columns) for s, b in part.slots.items()}
    for slot, count in encoder.layout.rows.items():
        mask = features.get(slot, np.ones(count, bool))
        old = torch.arange(2, count, dtype=torch.int32)[torch.from_numpy(mask[2:])].unsqueeze(1)
        new = torch.arange(2, 2 + len(old), dtype=torch.int32).unsqueeze(1)
        wanted = plain.embedder.columns.table(old, (slot,))
        if slot in cut:
            wanted = wanted * (torch.arange(4) < len(cut[slot]))
        assert torch.equal(compact.embedder.columns.table(new, (slot,)), wanted)
        views = (plain.embedder.views[0].columns, compact.embedder.views[0].columns)
        assert torch.equal(views[1].table(new, (slot,)), views[0].table(old, (slot,)))
    dense = {n: p for n, p in plain.named_parameters() if n.startswith(("block", "head"))}
    assert all(torch.equal(p, dense[n]) for n, p in compact.named_parameters() if n in dense)


def test_under_columns_of_a_plan_ids_are_pruned_and_no_start_is_left(tmp_path, monkeypatch):
    rows, valid = planted(1500), planted(500, 1)
    asked = {"valid": valid, "schema": SCHEMA, "backbone": "fm", "model_options": {"dim": 4}}
    asked["settings"] = {"batch_size": 256, "epochs": 1}
    search("columns_random", rows, options={"share": 0.4}, out=tmp_path / "columns.json", **asked)
    kept = {name: np.arange(102) < 50 if name == "f0" else np.ones(102, bool) for name in NAMES}
    monkeypatch.setattr(ThresholdGate, "kept", lambda _: kept)
    plan = search("optembed", rows, plan=tmp_path / "columns.json", out=tmp_path / "plan.json", **asked)
    assert [type(part) for part in plan.parts] == [KeptFeatures]
    assert not (tmp_path / "plan.json.start.safetensors").exists()
    applied = apply_plan(merge(Plan.load(tmp_path / "columns.json"), plan), Encoder.fit(SCHEMA, rows))
    compact = new_model(spec_under(applied, spec_for("fm", {"dim": 4}, SCHEMA)), applied.encoder.layout, 0)
    size = sum(store.weight.numel() for store in row_stores(compact))
    assert plan.parts[0].found_by.scores["parameters"] == size  # what was priced is what is there


def test_the_command(tmp_path, capsys):
    planted(1500).write_csv(tmp_path / "rows.csv")
    line = [
        "search", "optembed", str(tmp_path / "rows.csv"), "--label", "click", "--backbone", "fm", "--out",
        str(tmp_path / "plan.json"), "--search.max_ratio", "0.5", "--search.generations", "1", "--model.dim", "4",
        "--train.epochs", "1",
    ]  # fmt: skip
    assert main(line) == 0, capsys.readouterr().err
    assert "columns" in "\n".join(Plan.load(tmp_path / "plan.json").summary())
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next:")]
    told = shlex.split(told.removeprefix("next:  clicksmith "))
    assert told[-2:] == ["--start", str(tmp_path / "plan.json.start.safetensors")]
    assert main([*told, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("clicks", "rows", "settings", "says"),
    [
        (1, 201, {"monitor": "auc"}, r"halves the 201 validation rows.* all 10[01] validation labels are 0"),
        (1, 1, {"monitor": "logloss"}, r"halves the 1 validation rows.* there are no validation rows"),
    ],
)
def test_a_half_that_cannot_be_judged_is_refused_before_training(tmp_path, clicks, rows, settings, says):
    valid = planted(rows, 1).with_columns(click=(pl.int_range(rows) < clicks).cast(int))
    with pytest.raises(DataError, match=says):
        search(
            "optembed", planted(600), valid=valid, schema=SCHEMA, out=tmp_path / "plan.json", backbone="fm",
            settings=settings, model_options={"dim": 4},
        )  # fmt: skip
    assert not list(tmp_path.rglob("checkpoint*"))


@pytest.mark.parametrize("mode", ["field", "feature"])
def test_a_search_with_moving_thresholds_and_probes_goes_on_to_the_same_result(tmp_path, monkeypatch, mode):
    """Stopped within the supernet's training and, once that is done, before its probes are all told."""
    options = msgspec.structs.replace(SMALL, mode=mode, alpha=0.035, threshold_rate=1.0, warm_epochs=1, probe=True)
    whole, real, left = found(options=options), Rest.after_step, [17]
    assert any(0 < int(mask[2:].sum()) < len(mask) - 2 for mask in whole.kept.values())

    def stopping(self, step, rate):
        real(self, step, rate)
        if left and step == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(Rest, "after_step", stopping)

    def before_the_evolution(line):
        if line.startswith("generation 1"):
            raise Stopped

    for told, stop in ((lambda _: None, KeyboardInterrupt), (before_the_evolution, Stopped)):
        with pytest.raises(stop):
            found(tmp_path, told, options)
    (tmp_path / "evolution.json").unlink()
    again = found(tmp_path, options=options)
    assert all((again.kept[slot] == mask).all() for slot, mask in whole.kept.items())
    assert (again.widths, again.front, again.parameters) == (whole.widths, whole.front, whole.parameters)


def test_a_supernet_that_is_stopped_within_an_epoch_ends_with_the_same_result(tmp_path, monkeypatch):
    whole, real, left = found(), Rest.after_step, [5, 17]

    def stopping(self, step, rate):
        real(self, step, rate)
        if left and step == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(Rest, "after_step", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            found(tmp_path)
    told = []
    again = found(tmp_path, told.append)
    assert (again.widths, again.front, again.parameters) == (whole.widths, whole.front, whole.parameters)
    points = [line for line in told if line.startswith("front: ")]
    assert len(points) == len(whole.front) and sum("taken" in line for line in points) == 1
