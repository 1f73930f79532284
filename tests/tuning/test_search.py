"""A search: what it finds is what `fit` trains, no test rows, nothing twice, and it survives what ends it."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import polars as pl
import pytest

import clicksmith
import warm
from clicks import clicks, folder
from clicksmith.cli.main import main
from clicksmith.encode.source import Source
from clicksmith.errors import StorageError, UsageError
from clicksmith.fitting.chosen import Chosen
from clicksmith.fitting.told import Quiet
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.tuning import search, trial
from clicksmith.tuning.result import Tuned
from clicksmith.tuning.study import open_study, sampler_of
from clicksmith.tuning.trial import Outcome, Task
from clicksmith.tuning.worker import Worker

PLAIN = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
SPACE = {"model": {"dim": [2, 4, 8]}, "train": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}}
QUICK = {"schema": PLAIN, "model": "fm", "space": SPACE, "settings": {"epochs": 2, "batch_size": 64}}


class Said(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def said(self, text: str) -> None:
        self.lines.append(text)


def files(path: Path, name: str) -> dict:
    return json.loads((path / name).read_text())


def scores(tuned: Tuned) -> dict:
    return {trial.digest: trial.scores for trial in tuned.trials}


def test_the_best_trial_is_what_fit_trains_with_its_arguments(tmp_path):
    tuned = clicksmith.tune(clicks(400), out=tmp_path / "s", trials=3, pruner="none", **QUICK)
    run = clicksmith.fit(clicks(400), schema=PLAIN, out=tmp_path / "run", **tuned.fit)
    log = [line for line in run.folder.read_log() if line["kind"] == "evaluation"]
    monitored = [line["valid"]["auc"] for line in log]
    assert tuned.best.scores == tuple(monitored)
    assert tuned.best.score == max(monitored)
    best = files(tmp_path / "s", "best.json")
    assert best["options"] == tuned.best.options
    assert best["settings"]["epochs"] == 2
    assert best["spec"] == json.loads((run.folder.model / "spec.json").read_text())
    assert [t["number"] for t in files(tmp_path / "s", "trials.json")["trials"]] == [t.number for t in tuned.trials]


def test_a_trial_that_ends_with_its_last_weights_is_judged_by_them(tmp_path):
    asked = QUICK | {"settings": {"epochs": 6, "batch_size": 16, "restore_best": False, "patience": None}}
    tuned = clicksmith.tune(clicks(400), out=tmp_path / "s", trials=3, pruner="none", **asked)
    assert any(max(trial.scores) > trial.scores[-1] for trial in tuned.trials)
    assert all(trial.score == trial.scores[-1] for trial in tuned.trials)
    run = clicksmith.fit(clicks(400), schema=PLAIN, out=tmp_path / "run", **tuned.fit)
    assert run.metrics["valid"]["auc"] == pytest.approx(tuned.best.score, abs=1e-9)


def test_the_test_rows_are_not_read(tmp_path, monkeypatch):
    opened: list[int] = []
    batches, chunks = Chosen.batches, Chosen.chunks

    def watch(kept):
        def read(self: Source, *args, **options):
            opened.append(self.rows_hint)
            return kept(self, *args, **options)

        return read

    monkeypatch.setattr(Chosen, "batches", watch(batches))
    monkeypatch.setattr(Chosen, "chunks", watch(chunks))
    clicksmith.tune(clicks(400), out=tmp_path / "s", trials=1, **{**QUICK, "model": "fm"})
    assert set(opened) <= {320, 40}
    search = files(tmp_path / "s", "search.json")
    assert set(search["data"]) == {"train", "valid"}


def test_the_first_trial_is_the_published_default(tmp_path):
    space = {"model": {"dim": [4, 16], "units": [[8], [400, 400, 400]]}, "train": {"epochs": 1}}
    found = clicksmith.tune(clicks(200), schema=PLAIN, model="dnn", space=space, out=tmp_path / "s", trials=1)
    assert found.trials[0].values == {"model.dim": 16, "model.units": (400, 400, 400), "train.epochs": 1}


def test_a_grid_runs_equal_configurations_once_and_says_which(tmp_path):
    space = {"model": {"gate": [False, True], "context1": [[], ["user"]], "dim": [2, 4]}, "train": {"epochs": 1}}
    options = {"units1": (4,), "units2": (4,), "gate_units": (4,), "heads": 1}
    tuned = clicksmith.tune(
        clicks(200), schema=PLAIN, model="finalmlp", options=options, space=space, sampler="grid", pruner="none",
        out=tmp_path / "s",
    )  # fmt: skip
    assert len(tuned.trials) == 6
    assert sorted(len(trial.same) for trial in tuned.trials) == [0, 0, 0, 0, 1, 1]
    assert {trial.values["model.gate"] for trial in tuned.trials if trial.same} == {False}


def test_a_space_that_is_used_up_ends_the_search(tmp_path):
    said = Said()
    space = {"model": {"dim": [2, 4]}, "train": {"epochs": 1}}
    arguments = {**QUICK, "settings": {}, "space": space}
    tuned = clicksmith.tune(
        clicks(200), out=tmp_path / "s", trials=9, sampler="random", pruner="none", progress=said, **arguments
    )
    assert len(tuned.trials) == 2
    assert said.lines[-1].startswith("the last 50 proposals were configurations that had been tried")


def test_again_goes_on_and_ends_at_once_when_there_are_enough(tmp_path):
    one = clicksmith.tune(clicks(300), out=tmp_path / "a", trials=4, pruner="none", **QUICK)
    clicksmith.tune(clicks(300), out=tmp_path / "b", trials=2, pruner="none", **QUICK)
    said = Said()
    two = clicksmith.tune(clicks(300), out=tmp_path / "b", trials=4, pruner="none", progress=said, **QUICK)
    assert scores(one) == scores(two)
    assert len([line for line in said.lines if line.startswith("trial ")]) == 2
    assert clicksmith.tune(clicks(300), out=tmp_path / "b", trials=4, pruner="none", **QUICK).trials == two.trials


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "ffm"}, r"model \(fm, asked is ffm\)"),
        ({"space": {"model": {"dim": [2, 4]}, "train": SPACE["train"]}}, r"space \(model\.dim\)"),
        ({"settings": {"epochs": 3, "batch_size": 64}}, r"settings \(epochs\)"),
        ({"train": clicks(300, seed=5)}, r"data \(train, valid\)"),
        ({"sampler": "random"}, r"sampler \(tpe, asked is random\)"),
    ],
)
def test_another_search_in_the_folder_is_refused_and_the_difference_named(tmp_path, change, named):
    arguments = {**QUICK, "train": clicks(300), "out": tmp_path / "s", "trials": 1}
    clicksmith.tune(**arguments)
    out = rf"Choose another --out, or remove '{tmp_path / 's'}' and what it found to search anew\."
    with pytest.raises(UsageError, match=rf"holds another search; it differs in {named}\. {out}$"):
        clicksmith.tune(**{**arguments, **change})


def test_a_range_over_a_setting_that_is_none_by_default_is_searched(tmp_path):
    space = {"train": {"steps": {"low": 2, "high": 6}}}
    asked = {"schema": PLAIN, "model": "fm", "settings": {"epochs": 1, "batch_size": 64}, "space": space}
    tuned = clicksmith.tune(clicks(300), out=tmp_path / "s", trials=2, pruner="none", **asked)
    assert all(2 <= trial.values["train.steps"] <= 6 for trial in tuned.trials) and tuned.count("complete") == 2


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match=r"is not empty and holds no search \(for example 'thesis\.txt'\)"):
        clicksmith.tune(clicks(200), out=tmp_path, trials=1, **QUICK)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"trials": 0}, r"^trials is 0; it must be at least 1\.$"),
        ({"jobs": 0}, r"^jobs is 0; it must be at least 1\.$"),
        ({"timeout": -1.0}, r"^timeout is -1 seconds; it must be above 0\.$"),
        ({"sampler": "tpf"}, r"^no sampler named 'tpf'\. Did you mean 'tpe'\?$"),
        ({"space": {"train": {"monitor": ["auc", "gauc+auc"]}}}, r"no option of \[train\] named 'monitor'"),
        (
            {"settings": {"epochs": 2}, "space": {"train": {"epochs": [1, 2]}}},
            r"^train\.epochs is given and in",
        ),
        ({"options": {"dmi": 3}}, r"^fm: no option named 'dmi'\. Did you mean 'dim'\?$"),
        ({"sampler": "grid"}, r"a grid needs lists, and train\.learning_rate is a range"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, bad, message):
    with pytest.raises(UsageError, match=message):
        clicksmith.tune(clicks(200), out=tmp_path / "s", **{**QUICK, **bad})
    assert not (tmp_path / "s").exists()


def test_trials_that_fail_are_recorded_and_the_others_go_on(tmp_path):
    space = {"model": {"heads": [1, 3]}, "train": {"epochs": 1, "learning_rate": [0.001, 1e30]}}
    options = {"units1": (4,), "units2": (4,), "gate": False}
    arguments = {"schema": PLAIN, "model": "finalmlp", "options": options, "space": space}
    tuned = clicksmith.tune(clicks(300), out=tmp_path / "s", sampler="grid", pruner="none", **arguments)
    assert tuned.count("complete") == 1
    errors = sorted(trial.error.partition(":")[0] for trial in tuned.trials if trial.state == "failed")
    assert errors == ["CompositionError", "CompositionError", "DivergedError"]
    assert "the process" not in (tmp_path / "s" / "report.html").read_text()
    assert "DivergedError" in (tmp_path / "s" / "report.html").read_text()


def test_a_trial_that_runs_out_of_memory_is_a_failed_one(tmp_path, monkeypatch):
    kept = trial.train

    def train(model, *args, **options):
        if model.spec.embed.dim == 8:
            raise MemoryError("cannot allocate 8 GB")
        return kept(model, *args, **options)

    monkeypatch.setattr(trial, "train", train)
    space = {"model": {"dim": [8, 2]}, "train": {"epochs": 1}}
    tuned = clicksmith.tune(clicks(200), schema=PLAIN, model="fm", space=space, sampler="grid", out=tmp_path / "s")
    assert [t.state for t in tuned.trials] == ["complete", "failed"]
    assert tuned.trials[1].error == "MemoryError: cannot allocate 8 GB"


def test_a_trial_that_kills_its_process_again_and_again_is_given_up(tmp_path, monkeypatch):
    def die(*_args):
        raise SystemExit(9)

    space = {"model": {"dim": [8, 2]}, "train": {"epochs": 1}}
    arguments = {"schema": PLAIN, "model": "fm", "space": space, "sampler": "grid", "out": tmp_path / "s"}
    with monkeypatch.context() as patch:
        patch.setattr(search, "run_trial", die)
        for _ in range(3):
            with pytest.raises(SystemExit):
                clicksmith.tune(clicks(200), **arguments)
    tuned = clicksmith.tune(clicks(200), **arguments)
    assert [(t.state, t.error) for t in tuned.trials] == [
        ("complete", ""),
        ("failed", "its process was killed 3 times"),
    ]


def test_if_every_trial_fails_the_first_reason_is_told(tmp_path):
    space = {"model": {"heads": [3]}, "train": {"epochs": 1}}
    arguments = {"schema": PLAIN, "model": "finalmlp", "space": space, "options": {"units1": (4,), "units2": (4,)}}
    tuned = clicksmith.tune(clicks(200), out=tmp_path / "s", trials=1, **arguments)
    told = r"^none of 1 trials in '.*' has finished; trial 0: CompositionError: stream.*not run again: mend their cause"
    with pytest.raises(UsageError, match=told):
        _ = tuned.best
    assert not (tmp_path / "s" / "best.json").exists()


RAISING = """
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.models.spec import ModelSpec
class RaisingWhenBuilt(Block, frozen=True):
    def out(self, shape):
        return HiddenShape(1)
    def build(self, shape):
        raise KeyError("wings")
