"""`clicksmith evaluate RUN_DIR FILE`: how good is a trained model on these rows?"""

from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional, UseAppendAction

from clicksmith.cli.parse import Columns, Delimiter, call, flag, option
from clicksmith.errors import UsageError

ABOUT = """Measure a trained model on labelled raw rows, every metric with its interval.

examples:
  clicksmith evaluate run test.csv
  clicksmith evaluate run test.csv --json
  clicksmith evaluate run test.csv --by device --by hour     a table per value of a column"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(evaluate, argv, verb="evaluate", about=ABOUT)


def evaluate(
    run_dir: Annotated[str, Positional, option("RUN_DIR", "what `clicksmith fit` wrote", default="required")],
    file: Annotated[str, Positional, option("FILE", "labelled raw rows: CSV, TSV or Parquet", default="required")],
    /,
    *,
    json: Annotated[bool, flag("print JSON instead of a table")] = False,
    by: Annotated[
        tuple[tuple[str, ...], ...], UseAppendAction, option("COLUMNS", "also measure each value of these columns")
    ] = (),
    level: Annotated[float, option("SHARE", "confidence level of the intervals", default="0.95")] = 0.95,
    columns: Columns = None,
    delimiter: Delimiter = None,
    models: Annotated[tuple[str, ...], option("FILES", "your own model files, if the model is one")] = (),
) -> int:
    """Score, measure, print."""
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.rows import opened
    from clicksmith.cli.show import json_out, note, out
    from clicksmith.encode.unseen import unseen_in
    from clicksmith.evaluate.table import metrics_table
    from clicksmith.serve.predictor import load
    from clicksmith.serve.scoring import evaluate_rows, plain

    if not 0 < level < 1:
        raise UsageError(f"--level got {level:g}; give a share between 0 and 1, such as 0.95.")
    load_models(models)
    predictor = load(run_dir)
    source = opened([file], columns, delimiter, predictor)
    artifact = predictor.artifact
    for line in unseen_in(artifact.encoder, source, artifact.plan.mapped):
        note(f"warning: {line}")
    metrics = evaluate_rows(predictor, source, by=[name for names in by for name in names], level=level)
    if json:
        json_out(plain(metrics))
    else:
        for name, found in metrics.items():
            out().print(metrics_table(found, "" if len(metrics) == 1 else name))
    return 0
