"""`tune --model LightGBM`: trees are searched by their own options, on the rows that every model gets."""

import sys

import pytest
from msgspec.structs import replace

import clicksmith
from clicks import clicks, folder
from clicksmith.batch.store import cached_encode, cached_fit_encode
from clicksmith.bench.settings import contestants, read_settings
from clicksmith.cli.main import main
from clicksmith.errors import UsageError
from clicksmith.parts import from_plain
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.train.progress import Silent
from clicksmith.trees.grow import grow
from clicksmith.trees.spec import SPACE

pytest.importorskip("lightgbm", reason="lightgbm is not installed")

PLAIN = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
SMALL = {"rounds": 10, "every": 5, "few": 10}
QUICK = {"schema": PLAIN, "model": "LightGBM", "options": SMALL}


def test_trees_of_weighted_rows_or_several_labels_are_refused(tmp_path):
    labels = (Label("click"), Label("like"))
    for schema in (replace(PLAIN, weight="price"), replace(PLAIN, label=labels)):
        with pytest.raises(UsageError, match="LightGBM learns one label of rows that count alike"):
            clicksmith.tune(clicks(400), out=tmp_path / "s", **{**QUICK, "schema": schema})
    assert not (tmp_path / "s").exists()


def test_the_options_of_trees_are_searched_and_the_best_grow_again(tmp_path):
    train, valid = clicks(400), clicks(200, 2)
    tuned = clicksmith.tune(train, valid=valid, out=tmp_path / "s", trials=3, **QUICK)
    assert tuned.count("complete") == 3, [trial.error for trial in tuned.trials]
    assert all(trial.values.keys() == {f"model.{name}" for name in SPACE} for trial in tuned.trials)
    best = tuned.best
    fitted = cached_fit_encode(PLAIN, train, tmp_path / "cache")
    judged = cached_encode(fitted.encoder, valid, tmp_path / "cache")
    grown = grow(
        from_plain(best.spec), fitted.store, judged.store, seed=0, monitor=tuned.monitor, threads=1, progress=Silent()
    )
    assert grown.best["valid"] == best.valid
    with pytest.raises(UsageError, match=r"^LightGBM is there to compare with, and `fit` does not train it;"):
        _ = tuned.fit


def test_what_does_nothing_to_trees_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"^LightGBM: train\.epochs does nothing to trees"):
        clicksmith.tune(clicks(50), out=tmp_path / "s", settings={"epochs": 1}, **QUICK)
    with pytest.raises(UsageError, match=r"^space: no section named 'train'"):
        clicksmith.tune(clicks(50), out=tmp_path / "s", space={"train": {"epochs": [1]}}, **QUICK)
    with pytest.raises(UsageError, match=r"^LightGBM: no option named 'leafs'\. Did you mean 'leaves'\?"):
        clicksmith.tune(clicks(50), out=tmp_path / "s", schema=PLAIN, model="LightGBM", options={"leafs": 3})
    assert list(tmp_path.iterdir()) == []


def test_without_lightgbm_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UsageError, match=r"pip install 'clicksmith\[baselines\]'"):
        clicksmith.tune(clicks(50), out=tmp_path / "s", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_settings_of_a_benchmark_with_the_best(tmp_path, capsys):
    at = folder()
    argv = ["tune", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--schema", f"{at}/schema.toml"]
    argv += ["--model", "LightGBM", "--model.rounds", "10", "--trials", "2", "--out", f"{tmp_path}/s", "--quiet"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    (tmp_path / "settings.toml").write_text(printed[printed.index("[models.") :])
    (one,) = contestants(read_settings(tmp_path / "settings.toml"), ["all"])
    found = clicksmith.tune(
        f"{at}/train.csv", valid=f"{at}/valid.csv", schema=f"{at}/schema.toml", model="LightGBM",
        options={"rounds": 10}, trials=2, out=tmp_path / "s",
    )  # fmt: skip
    assert one.spec == from_plain(found.best.spec)
