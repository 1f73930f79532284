"""`clicksmith report RUN_DIR`: the HTML page of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, option

ABOUT = """Write the self-contained HTML page of a finished run: curves, metrics, calibration, importance, data profile.

examples:
  clicksmith report run
  clicksmith report run --out page.html"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(report, argv, verb="report", about=ABOUT)


def report(
    run_dir: Annotated[str, Positional, option("RUN_DIR", "what `clicksmith fit` wrote", default="required")],
    /,
    *,
    out: Annotated[str | None, option("FILE", "where to write", default="RUN_DIR/report.html")] = None,
) -> int:
    """Write the page."""
    from clicksmith.cli.show import note
    from clicksmith.fitting.page import write_page
    from clicksmith.run import Run

    target = write_page(Run.open(run_dir).folder, None if out is None else Path(out))
    note(f"report: {target}")
    return 0