def mine(*, dim: int = 2) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=RaisingWhenBuilt())
"""


def test_what_a_part_of_ones_own_raises_fails_its_trial_with_the_place(tmp_path):
    (tmp_path / "own.py").write_text(RAISING)
    arguments = {"schema": PLAIN, "model": "mine", "models": [tmp_path / "own.py"], "space": {"model": {"dim": [2]}}}
    tuned = clicksmith.tune(clicks(200), out=tmp_path / "s", trials=1, **arguments)
    assert [trial.error for trial in tuned.trials] == [f"'{tmp_path}/own.py', line 10: KeyError: 'wings'"]


def test_bad_trials_are_pruned_by_what_others_reached(tmp_path):
    space = {"model": {"dim": 4}, "train": {"learning_rate": [0.05, 1e-7, 2e-7, 3e-7], "epochs": 4, "patience": 9}}
    tuned = clicksmith.tune(clicks(400), schema=PLAIN, model="fm", space=space, sampler="grid", out=tmp_path / "s")
    assert tuned.best.values["train.learning_rate"] == 0.05
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert len(pruned) == 3
    assert {trial.epochs for trial in pruned} <= {1, 3}
    assert tuned.importances["train.learning_rate"] == 1.0


def test_after_the_time_is_over_no_trial_begins(tmp_path):
    tuned = clicksmith.tune(clicks(200), out=tmp_path / "s", timeout=1e-9, **QUICK)
    assert tuned.trials == ()
    assert (tmp_path / "s" / "report.html").exists()


def test_a_proposal_depends_on_seed_and_number_alone():
    from optuna.distributions import FloatDistribution

    def draw(seed: int, number: int) -> float:
        import optuna

        study = optuna.create_study(sampler=sampler_of("random", seed, number))
        return study.ask({"x": FloatDistribution(0, 1)}).params["x"]

    assert draw(0, 1) == draw(0, 1)
    assert len({draw(0, 1), draw(0, 2), draw(1, 1)}) == 3


COMMAND = ["--schema", "schema.toml", "--model", "lr", "--trials", "2", "--pruner", "none", "--train.epochs", "30"]


def command(out: Path, jobs: int) -> list[str]:
    at = folder()
    files = [f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--out", str(out), "--jobs", str(jobs)]
    words = ["tune", *files, *COMMAND, "--train.patience", "none", "--train.batch-size", "128"]
    return [str(at / "schema.toml") if word == "schema.toml" else word for word in words]


@pytest.mark.parametrize(("jobs", "sent"), [(1, signal.SIGINT), (2, signal.SIGKILL)])
def test_an_ended_search_goes_on_from_the_checkpoint_to_the_same_trials(tmp_path, jobs, sent):
    argv = command(tmp_path / "s", jobs)
    search, stderr = warm.begin("clicksmith", *argv)
    until = time.monotonic() + 120
    while not list((tmp_path / "s").glob("trials/*/training/checkpoint")) and time.monotonic() < until:
        time.sleep(0.02)
    search.send_signal(sent)
    said = stderr.read()
    assert search.wait() == (130 if sent == signal.SIGINT else -sent)
    if sent == signal.SIGINT:
        assert "interrupted. resume with: clicksmith tune " in said
        assert {t["state"] for t in files(tmp_path / "s", "trials.json")["trials"]} <= {"interrupted", "complete"}
    assert main([*argv, "--quiet"]) == 0
    assert main([*command(tmp_path / "whole", 1), "--quiet"]) == 0
    found, whole = (
        {t["digest"]: t["scores"] for t in files(tmp_path / name, "trials.json")["trials"]} for name in ("s", "whole")
    )
    assert found == whole
    assert len(found) == 2
    assert not list((tmp_path / "s").glob("trials/*/training"))


def test_two_processes_share_a_folder_and_run_nothing_twice(tmp_path):
    argv = command(tmp_path / "s", 1)
    argv[argv.index("--trials") + 1] = "6"
    with subprocess.Popen(warm.command("clicksmith", *argv, "--quiet")) as other:
        assert main([*argv, "--quiet"]) == 0
        assert other.wait() == 0
    found = files(tmp_path / "s", "trials.json")["trials"]
    assert len({t["digest"] for t in found}) == len(found) == 6


def test_a_worker_that_dies_is_a_failed_trial_with_its_last_words(tmp_path):
    settings = clicksmith.TrainSettings()
    task = Task(spec={}, settings=settings, train="no", valid="no", folder=str(tmp_path / "t"), models=("no.py",))
    outcome = Worker(task, tmp_path / "log").wait(lambda scores: False)
    assert isinstance(outcome, Outcome)
    assert outcome.state == "failed"
    assert outcome.error.startswith("the process of the trial ended with status 1. clicksmith.errors.UsageError: there")
    killed = Worker(task, tmp_path / "log")
    killed._process.kill()
    outcome = killed.wait(lambda scores: False)
    assert outcome is not None
    assert "ended by signal 9, most likely out of memory" in outcome.error


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_ends_the_search_and_is_no_fault_of_the_configuration(tmp_path, jobs):
    space = {"model": {"dim": [2, 4]}, "train": {"epochs": 1}}
    arguments = {"schema": PLAIN, "model": "fm", "space": space, "sampler": "grid"}
    there = clicksmith.tune(clicks(200), out=tmp_path / "a", **arguments)
    first = clicksmith.tune(clicks(200), out=tmp_path / "b", trials=1, **arguments).trials[0].digest
    second = next(trial.digest for trial in there.trials if trial.digest != first)
    in_the_way = tmp_path / "b" / "trials" / second[:16] / "training" / "checkpoint"
    in_the_way.parent.mkdir(parents=True)
    for _ in range(search.DEATHS):
        in_the_way.touch()
        with pytest.raises(StorageError, match="checkpoint' is a file where a folder is to be written"):
            clicksmith.tune(clicks(200), out=tmp_path / "b", jobs=jobs, **arguments)
        in_the_way.unlink()
    tuned = clicksmith.tune(clicks(200), out=tmp_path / "b", jobs=jobs, **arguments)
    ended = [(trial.digest, trial.state, trial.score) for trial in tuned.trials]
    assert sorted(ended) == sorted((trial.digest, "complete", trial.score) for trial in there.trials)


def test_without_optuna_it_says_how_to_get_it():
    code = "import sys\nsys.modules['optuna'] = None\nimport clicksmith\nclicksmith.tune"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(
        "a search needs optuna, which is not installed; pip install 'clicksmith[tune]' brings it."
    )


def test_the_command_prints_trials_and_the_fit_that_trains_the_best(tmp_path, capsys):
    at = folder()
    (tmp_path / "space.toml").write_text("[model]\ndim = [2, 4]\n[train]\nepochs = 1\n")
    argv = ["tune", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--schema", f"{at}/schema.toml", "--model", "fm"]
    argv += ["--space", f"{tmp_path}/space.toml", "--sampler", "grid", "--out", f"{tmp_path}/s", "--pruner", "none"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == [
        "trial", "state", "auc", "logloss", "epochs", "dim",
    ]  # fmt: skip
    shown = [[float(x) for x in line.split()[2:4]] for line in captured.out.splitlines()[1:3]]
    best = files(tmp_path / "s", "best.json")["valid"]
    assert shown[0] == pytest.approx([best["auc"], best["logloss"]], abs=1e-4)
    assert shown[0][0] >= shown[1][0]  # the best first
    assert "2 trials: 2 complete" in captured.out
    line = captured.err.splitlines()[-1]
    assert line.startswith("next:  clicksmith fit ") and "--train.epochs 1 --out" in line
    assert main(shlex.split(line.removeprefix("next:  clicksmith "))) == 0
    measured = json.loads((tmp_path / "s" / "best" / "metrics.json").read_text())["valid"]["auc"]
    assert measured == pytest.approx(files(tmp_path / "s", "best.json")["valid"]["auc"], abs=1e-12)
    capsys.readouterr()


def test_the_command_says_why_trials_failed(tmp_path, capsys):
    (tmp_path / "space.toml").write_text("[model]\ndim = [2, 4]\n[train]\nepochs = 1\nlearning_rate = [0.01, 1e30]\n")
    argv = ["tune", str(folder() / "train.csv"), "--label", "click", "--model", "fm", "--quiet", "--pruner", "none"]
    argv += ["--space", f"{tmp_path}/space.toml", "--sampler", "grid", "--out", f"{tmp_path}/s"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "4 trials: 2 complete, 2 failed" in printed
    told = [line.split(": ") for line in printed.splitlines() if line.startswith("failed: ")]
    failed = [trial["number"] for trial in files(tmp_path / "s", "trials.json")["trials"] if trial["state"] == "failed"]
    assert {words[2] for words in told} == {"DivergedError"}
    named = [int(n) for words in told for n in words[1].removeprefix("trial ").split(", ")]
    assert sorted(named) == sorted(failed)


def test_the_command_prints_the_space_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["tune", str(folder() / "train.csv"), "--label", "click", "--model", "fm", "--model.dim", "8"]
    assert main([*argv, "--print-space"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("[train]\nlearning_rate = {low = 0.0001, high = 0.01, log = true}\n")
    assert list(tmp_path.iterdir()) == []
    assert main(argv) == 2
    assert capsys.readouterr().err == "error: --out DIR is missing; see `clicksmith tune --help`.\n"


def test_own_models_are_searched_in_processes_too(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from clicksmith.embed.embedder import Embed\nfrom clicksmith.interact.compose import Stacked\n"
        "from clicksmith.interact.mlp import MLP\nfrom clicksmith.models.spec import ModelSpec\n"
        "class Short(MLP, frozen=True):\n    pass\n"
        "def mine(*, dim: int = 4) -> ModelSpec:\n"
        "    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(then=(Short(units=(4,)),)))\n"
    )
    space = {"model": {"dim": [2, 4]}, "train": {"epochs": 1}}
    arguments = {"schema": PLAIN, "model": "mine", "models": [tmp_path / "mine.py"], "space": space}
    tuned = clicksmith.tune(clicks(200), out=tmp_path / "s", trials=2, jobs=2, pruner="none", **arguments)
    assert tuned.count("complete") == 2, [trial.error for trial in tuned.trials]
    assert pl.DataFrame({"d": [t.values["model.dim"] for t in tuned.trials]})["d"].n_unique() == 2


def test_a_trial_that_goes_on_is_judged_at_each_rung_by_what_it_had_there(tmp_path):
    study = open_study(tmp_path / "journal.log", "asha", 9)
    whole = SimpleNamespace(_guard=Lock())
    first, later = study.ask(), study.ask()
    assert not search.Search.pruning(whole, first)([0.70])
    assert not search.Search.pruning(whole, later)([0.70, 0.75, 0.80])  # all at once, as its checkpoint has them
    rungs = [{k: v for k, v in t.system_attrs.items() if "rung" in k} for t in study.get_trials()]
    assert [list(one.values())[:1] for one in rungs] == [[0.70], [0.70]]
    worse = study.ask()
    assert search.Search.pruning(whole, worse)([0.69, 0.90]) and len(study.get_trials()[2].intermediate_values) == 1
