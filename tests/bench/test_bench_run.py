"""Runs: resumed, parallel, nothing shared; a trial that fails is a row, and what is wrong beforehand runs nothing."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest
import torch
from world import SETTINGS, bench, copied, finished, make

from clicksmith.bench import pool
from clicksmith.bench.attempt import Attempt, scored_before
from clicksmith.bench.data import prepare
from clicksmith.bench.job import Job
from clicksmith.bench.results import read_results
from clicksmith.bench.row import read_row, write_row
from clicksmith.bench.run import side_by_side
from clicksmith.bench.settings import BenchSettings, ModelSettings, contestants
from clicksmith.cli.main import main
from clicksmith.datasets import DATASETS
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, StorageError, UnknownNameError, UsageError
from clicksmith.forks import ADDRESS
from clicksmith.trees.spec import Trees


def rows(folder: Path) -> dict[str, Path]:
    found = (folder / "results" / "shop").glob("*/*.json")  # what is hidden is of trials under way
    return {f"{path.parent.name}/{path.stem}": path for path in found if not path.parent.name.startswith(".")}


def test_finished_rows_are_skipped_and_missing_ones_come_out_the_same(tmp_path):
    folder = copied(tmp_path)
    before = {name: path.read_bytes() for name, path in rows(folder).items()}
    removed = rows(folder)["FM/1"]
    wanted = read_row(removed)
    removed.unlink()
    said: list[str] = []
    report = bench(folder, said=said)
    assert (report.finished, report.skipped, report.failed) == (1, 3, [])
    assert "1 trials to run, 1 at once; 3 rows are there" in said
    again = read_row(removed)
    assert again.done.predictions == wanted.done.predictions  # the same trial, bit for bit
    assert all(path.read_bytes() == before[name] for name, path in rows(folder).items() if name != "FM/1")


def test_progress_says_what_came_out_and_how_long_it_takes(tmp_path):
    make(tmp_path)
    said: list[str] = []
    bench(tmp_path, said=said, models=["LR"], seeds=1)
    assert said[0] == "shop: no checksums are published for its files; files as given"
    assert said[1] == "encoded: train 1,500 rows, valid 400 rows, test 400 rows"
    assert said[-1].startswith("[1/1] LR seed 0: AUC 0.")


def test_equal_configurations_are_run_once(tmp_path):
    make(tmp_path)
    (tmp_path / "settings.toml").write_text(SETTINGS + '[models.Same]\nname = "fm"\noptions = { dim = 4 }\n')
    said: list[str] = []
    report = bench(tmp_path, said=said, models=["FM", "Same"], seeds=1)
    assert report.finished == 1
    assert "note: Same has the same configuration as FM; it is not run a second time" in said


def test_a_trial_that_diverges_or_cannot_be_built_is_a_row_and_the_others_go_on(tmp_path, capsys):
    make(tmp_path)
    refused = '[models.Refused]\nname = "autoint"\noptions = { dim = 4, width = 10, heads = 4 }\n'
    bad = '[models.Bad]\nname = "dnn"\noptions = { dim = 4, units = [8] }\n'
    (tmp_path / "settings.toml").write_text(refused + bad + "[train]\nlearning_rate = 1e30\n")
    report = bench(tmp_path, seeds=1)
    assert (report.finished, len(report.failed)) == (0, 2)
    assert main(["bench", "table", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().err
    assert said.count("shop: no trial has finished; ") == 2 and "Bad/0.json: diverged: " in said
    (tmp_path / "settings.toml").write_text(SETTINGS + refused)
    assert bench(tmp_path, seeds=1, models=["FM", "LR"]).finished == 2
    failed = {name: read_row(path).failure for name, path in rows(tmp_path).items() if read_row(path).failure}
    assert set(failed) == {"Bad/0", "Refused/0"}
    assert failed["Bad/0"].kind == "diverged" and failed["Bad/0"].test_evaluations == 0
    assert failed["Refused/0"].kind == "refused"
    again = bench(tmp_path, seeds=1, models=["FM", "LR"])
    assert (again.finished, again.skipped, again.failed, again.failed_before) == (0, 2, [], 0)
    retried = bench(tmp_path, seeds=1, retry=True, models=["Refused", "FM"])
    assert (retried.skipped, len(retried.failed)) == (1, 1)
    before = bench(tmp_path, seeds=1, models=["Refused", "FM"])
    assert (before.skipped, before.failed, before.failed_before) == (2, [], 1)
    argv = ["bench", "run", str(tmp_path / "shop.toml"), "--settings", str(tmp_path / "settings.toml"), "--seeds", "1"]
    argv += ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache"), "--quiet", "--models"]
    assert main([*argv, "FM"]) == 0
    assert main([*argv, "Refused", "FM"]) == 1  # not every outcome that was asked for is there


def test_that_test_rows_were_scored_outlives_a_refusal(tmp_path):
    make(tmp_path)
    refused = '[models.Refused]\nname = "autoint"\noptions = { dim = 4, width = 10, heads = 4 }\n'
    (tmp_path / "settings.toml").write_text(refused)
    bench(tmp_path, seeds=1)
    row = read_row(rows(tmp_path)["Refused/0"])
    scored = msgspec.structs.replace(row.failure, test_evaluations=1)
    write_row(tmp_path / "results", msgspec.structs.replace(row, failure=scored))
    assert len(bench(tmp_path, seeds=1, retry=True).failed) == 1
    assert read_row(rows(tmp_path)["Refused/0"]).failure == scored


def test_another_configuration_in_the_same_folder_is_refused(tmp_path):
    folder = copied(tmp_path)
    (folder / "settings.toml").write_text(SETTINGS.replace("epochs = 2", "epochs = 3"))
    with pytest.raises(UsageError, match=r"is a row of another configuration .it differs in: epochs is 2, asked 3"):
        bench(folder)


def test_a_failed_trial_of_another_configuration_is_run_again_if_asked(tmp_path):
    make(tmp_path)
    (tmp_path / "settings.toml").write_text(SETTINGS.replace("learning_rate = 1e-2", "learning_rate = 1e30"))
    assert len(bench(tmp_path, models=["FM"], seeds=1).failed) == 1
    (tmp_path / "settings.toml").write_text(SETTINGS)
    with pytest.raises(UsageError, match=r"it differs in: .*; its trial failed: --retry runs this one in its place"):
        bench(tmp_path, models=["FM"], seeds=1)
    assert bench(tmp_path, models=["FM"], seeds=1, retry=True).finished == 1


def test_a_strange_file_is_named_left_alone_and_does_not_stop_the_others(tmp_path):
    folder = copied(tmp_path)
    rows(folder)["FM/0"].write_text('{"auc": 1}')
    rows(folder)["LR/1"].unlink()
    report = bench(folder)
    assert (report.finished, report.skipped) == (1, 2)
    assert len(report.strange) == 1 and "FM/0.json' is not a row of a benchmark" in report.strange[0]
    assert rows(folder)["FM/0"].read_text() == '{"auc": 1}'


def test_a_finished_row_without_its_predictions_is_not_taken_for_done(tmp_path):
    folder = copied(tmp_path)
    row, predictions = rows(folder)["FM/0"], rows(folder)["FM/0"].with_suffix(".npy")
    predictions.write_bytes(predictions.read_bytes()[:-8])
    report = bench(folder)
    assert (report.finished, report.skipped) == (0, 3)
    assert report.strange == [
        f"'{predictions}' was altered: its checksum is not the one in the row. Nothing is changed; remove '{row}' to "
        "run this trial."
    ]
    row.unlink()
    assert bench(folder).finished == 1


def test_out_of_memory_is_recorded(tmp_path):
    make(tmp_path)
    big = '[models.Big]\nname = "dnn"\noptions = { dim = 4, units = [30000, 30000] }\n'
    (tmp_path / "settings.toml").write_text(SETTINGS + big)
    report = bench(tmp_path, seeds=1, models=["Big", "LR"], memory=1.2)
    assert report.finished == 1
    assert read_row(rows(tmp_path)["Big/0"]).failure.kind == "out of memory"


def job() -> Job:
    row = read_row(rows(finished())["LR/0"])
    stores = dict.fromkeys(("train", "valid", "test"), "nowhere")
    return Job(dataset="shop", model="LR", configuration=row.configuration, stores=stores, labels="", results="nowhere")


def stand_in(script: str, monkeypatch) -> None:
    """Have a Python script run where a trial would."""

    def begin(_, *, errors, environment):
        command, pipe = [sys.executable, "-c", script], subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, env=environment)

    monkeypatch.setattr(pool, "Piped", begin)


def ended(script: str, monkeypatch, jobs: int = 1, **options) -> list[pool.Ended]:
    """Run jobs whose process is a Python script of ours."""
    stand_in(script, monkeypatch)
    found: list[pool.Ended] = []
    whole = {"at_once": 2, "memory": 1 << 34, "need": lambda _: 1} | options
    pool.run_jobs([job() for _ in range(jobs)], ended=found.append, **whole)
    return found


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "out of memory", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV: no message"),
        ("import sys; print('noise'); sys.exit('no such thing')", "crashed", "exit status 1: no such thing"),
        ("import sys; sys.stdin.close(); sys.exit(0)", "crashed", "exit status 0: no message"),
    ],
)
def test_a_process_that_dies_without_a_word_is_told_by_its_end(script, kind, words, monkeypatch):
    found = ended(script, monkeypatch, jobs=3)
    assert [one.failure.kind for one in found] == [kind] * 3
    assert words in found[0].failure.message


def test_processes_that_could_not_be_begun_are_told_apart(monkeypatch):
    class Gone:
        """What there is of a process if the server is gone before it says which: `Forked` takes it for killed."""

        pid = -signal.SIGKILL

        def __init__(self, *_, **__):
            self.stdin, self.stdout = io.BytesIO(), ()
            self.wait, self.kill = lambda: -signal.SIGKILL, lambda: None

    monkeypatch.setattr(pool, "Piped", Gone)
    found: list[pool.Ended] = []
    pool.run_jobs([job(), job()], at_once=2, memory=1 << 34, need=lambda _: 1, ended=found.append)
    assert [one.failure.kind for one in found] == ["out of memory"] * 2


def test_a_trial_that_dies_after_it_scored_test_rows_says_so(monkeypatch, tmp_path):
    one = msgspec.structs.replace(job(), results=str(tmp_path))
    Attempt(tmp_path / "shop", "LR", one.configuration, threads=1).note(2)
    for before, scored in ((0, 2), (3, 3)):
        stand_in("import os; os.kill(os.getpid(), 9)", monkeypatch)
        found: list[pool.Ended] = []
        asked = msgspec.structs.replace(one, test_evaluations=before)
        pool.run_jobs([asked], at_once=1, memory=1 << 34, need=lambda _: 1, ended=found.append)
        assert found[0].failure.test_evaluations == scored


def test_one_trial_at_once_on_a_gpu_and_one_a_core_without(monkeypatch):
    settings = BenchSettings({"FM": ModelSettings("fm"), "cpu": ModelSettings("fm")})
    chosen = contestants(settings, ["all"], train={"precision": "fp32"})
    monkeypatch.setattr("clicksmith.bench.run.cores", lambda: 7)
    monkeypatch.setattr("clicksmith.bench.settings.device_of", lambda wish: torch.device("cpu"))
    assert side_by_side(chosen) == 7
    monkeypatch.setattr("clicksmith.bench.settings.device_of", lambda wish: torch.device("cuda"))
    assert side_by_side(chosen) == 1
    trees = [replace(one, spec=Trees()) for one in chosen]  # they grow on the processor
    assert side_by_side(trees) == 7


def test_an_interruption_ends_the_trials_that_run(monkeypatch, tmp_path):
    script = f"""
