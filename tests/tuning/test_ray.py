"""Ray Tune as the engine: the same search, run by Ray's workers."""

import sys

import pytest

import clicksmith
from clicks import clicks
from clicksmith.errors import StorageError, UsageError
from clicksmith.schema import Categorical, Label, Schema

PLAIN = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
SPACE = {"model": {"dim": [2, 4, 8]}, "train": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}}
QUICK = {"schema": PLAIN, "model": "fm", "settings": {"epochs": 2, "batch_size": 64}}


def test_without_ray_it_is_said_what_to_install_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "clicksmith.tuning.ray_engine", raising=False)
    with pytest.raises(UsageError, match=r"engine='ray' needs Ray Tune.* pip install 'clicksmith\[ray\]'"):
        clicksmith.tune(clicks(400), out=tmp_path / "s", engine="ray", **QUICK)
    assert not (tmp_path / "s").exists()
    with pytest.raises(UsageError, match=r"no engine named 'rey'. Did you mean 'ray'"):
        clicksmith.tune(clicks(400), out=tmp_path / "s", engine="rey", **QUICK)


@pytest.fixture(scope="module")
def ray():
    found = pytest.importorskip("ray", reason="ray is not installed (pip install 'clicksmith[ray]')")
    found.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield found
    found.shutdown()


def test_ray_runs_the_trials_that_the_search_itself_would_run(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Ray's workers are in a folder of their own
    asked = {"space": SPACE, "pruner": "none", **QUICK}
    local = clicksmith.tune(clicks(400), out=tmp_path / "local", trials=3, **asked)
    first = clicksmith.tune(clicks(400), out="ray", trials=2, engine="ray", **asked)
    assert len(first.trials) == 2
    tuned = clicksmith.tune(clicks(400), out="ray", trials=3, engine="ray", **asked)  # goes on
    scores = [{trial.digest: (trial.state, trial.scores, trial.valid) for trial in t.trials} for t in (local, tuned)]
    assert scores[0] == scores[1]
    assert tuned.best.values == local.best.values
    assert not (tmp_path / "ray" / "ray").exists() and not list((tmp_path / "ray" / "trials").rglob("checkpoint"))


def test_trials_are_given_up_and_failures_recorded_as_ever(ray, tmp_path):
    space = {"train": {"learning_rate": [0.05, 1e30, 1e-7, 2e-7, 3e-7]}}
    asked = {**QUICK, "settings": {"epochs": 8, "batch_size": 64, "patience": 8, "monitor": "auc"}}
    tuned = clicksmith.tune(
        clicks(400), out=tmp_path / "s", space=space, sampler="grid", pruner="asha", engine="ray", jobs=2, **asked
    )
    states = {trial.values["train.learning_rate"]: trial.state for trial in tuned.trials}
    assert states[1e30] == "failed" and states[0.05] == "complete" and len(states) == 5
    assert any("finite" in trial.error for trial in tuned.trials)
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned and all(0 < trial.epochs < 8 and trial.valid == {"auc": max(trial.scores)} for trial in pruned)


def test_a_full_disk_ends_the_search_and_is_no_fault_of_the_configuration(ray, tmp_path):
    asked = {**QUICK, "space": {"model": {"dim": [2, 4]}}, "sampler": "grid"}
    there = clicksmith.tune(clicks(400), out=tmp_path / "a", **asked)
    first = clicksmith.tune(clicks(400), out=tmp_path / "b", trials=1, **asked).trials[0].digest
    second = next(trial.digest for trial in there.trials if trial.digest != first)
    in_the_way = tmp_path / "b" / "trials" / second[:16] / "training" / "checkpoint"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    with pytest.raises(StorageError, match="checkpoint' is a file where a folder is to be written"):
        clicksmith.tune(clicks(400), out=tmp_path / "b", engine="ray", **asked)
    in_the_way.unlink()
    tuned = clicksmith.tune(clicks(400), out=tmp_path / "b", engine="ray", **asked)
    ended = [(trial.digest, trial.state, trial.score) for trial in tuned.trials]
    assert sorted(ended) == sorted((trial.digest, "complete", trial.score) for trial in there.trials)
