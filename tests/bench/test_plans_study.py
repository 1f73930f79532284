"""The study of Plans in `benchmarks/`: what its controls are, and all of it on rows of a toy."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from world import make  # noqa: E402

import plans  # noqa: E402
import plans_recipes as recipes  # noqa: E402
import plans_summary as summary  # noqa: E402

SEARCHES = """
[[optfs]]
search = "optfs"
options = { epochs = 1, penalty = 1e-3, gate_rate = 0.03 }

[[optembed]]
search = "optembed"

[[small]]
search = "graphhash"
options = { left = "user", right = "ad", rows = 0.5 }

[[small]]
search = "optembed"
options = { max_ratio = 0.6, generations = 1, mutations = 2, crossovers = 2 }
"""
PLAIN = {"embedding": 1100, "rows": 100, "slots": 5, "dim": 10, "best_epoch": 7}
PLAIN["embedding_by_dim"] = {str(dim): 100 * (dim + 1) for dim in range(1, 41)}


@pytest.fixture
def searches(tmp_path):
    path = tmp_path / "searches.toml"
    path.write_text(SEARCHES)
    return path


@pytest.mark.parametrize("dataset", ["frappe_x1_rebuilt", "movielens_1m"])
def test_every_method_of_a_data_set_has_options_that_its_search_takes(dataset):
    from clicksmith.search.job import options_of
    from clicksmith.search.methods import SEARCHES

    path = recipes.SETTINGS / f"plans_{dataset}.toml"
    chains = recipes.methods(path)
    assert {"optfs", "optembed", "dnis", "optinter", "graphhash"} <= set(chains)
    for name, chain in chains.items():
        assert "-" not in name
        for step in chain:
            options_of(SEARCHES[step.search], step.options)


def test_a_control_has_the_size_of_what_was_found(searches):
    found = {"embedding": 550, "scores": [{"kept": 0.3}]}
    known = {"plain": PLAIN, "optfs": found, "small": found}
    (random,) = recipes.recipe(searches, "optfs-random", known).steps
    assert random.options == {"share": 0.3}
    assert recipes.recipe(searches, "small-dim", known).dim == 4  # 100 rows of 4 and of one first-order weight: 500
    whole = known | {"optembed": found}
    (frequent,) = recipes.recipe(searches, "optembed-frequent", whole).steps
    assert frequent.options["share"] * 90 + 10 == pytest.approx(50)  # 11 numbers a row; 10 rows are never dropped
    (columns,) = recipes.recipe(searches, "optembed-columns_random", whole).steps
    start = recipes.methods(searches)["optembed"][-1].start  # trained as often as what it is beside
    assert columns.options == {"share": 550 / 900, "start": "inherit" if start else "fresh"}
    assert columns.start == start
    assert recipes.recipe(searches, "warm", known).steps[0].options == {"epochs": 7}
    with pytest.raises(recipes.Refused, match="share"):
        recipes.recipe(searches, "optembed-frequent", whole | {"optembed": {"embedding": 2000}})
    with pytest.raises(recipes.Refused, match="plain one, 10"):
        recipes.recipe(searches, "small-dim", known | {"small": {"embedding": 1090}})


@pytest.mark.parametrize("kept", sorted((ROOT / "benchmarks" / "results" / "plans").glob("*/summary.json")))
def test_the_kept_page_is_what_the_kept_figures_say(kept):
    found = json.loads(kept.read_text())["backbones"]
    assert kept.with_suffix(".md").read_text() == f"# Plans on {kept.parent.name}\n\n{summary.body(found)}"


def test_rows_of_a_user_are_one_draw():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, 400), {name: rng.normal(size=400) for name in "ab"}

    def width(times, groups):
        rows = {"a": [np.tile(logits["a"], times)], "b": [np.tile(logits["b"], times)] * 2}
        found = summary.tested(np.tile(labels, times), groups, rows)["a", "b"]
        return found["high"] - found["low"]

    once, user = width(1, None), np.tile(np.arange(400), 9)
    assert width(9, user) == pytest.approx(once, rel=0.02)
    assert width(9, None) == pytest.approx(once / 3, rel=0.02)


def test_one_seed_is_as_uncertain_as_those_of_other_methods_and_untested_where_all_have_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    seeds = [labels * 0.2 + rng.normal(size=4000) for _ in range(6)]
    alone = summary.tested(labels, None, {"a": seeds[:1], "b": seeds[1:2]})
    assert alone["a", "b"]["p"] is None and alone["a", "b"]["low"] is None
    both = summary.tested(labels, None, {"a": seeds[:1], "b": seeds[1:2], "c": seeds[2:]})
    assert both["a", "b"]["auc"] == alone["a", "b"]["auc"] == -both["b", "a"]["auc"]
    assert both["a", "b"]["low"] == -both["b", "a"]["high"] < both["a", "b"]["auc"]
    auc = [roc_auc_score(labels, one) for one in seeds]
    assert both["c", "a"]["auc"] == pytest.approx(auc[0] - np.mean(auc[2:]), abs=1e-6)
    rows = both["a", "b"]["high"] - both["a", "b"]["low"]
    same = summary.tested(labels, None, {"a": seeds[:1], "b": seeds[1:2], "c": [seeds[2]] * 4})["a", "b"]
    assert same["high"] - same["low"] < rows  # seeds that agree leave the rows alone


def test_costs_are_of_one_processor():
    def run(seed, processor, search, refit):
        spent = {"search": search, "refit_training": refit}
        return {"seed": seed, "machine": {"processor": processor}, "cpu_seconds": spent}

    plain = [run(0, "slow", 0, 20), run(1, "fast", 0, 10), run(2, "fast", 0, 12)]
    assert summary.cost([run(1, "fast", 10, 10)], plain) == 2
    assert summary.cost([run(0, "fast", 11, 11)], plain) == 2  # its seed was made elsewhere: the mean of the others
    assert summary.cost([run(0, "slow", 40, 20), run(1, "fast", 5, 5), run(2, "fast", 12, 12)], plain) == 2
    assert summary.cost([run(0, "other", 1, 1)], plain) is None


def test_backbones_stand_beside_each_other():
    def row(cost, size, **against):
        tests = {other: {"auc": auc, "p": p} for other, (auc, p) in against.items()}
        return {"cost_ratio": cost, "embedding_ratio": size, "against": tests}

    found = {
        "FM": {"methods": {"plain": row(1, 1), "optfs": row(1.5, 0.8, plain=(-0.002, 0.01), random=(0.03, 0.001))}},
        "DCN": {"methods": {"plain": row(1, 1), "optfs": row(2.5, 0.9, plain=(0.001, 0.2), random=(0.01, 0.04))}},
        "LR": {"methods": {"plain": row(1, 1)}},
    }
    told = summary.overview(found)
    assert "| optfs | -0.0020 (0.80) | +0.0010 (0.90) |  | 2.0 | 2.5 |" in told
    assert "| optfs | plain | 2 | 1 (0) | 1 (1) | -0.00050 |" in told
    assert "| optfs | random | 2 | 2 (2) | 0 (0) | +0.02000 |" in told


@pytest.mark.parametrize("kept", sorted((ROOT / "benchmarks" / "results" / "plans").glob("*/*/*/*.json")))
def test_kept_runs_were_searched_with_the_options_that_the_settings_have(kept):
    dataset, backbone, method, seed = kept.relative_to(kept.parents[3]).with_suffix("").parts
    train, searches = json.loads(kept.read_text())["train"], str(recipes.SETTINGS / f"plans_{dataset}.toml")
    run = recipes.Asked(dataset, backbone, method, int(seed), train, searches, "", str(kept.parents[3]), "")
    assert run.record() == kept and plans.same_training(run)


def test_a_run_of_other_options_or_training_is_refused(tmp_path, searches):
    run = recipes.Asked("shop", "fm", "optfs", 0, {"epochs": 2}, str(searches), "", str(tmp_path), "")
    assert not plans.same_training(run)
    run.record().parent.mkdir(parents=True)
    for told, change in (("searched", {"searches": []}), ("trained", {"train": {"epochs": 3}})):
        run.record().write_text(json.dumps({"train": {"epochs": 2}, **change}))
        with pytest.raises(SystemExit, match=f"was {told} with"):
            plans.same_training(run)


@pytest.mark.slow
def test_the_study_on_rows_of_a_toy(tmp_path, searches):
    shop = make(tmp_path)

    def study(*words):
        call = [sys.executable, str(ROOT / "benchmarks" / "plans.py"), str(shop)]
        call += ["--searches", str(searches), "--out", str(tmp_path / "out"), "--backbones", "fm"]
        return subprocess.run([*call, *words], capture_output=True, text=True, check=True).stdout

    asked = ("--seeds", "1", "--epochs", "2", "--methods", "optfs", "optfs-dim", "small")
    told = study(*asked)
    assert told.startswith("4 runs to do") and "failed" not in told
    assert study(*asked).startswith("0 runs to do")
    home = tmp_path / "out" / "shop" / "fm"
    facts = {path.parent.name: json.loads(path.read_text()) for path in home.glob("*/0.json")}
    assert set(facts) == {"plain", "optfs", "optfs-dim", "small"}
    assert facts["small"]["embedding"] < facts["plain"]["embedding"]
    assert np.load(home / "plain" / "0.npy").shape == (400,)
    assert "| small | plain |" in study("--summary")
    written = json.loads((home.parent / "summary.json").read_text())
    assert written["backbones"]["fm"]["methods"]["plain"]["cost_ratio"] == pytest.approx(1)
