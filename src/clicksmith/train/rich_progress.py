"""Progress as a bar on a terminal: speed, loss, metrics, time left."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from clicksmith.train.progress import Plan, StepState


class RichProgress:
    """A bar over all steps, and a line per evaluation above it. Off a terminal only the lines are written."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None

    def started(self, plan: Plan) -> None:
        """Open the bar."""
        begins = f"training on {plan.device} in {plan.precision}: {plan.rows:,} rows, {plan.steps:,} steps an epoch"
        self.console.print(begins + (f", going on after step {plan.done:,}" if plan.done else ""), highlight=False)
        self.task = self.bar.add_task("training", total=plan.total, completed=plan.done, now="")
        self.bar.start()

    def stepped(self, state: StepState) -> None:
        """Move the bar."""
        if self.task is not None:
            now = f"loss {state.loss:.4f}  {state.rows_per_second:,.0f} rows/s"
            self.bar.update(self.task, completed=state.step, description=f"epoch {state.epoch}", now=now)

    def evaluated(self, entry: dict[str, Any]) -> None:
        """Write a line."""
        self.console.print(line_of(entry), highlight=False)

    def noted(self, text: str) -> None:
        """Write a line that stands out."""
        self.console.print(f"note: {text}", style="yellow", highlight=False)

    def finished(self, reason: str) -> None:
        """Close the bar."""
        self.bar.stop()
        ends = {"patience": "no better for a while: stopped early", "interrupted": "interrupted", "failed": "stopped"}
        if reason in ends:
            self.console.print(ends[reason], highlight=False)


def line_of(entry: dict[str, Any]) -> str:
    """Return an evaluation as a line.

    >>> line_of({"epoch": 1, "loss": 0.5, "rows_per_second": 1e4, "valid": {"auc": 0.75}, "best": True})
    'epoch 1: loss 0.5000, valid auc 0.7500, 10,000 rows/s (best)'
    """
    found = "".join(f", valid {name} {value:.4f}" for name, value in entry.get("valid", {}).items())
    best = " (best)" if entry.get("best") else ""
    return f"epoch {entry['epoch']}: loss {entry['loss']:.4f}{found}, {entry['rows_per_second']:,.0f} rows/s{best}"