import os, sys, time
from pathlib import Path
try:
    Path({str(tmp_path)!r}, "first").touch(exist_ok=False)  # one of the two, whichever comes first
except FileExistsError:
    Path({str(tmp_path)!r}, "second").write_text(str(os.getpid()))
    time.sleep(60)
while not Path({str(tmp_path)!r}, "second").exists(): time.sleep(.05)
"""
    stand_in(script, monkeypatch)

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.run_jobs([job(), job()], at_once=2, memory=1 << 34, need=lambda _: 1, ended=interrupted)
    assert not alive(int((tmp_path / "second").read_text()))


def test_as_many_trials_run_at_once_as_memory_allows(monkeypatch, tmp_path):
    log = tmp_path / "log"
    script = f"""
import os, sys, time
with open({str(log)!r}, "a") as f: f.write("+"); f.flush(); time.sleep(.3); f.write("-")
os.write(1, b'{{"done": true}}\\n')
"""
    assert all(one.failure is None for one in ended(script, monkeypatch, jobs=4, memory=100, need=lambda _: 60))
    assert log.read_text() == "+-+-+-+-"
    log.unlink()
    ended(script, monkeypatch, jobs=4, memory=100, need=lambda _: 50)
    assert log.read_text().startswith("++")


def test_a_full_disk_stops_the_run_and_changes_nothing(tmp_path, monkeypatch):
    folder = copied(tmp_path)
    rows(folder)["FM/0"].unlink()
    stand_in(FULL, monkeypatch)
    with pytest.raises(StorageError, match=r"no space left on the disk while writing .*; nothing was changed"):
        bench(folder)
    assert set(rows(folder)) == {"FM/1", "LR/0", "LR/1"}
    monkeypatch.undo()
    assert bench(folder).finished == 1


def test_a_full_disk_keeps_what_is_known_of_earlier_attempts(tmp_path, monkeypatch):
    folder = copied(tmp_path)
    path = rows(folder)["FM/0"]
    asked = read_row(path).configuration
    path.unlink()
    before = Attempt(path.parents[1], "FM", asked, threads=2)
    before.note(1)
    stand_in(FULL, monkeypatch)
    with pytest.raises(StorageError, match=r"no space left on the disk while writing .*spent.json"):
        bench(folder)
    assert scored_before(path.parents[1], "FM", asked) == 1
    monkeypatch.undo()
    assert bench(folder).finished == 1
    assert read_row(path).done.test_evaluations == 2


FULL = f"""
from pathlib import Path
from clicksmith.bench import trial
def full(self, content): raise OSError({errno.ENOSPC}, "No space left on device", str(self))
Path.write_bytes = full
trial.main()
"""


def test_a_killed_run_goes_on_and_its_trials_die_with_it(tmp_path):
    make(tmp_path)
    (tmp_path / "settings.toml").write_text(SETTINGS.replace("epochs = 2", "epochs = 5000\npatience = 5000"))
    argv = ["bench", "run", str(tmp_path / "shop.toml"), "--settings", str(tmp_path / "settings.toml"), "--models"]
    argv += ["FM", "--seeds", "1", "--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    process = subprocess.Popen(
        [sys.executable, "-m", "clicksmith.cli.main", *argv],
        env={name: value for name, value in os.environ.items() if name != ADDRESS}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(begun := descendants(process.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(alive(one) for one in begun) and time.monotonic() < until:
        time.sleep(0.1)
    assert len(begun) == 2 and not any(alive(one) for one in begun)
    assert not rows(tmp_path)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    assert bench(tmp_path, models=["FM"], seeds=1).finished == 1


def descendants(process: int) -> list[int]:
    """Return the server that a run began, and its trials."""
    children = [int(x) for x in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def alive(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_unknown_data_sets_and_protocols_suggest_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no data set named 'frape_x1'. Did you mean 'frappe_x1'"):
        bench(tmp_path, dataset="frape_x1", settings=None)
    with pytest.raises(UnknownNameError, match=r"no protocol of frappe_x1 named 'publish'. Did you mean 'published'"):
        bench(tmp_path, dataset="frappe_x1", settings=None, protocol="publish")


def test_a_file_that_is_not_the_published_one_is_named_with_both_sums_and_nothing_is_run(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.csv").write_text("label,user\n1,2\n")
    with pytest.raises(DataError) as error:
        bench(tmp_path, dataset="frappe_x1", data=str(tmp_path), settings=None)
    assert str(error.value).startswith(f"'{tmp_path}/train.csv' has MD5 ")
    assert f"expected {DATASETS['frappe_x1'].files[0].md5[0]}" in str(error.value)
    assert not (tmp_path / "results").exists()


def test_validation_rows_that_are_the_test_rows_are_refused(tmp_path):
    make(tmp_path)
    (tmp_path / "valid.csv").write_bytes((tmp_path / "test.csv").read_bytes())
    with pytest.raises(UsageError, match=r"shop.toml': valid and test are the same rows, .*leave out valid"):
        bench(tmp_path)
    assert not (tmp_path / "results").exists()


def test_other_test_rows_in_the_same_folder_are_refused(tmp_path):
    folder = copied(tmp_path)
    text = (folder / "test.csv").read_text().splitlines()
    (folder / "test.csv").write_text("\n".join(text[:-10]) + "\n")
    with pytest.raises(UsageError, match=r"test_labels.npy. was written for other test rows \(here are 390\)"):
        bench(folder)


def test_test_rows_of_one_class_are_refused_and_groups_of_one_row_cost_no_other_metric(tmp_path):
    path = make(tmp_path)
    path.write_text(path.read_text().replace('group = "user"', 'group = "row"'))
    for part in ("train", "valid", "test"):
        frame = pl.read_csv(tmp_path / f"{part}.csv").with_row_index("row")
        frame.write_csv(tmp_path / f"{part}.csv")
    assert bench(tmp_path, models=["LR"], seeds=1).failed == []
    (row,) = read_results(tmp_path / "results").models("shop")["LR"]
    assert "auc" in row.done.test.values and "gauc" not in row.done.test.values
    pl.read_csv(tmp_path / "test.csv").filter(pl.col("click") == 0).write_csv(tmp_path / "test.csv")
    with pytest.raises(UsageError, match=r"'shop': 0 of the [0-9]+ test rows are clicks; with fewer than two"):
        bench(tmp_path, models=["LR"], seeds=1)


def sequences(folder: Path) -> None:
    """Make a data set whose published test rows are its validation rows too."""
    header = "label,user_id,item_id,cate_id,item_history,cate_history\n"
    for part, count in (("train", 200), ("test", 40)):
        lines = (f"{i % 2},u{i // 4},i{i % 7},c{i % 3},i1^i2,c1^c2\n" for i in range(count))
        (folder / f"{part}.csv").write_text(header + "".join(lines))


def test_validation_rows_come_off_the_training_rows_unless_the_published_parts_are_asked_for(tmp_path, monkeypatch):
    sequences(tmp_path)
    monkeypatch.setattr(sys.modules["clicksmith.datasets.load"], "verify_file", lambda path, md5, rows: None)

    def prepared(protocol):
        return prepare("amazonelectronics_x1", str(tmp_path), protocol, tmp_path / "cache", lambda _: None)

    ours, theirs = prepared(None), prepared("published")
    assert ours.title == "amazonelectronics_x1" and theirs.title == "amazonelectronics_x1_published"
    assert ours.split.startswith("valid is a tenth of the training rows, whole groups of 'user_id' drawn by chance")
    assert theirs.split == "test rows are validation rows too, as published"
    counts = {part: Store.open(path).rows for part, path in ours.stores.items()}
    assert counts == {"train": 180, "valid": 20, "test": 40}
    assert theirs.stores["valid"] == theirs.stores["test"]


def test_numbers_that_cannot_be_are_refused(tmp_path):
    for options, said in (
        ({"seeds": 0}, "--seeds 0"),
        ({"jobs": 0}, "--jobs 0"),
        ({"memory": 0}, "--memory 0"),
        ({"memory": 0.2}, "--memory 0.2.*at least 1.1"),
    ):
        with pytest.raises(UsageError, match=said):
            bench(tmp_path, **options)


def test_the_command_line_runs_and_says_what_is_next(tmp_path, capsys):
    folder = copied(tmp_path)
    argv = ["bench", "run", str(folder / "shop.toml"), "--settings", str(folder / "settings.toml"), "--seeds", "2"]
    assert main([*argv, "--results", str(folder / "results"), "--cache", str(folder / "cache")]) == 0
    said = capsys.readouterr()
    assert said.out == "0 trials finished, 4 were done before, 0 failed\n"
    assert f"next:  clicksmith bench table {folder / 'results'}" in said.err
    assert main(["bench", "rum"]) == 2
    assert "no action of `clicksmith bench` named 'rum'. Did you mean 'run'?" in capsys.readouterr().err
    assert main(["bench", "run", "nothing", "--seeds", "1"]) == 2
    assert "no data set named 'nothing'" in capsys.readouterr().err
