"""What a terminal and a file see of a training."""

import io

from rich.console import Console

from clicksmith.train.progress import Plan, StepState
from clicksmith.train.rich_progress import RichProgress

PLAN = Plan(rows=3000, steps=24, epochs=2, total=48, done=0, device="cpu", precision="fp32")
ENTRY = {"epoch": 1, "loss": 0.5, "rows_per_second": 1e4, "valid": {"auc": 0.75}, "best": True}


def told(plan: Plan, reason: str, *, terminal: bool) -> tuple[str, RichProgress]:
    out = io.StringIO()
    progress = RichProgress(Console(file=out, force_terminal=terminal, width=120, color_system=None))
    progress.started(plan)
    progress.stepped(StepState(1, plan.done + 12, 0.5, 1e-3, 1e4))
    progress.bar.refresh()
    progress.evaluated(ENTRY)
    progress.noted("AUC is 0.5")
    progress.finished(reason)
    return out.getvalue(), progress


def test_a_file_gets_lines_and_no_bar():
    text, _ = told(PLAN, "patience", terminal=False)
    assert text.splitlines() == [
        "training on cpu in fp32: 3,000 rows, 24 steps an epoch",
        "epoch 1: loss 0.5000, valid auc 0.7500, 10,000 rows/s (best)",
        "note: AUC is 0.5",
        "no better for a while: stopped early",
    ]


def test_a_terminal_gets_a_bar_that_moves():
    text, progress = told(PLAN, "epochs", terminal=True)
    assert "12/48" in text and "loss 0.5000  10,000 rows/s" in text
    assert progress.bar.tasks[0].completed == 12
    assert "stopped" not in text and progress.bar.live.is_started is False


def test_a_resumed_run_says_where_it_goes_on():
    text, progress = told(Plan(3000, 24, 2, 48, 24, "cpu", "bf16"), "interrupted", terminal=True)
    assert "training on cpu in bf16: 3,000 rows, 24 steps an epoch, going on after step 24" in text
    assert progress.bar.tasks[0].completed == 36 and "interrupted" in text
