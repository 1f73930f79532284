"""Tables, derived from rows: nothing in them is stored anywhere else."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import msgspec

from clicksmith.bench.data import TEST_AS_VALID
from clicksmith.bench.facts import GROUPS
from clicksmith.bench.published import SOURCE, plain, published
from clicksmith.bench.ranks import Pair, Standing, rank
from clicksmith.bench.results import Results
from clicksmith.bench.row import Provenance, Row
from clicksmith.bench.settings import BenchSettings, settings_for
from clicksmith.bench.slices import cuts_of, mean_slices
from clicksmith.evaluate.evaluation import Slice


class Spread(msgspec.Struct, frozen=True):
    """A figure over seeds; `sd` is None for one seed."""

    mean: float
    sd: float | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one data set."""

    standing: Standing
    metrics: dict[str, Spread]
    """Test metrics over seeds."""
    valid_auc: Spread | None
    """None where the validation rows of a seed are of one class."""
    reference: float | None
    reference_gauc: float | None
    """Published test GAUC, where the leaderboard has it."""
    parameters: int
    embedding: int
    flops_per_row: int | None
    """None for trees."""
    epochs: Spread
    seconds_to_best: Spread
    cpu_seconds: Spread
    """Of all cores, over the whole trial."""
    rows_per_second: Spread
    peak_memory: int
    """The most of any seed."""
    latency_ms: Spread | None
    """Of 100 encoded rows; None for trees, and where a row was made before it was measured."""
    latency_p99_ms: Spread | None
    """The 99th percentile of the calls, likewise."""
    slices: tuple[Slice, ...]
    """Test metrics of parts of the rows, means over seeds (see `bench.slices`)."""


class DatasetTable(msgspec.Struct, frozen=True, kw_only=True):
    """All models on one data set, best first."""

    dataset: str
    test_rows: int
    lines: tuple[Line, ...]
    source: str
    """Of the published figures."""
    unmeasured: dict[str, float]
    """Published AUC of models that have no finished row, best first."""
    pairs: tuple[Pair, ...]
    level: float
    failures: tuple[str, ...]
    notes: tuple[str, ...]


def tables(
    results: Results, *, settings: BenchSettings | None = None, level: float = 0.95, resamples: int = 0
) -> list[DatasetTable]:
    """Return a table per data set; published figures are those of the settings, else of the package's."""
    return [_table(results, dataset, settings, level, resamples) for dataset in results.datasets]


def _table(
    results: Results, dataset: str, settings: BenchSettings | None, level: float, resamples: int
) -> DatasetTable:
    models = results.models(dataset)
    scores = {name: [results.predictions(row) for row in rows] for name, rows in models.items()}
    labels, cuts = results.labels(dataset), cuts_of(results.facts[dataset])
    groups = results.facts[dataset].get(GROUPS)
    ranking = rank(labels, scores, groups=groups, level=level, resamples=resamples)
    slices = {name: mean_slices(labels, seeds, cuts, level) for name, seeds in scores.items()}
    known = settings or settings_for(dataset)
    references, source = _references(dataset, known)
    board, lines = published(dataset), list[Line]()
    for one in ranking.standings:
        name = plain(one.model)
        gauc = board[name].gauc if name in board else None
        lines.append(_line(one, models[one.model], references.get(name, ("", None))[1], gauc, slices[one.model]))
    measured = {plain(name) for name in models}
    absent = [one for name, one in references.items() if name not in measured]
    notes = list(ranking.notes)
    again = [row for rows in models.values() for row in rows if row.done.test_evaluations > 1]
    notes += [f"{row.model} seed {row.seed}: test rows were scored {row.done.test_evaluations} times" for row in again]
    made = sorted({_where(row.made_by) for rows in models.values() for row in rows})
    if len(made) > 1:
        notes.append(f"made in {len(made)} ways ({'; '.join(made)}): compare no times")
    if any(row.configuration.split == TEST_AS_VALID for rows in models.values() for row in rows):
        notes.append(
            f"{TEST_AS_VALID}: the weights of every seed are those that are best on the test rows, so the figures are "
            "higher than new rows would give"
        )
    return DatasetTable(
        dataset=dataset,
        test_rows=next(iter(models.values()))[0].done.test.rows,
        lines=tuple(lines),
        source=source,
        unmeasured=dict(sorted(absent, key=lambda item: -item[1])),
        pairs=ranking.pairs,
        level=level,
        failures=tuple(told(row, results.folder) for row in results.failures if row.dataset == dataset),
        notes=tuple(notes),
    )


def _references(dataset: str, known: BenchSettings) -> tuple[dict[str, tuple[str, float]], str]:
    """Return plain name -> name and test AUC as the settings, else the leaderboard, has it; and whose they are.

    No model has one: of nobody, "".
    """
    board = published(dataset)
    found = {name: (line.model, line.reference) for name, line in board.items()}
    for title, model in known.models.items():
        name = plain(title)
        if model.reference is not None:
            found[name] = (title, model.reference)
        elif name in found:
            found[name] = (title, found[name][1])
    return found, (SOURCE if board else known.source) if found else ""


def _line(
    standing: Standing, rows: Sequence[Row], reference: float | None, gauc: float | None, slices: tuple[Slice, ...]
) -> Line:
    done = [row.done for row in rows]
    names = [name for name in done[0].test.values if all(name in one.test.values for one in done)]
    return Line(
        standing=standing,
        metrics={name: spread([one.test.values[name].value for one in done]) for name in names},
        valid_auc=spread([one.valid["auc"] for one in done]) if all("auc" in one.valid for one in done) else None,
        reference=reference,
        reference_gauc=gauc,
        parameters=done[0].cost.parameters,
        embedding=done[0].cost.embedding,
        flops_per_row=done[0].cost.flops_per_row,
        epochs=spread([float(one.epochs) for one in done]),
        seconds_to_best=spread([one.cost.seconds_to_best for one in done]),
        cpu_seconds=spread([one.cost.cpu_seconds for one in done]),
        rows_per_second=spread([one.cost.rows_per_second for one in done]),
        peak_memory=max(one.cost.peak_memory for one in done),
        latency_ms=_where_all([one.cost.latency_ms for one in done]),
        latency_p99_ms=_where_all([one.cost.latency_p99_ms for one in done]),
        slices=slices,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation.

    >>> spread([1.0, 3.0]), spread([2.0])
    (Spread(mean=2.0, sd=1.4142135623730951), Spread(mean=2.0, sd=None))
    """
    return Spread(mean(values), stdev(values) if len(values) > 1 else None)


def _where_all(values: Sequence[float | msgspec.UnsetType]) -> Spread | None:
    """Return the spread of values that all seeds have."""
    known = [value for value in values if not isinstance(value, msgspec.UnsetType)]
    return spread(known) if len(known) == len(values) else None


def _where(made_by: Provenance) -> str:
    """Return what the times of a row depend on."""
    place = made_by.processor if made_by.gpu is None else made_by.gpu
    return f"{place}, {made_by.kernels} kernels, {made_by.threads} thread{'s' * (made_by.threads > 1)}"


def told(row: Row, folder: Path) -> str:
    """Return where the row of a failed trial lies, and why it failed."""
    assert row.failure is not None
    return f"{row.path(folder)}: {row.failure.kind}: {row.failure.message}"
