"""The log: lines of steps between lines of evaluations, whole after a kill."""

from pathlib import Path

import msgspec
import pytest
import torch
from worlds import LAYOUT, clicks

from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.course import Course
from clicksmith.train.log import NAME, Log
from clicksmith.train.monitor import Judge
from clicksmith.train.settings import TrainSettings
from clicksmith.train.step import Watch
from clicksmith.train.trainer import train


def read(folder: Path) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in (folder / NAME).read_bytes().splitlines()]


def test_steps_are_logged_between_evaluations_with_the_mean_loss_since_the_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr("clicksmith.train.log.STEPS", 4)
    model = CTRModel(model_spec("lr"), LAYOUT)
    settings = TrainSettings(epochs=2, batch_size=100, device="cpu", patience=None)
    result = train(model, clicks(800, seed=1), clicks(300, seed=2), settings, run_dir=tmp_path)
    lines = read(tmp_path)
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("step", 4), ("step", 8), ("evaluation", 8), ("step", 12), ("step", 16), ("evaluation", 16),
    ]  # fmt: skip
    assert set(lines[0]) == {"kind", "epoch", "step", "loss", "learning_rate", "rows_per_second"}
    assert (lines[0]["loss"] + lines[1]["loss"]) / 2 == pytest.approx(lines[2]["loss"])
    assert [line for line in lines if line["kind"] == "evaluation"] == result.history


def test_a_log_goes_on_where_the_checkpoint_was(tmp_path):
    kept = {"kind": "step", "step": 50, "loss": 0.5}
    seen = {"kind": "evaluation", "step": 50, "loss": 0.4}
    lost = {"kind": "step", "step": 100, "loss": 0.3}
    lines = [msgspec.json.encode(line) + b"\n" for line in (kept, seen, lost)]
    (tmp_path / NAME).write_bytes(b"".join(lines) + b'{"kind": "st')
    Log(tmp_path).begin(Course(Judge(TrainSettings()), step=60, history=[seen]))
    assert read(tmp_path) == [kept, seen]
    Log(tmp_path).begin(Course(Judge(TrainSettings())))
    assert read(tmp_path) == []


def test_a_slow_step_is_logged_by_time_and_without_a_folder_nothing_is(tmp_path, monkeypatch):
    monkeypatch.setattr("clicksmith.train.log.SECONDS", 0.0)
    course, watch = Course(Judge(TrainSettings())), Watch(torch.nn.Linear(1, 1), torch.device("cpu"))
    course.pace.start()
    for folder in (tmp_path, None):
        log = Log(folder)
        log.begin(course)
        watch.see(torch.tensor(0.25), 10, 1, 0.1)
        course.step, course.pace.rows = 1, 10
        log.stepped(course, watch, 1, 0.1)
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [(1, 0.25)]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
