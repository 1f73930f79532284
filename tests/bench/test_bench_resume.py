"""A killed trial goes on from its checkpoint and comes out as if it had not been killed."""

from pathlib import Path

import msgspec
import pytest
import torch
from world import finished

from clicksmith.bench.attempt import FOLDER, Attempt
from clicksmith.bench.job import Job
from clicksmith.bench.locked import LockedTest
from clicksmith.bench.row import read_row
from clicksmith.bench.trial import run_trial
from clicksmith.encode.store import Store
from clicksmith.train.progress import Silent


class Killed(BaseException):
    """What no trial catches."""


class Counting(Silent):
    def __init__(self, until: int) -> None:
        self.epochs, self.until = [], until

    def evaluated(self, entry) -> None:
        self.epochs.append(entry["epoch"])
        if len(self.epochs) == self.until:
            raise Killed


def job(results: Path) -> Job:
    """Four epochs of FM."""
    asked = read_row(finished() / "results" / "shop" / "FM" / "0.json").configuration
    asked = msgspec.structs.replace(asked, settings=asked.settings | {"epochs": 4, "patience": 4})
    folders = [path.parent for path in (finished() / "cache").rglob("rows/manifest.json")]
    by_rows = {}
    for folder in folders:
        by_rows.setdefault(Store.open(folder).rows, []).append(str(folder))
    stores = {"train": by_rows[1500][0], "valid": by_rows[400][0], "test": by_rows[400][1]}
    return Job(dataset="shop", model="FM", configuration=asked, stores=stores, labels="x", results=str(results))


def attempted(job: Job, *, threads: int = 1) -> Attempt:
    return Attempt(Path(job.results) / "shop", job.model, job.configuration, threads=threads)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_killed_trial_trains_only_what_is_left_and_comes_out_the_same(tmp_path):
    whole = job(tmp_path / "whole")
    wanted = run_trial(whole, LockedTest(Path(whole.stores["test"])), attempted(whole), Counting(0)).done
    cut = job(tmp_path / "cut")
    with pytest.raises(Killed):
        run_trial(cut, LockedTest(Path(cut.stores["test"])), attempted(cut), Counting(3))
    rest = Counting(0)
    again = attempted(cut)
    found = run_trial(cut, LockedTest(Path(cut.stores["test"])), again, rest).done
    assert rest.epochs == [4]
    assert found.predictions == wanted.predictions and found.valid == wanted.valid
    assert [e["valid"] for e in found.curve] == [e["valid"] for e in wanted.curve]
    assert (found.epochs, found.best_epoch, found.test_evaluations) == (4, wanted.best_epoch, 1)
    again.over()
    assert not (tmp_path / "cut" / "shop" / FOLDER).exists()


def test_other_settings_or_threads_begin_anew_and_remove_what_was_left(tmp_path):
    one = job(tmp_path)
    attempted(one).note(0)
    first = attempted(one).folder
    assert (first / "spent.json").exists()
    other = attempted(one, threads=2)
    assert other.folder != first and not first.exists()


def test_what_killed_attempts_cost_and_that_they_scored_test_rows_is_not_forgotten(tmp_path):
    one = job(tmp_path)
    attempt = attempted(one)
    attempt.note(1)
    spent = attempted(one).before
    assert spent.test_evaluations == 1 and spent.cpu_seconds > 0
    later = attempted(one).spent(1)
    assert later.seconds >= spent.seconds and later.cpu_seconds > 2 * spent.cpu_seconds - 1e-3
    (attempt.folder / "spent.json").write_text("{")
    assert attempted(one).before.test_evaluations == 0


def test_that_test_rows_were_scored_outlives_other_code_but_not_another_configuration(tmp_path):
    one = job(tmp_path)
    attempted(one).note(2)
    other = attempted(one, threads=2)
    assert other.before.test_evaluations == 2
    again = attempted(one, threads=2)  # the first was removed, and the second killed before it wrote anything itself
    assert again.before.test_evaluations == 2 and len(list(again.folder.parent.iterdir())) == 1
    changed = msgspec.structs.replace(one.configuration, split="another")
    assert attempted(msgspec.structs.replace(one, configuration=changed)).before.test_evaluations == 0
