"""Runs that are killed or interrupted go on to the very weights of a run that was not."""

import signal
import time
from pathlib import Path
from typing import TextIO

import pytest

import warm
from clicksmith.forks import Forked

HERE = Path(__file__).parent
SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[6])
import torch
from worlds import LAYOUT, clicks
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from clicksmith.train import step
from safetensors.torch import save_file

folder, pause, update, precision, average = sys.argv[1], float(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
torch.set_num_threads(1)
torch.manual_seed(0)
model = CTRModel(model_spec("dnn", units=(16,), dropout=0.3, dim=4), LAYOUT)
settings = TrainSettings(
    epochs=3, batch_size=64, learning_rate=0.01, device="cpu", table_update=update, precision=precision,
    checkpoint_minutes=0, table_l2=1e-4, average=average,
)
plain = step.Stepper.step
def slow(self, rows, rate, number):
    plain(self, rows, rate, number)
    if number > 20:
        time.sleep(pause)
step.Stepper.step = slow
train(model, clicks(1000, seed=1), clicks(300, seed=2), settings, run_dir=folder)
save_file(dict(model.state_dict()), folder + "/final.safetensors")
"""


def start(folder: Path, pause: float, update: str, precision: str, average: int) -> tuple[Forked, TextIO]:
    return warm.begin("-c", SCRIPT, str(folder), str(pause), update, precision, str(average), str(HERE))


def wait_for(path: Path, process: Forked, said: TextIO) -> None:
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    if not path.exists():
        process.kill()
        raise AssertionError(said.read())


def finish(folder: Path, update: str, precision: str, average: int) -> bytes:
    process, said = start(folder, 0, update, precision, average)
    errors = said.read()
    assert process.wait() == 0, errors
    return (folder / "final.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("stop", "update", "precision", "average"),
    [(signal.SIGKILL, "exact", "fp32", 1), (signal.SIGKILL, "exact", "fp32", 2), (signal.SIGINT, "dense", "bf16", 1)],
)
def test_a_stopped_run_ends_with_the_same_bits(tmp_path, stop, update, precision, average):
    whole = tmp_path / "whole"
    whole.mkdir()
    uninterrupted = finish(whole, update, precision, average)
    folder = tmp_path / "stopped"
    folder.mkdir()
    process, said = start(folder, 0.3, update, precision, average)
    wait_for(folder / "checkpoint" / "best.safetensors", process, said)  # the first epoch is over
    time.sleep(0.7)  # somewhere in the second
    process.send_signal(stop)
    errors = said.read()
    assert process.wait() != 0
    assert stop == signal.SIGKILL or "KeyboardInterrupt" in errors
    assert not (folder / "final.safetensors").exists()
    assert finish(folder, update, precision, average) == uninterrupted
