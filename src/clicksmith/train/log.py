"""The log of a training, `log.jsonl`: a line per evaluation and, between them, lines of steps.

    {"kind": "step", "epoch": 1, "step": 50, "loss": 0.52, "learning_rate": 0.001, "rows_per_second": 90000.0}
    {"kind": "evaluation", "epoch": 1, "step": 120, "loss": 0.49, ..., "valid": {"auc": 0.75, "logloss": 0.47}}

Lines are appended, so that the file can be followed while training runs.
"""

import time
from pathlib import Path
from typing import Any, cast

import msgspec

from clicksmith.files import storage_error, write_bytes
from clicksmith.train.course import Course
from clicksmith.train.step import Watch

NAME = "log.jsonl"
STEPS, SECONDS = 50, 1.0
"""A line of steps comes after so many steps or seconds, whichever is earlier."""


class Log:
    """Writes the log into `folder`; without one it writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / NAME
        self.step, self.told = 0, time.monotonic()

    def begin(self, course: Course) -> None:
        """Write anew what is known up to the step of `course`; lines beyond it were lost with their steps."""
        if self.path is None:
            return
        steps = [line for line in _read(self.path) if line.get("kind") == "step" and line["step"] <= course.step]
        lines = sorted([*steps, *course.history], key=lambda line: (line["step"], line.get("kind") != "step"))
        write_bytes(self.path, b"".join(_line(entry) for entry in lines))
        self.step, self.told = course.step, time.monotonic()

    def stepped(self, course: Course, watch: Watch, epoch: int, rate: float) -> None:
        """Write a line of steps if it is time; its loss is the mean since the last line."""
        if self.path is None or (course.step - self.step < STEPS and time.monotonic() - self.told < SECONDS):
            return
        self.step, self.told = course.step, time.monotonic()
        entry = {
            "kind": "step", "epoch": epoch, "step": course.step, "loss": watch.recent(), "learning_rate": rate,
            "rows_per_second": round(course.pace.rows_per_second, 1),
        }  # fmt: skip
        self._append(entry)

    def evaluated(self, entry: dict[str, Any]) -> None:
        """Write an evaluation."""
        self._append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(_line(entry))
        except OSError as error:
            raise storage_error(error, self.path) from error


def _line(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log; the last one may be half written."""
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.append(cast("dict[str, Any]", msgspec.json.decode(line)))
        except msgspec.DecodeError:
            break
    return found
