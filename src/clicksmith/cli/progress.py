"""Progress on stderr: a bar with speed, loss and time left on a terminal, else one line per evaluation."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from clicksmith.train.progress import Plan, StepState


class ShownProgress:
    """Shows how a run goes on; a context manager, so that the bar is gone when an error is printed."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: Any = None
        self._rows = 0
        self._began = time.monotonic()
        if sys.stderr.isatty() and not quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[told]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> "ShownProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def said(self, text: str) -> None:
        """Show one line that stays."""
        if not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def encoding(self, part: str, done: int, expected: int) -> None:
        """Show how far a part of the rows is read."""
        if self._bar is None:
            return
        self._show(f"encode {part}", done, expected, f"{done:,} rows")

    def started(self, plan: Plan) -> None:
        """Training begins, or goes on."""
        self._rows = plan.rows
        again = f", going on after step {plan.done:,}" if plan.done else ""
        self.said(
            f"train: {plan.rows:,} rows, at most {plan.epochs} epochs of {plan.steps:,} steps, "
            f"{plan.device} {plan.precision}{again}"
        )
        if self._bar is not None:
            self._show("train", plan.done, plan.total, "")

    def stepped(self, state: StepState) -> None:
        """Some steps are done."""
        if self._bar is not None:
            told = f"epoch {state.epoch}  loss {state.loss:.4f}  {state.rows_per_second:,.0f} rows/s"
            self._bar.update(self._task, completed=state.step, told=told)

    def evaluated(self, entry: dict[str, Any]) -> None:
        """An evaluation is done."""
        words = [f"epoch {entry['epoch']}", f"loss {entry['loss']:.4f}"]
        words += [f"valid {name} {value:.4f}" for name, value in (entry.get("valid") or {}).items()]
        words.append(f"{entry['rows_per_second']:,.0f} rows/s")
        self.said("  ".join(words))

    def noted(self, text: str) -> None:
        """Something deserves a look, whether or not progress is shown."""
        self._line(f"note: {text}")

    def finished(self, reason: str) -> None:
        """Training has ended."""
        words = {"patience": "no better for a while", "epochs": "all epochs done", "steps": "all steps done"}
        if reason in words:
            self.said(f"trained: {words[reason]}, {time.monotonic() - self._began:.0f} s")

    def _show(self, what: str, done: int, total: int, told: str) -> None:
        bar = self._bar
        assert bar is not None
        if self._task is None or bar.tasks[-1].description != what:
            if self._task is not None:
                bar.remove_task(self._task)
            self._task = bar.add_task(what, total=total, completed=done, told=told)
        bar.update(self._task, completed=done, total=max(total, done), told=told)
