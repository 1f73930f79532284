"""`bench page`: a site of the rows, one page for all and one per model of a data set. The same rows, the same bytes."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from clicksmith.bench.data import named
from clicksmith.bench.ranks import shown_p
from clicksmith.bench.references import kinds_in, paper_section, references
from clicksmith.bench.results import Results
from clicksmith.bench.row import Row
from clicksmith.bench.settings import BenchSettings, contestants, effective, settings_for
from clicksmith.bench.slices import BY_TIME
from clicksmith.bench.table import DatasetTable, Line, Spread, tables
from clicksmith.errors import UnknownNameError, UsageError
from clicksmith.files import write_bytes
from clicksmith.models import MODELS, describe, source
from clicksmith.paper import Paper
from clicksmith.report.charts import Chart, calibration_chart, line_chart
from clicksmith.report.data import Curves, Series
from clicksmith.report.models import Placed, Spot, scatter_chart, tie_chart
from clicksmith.report.page import Section, document, figures, listed, tile
from clicksmith.report.tables import Cell, estimate_cell, settings_table, slices_tables, table
from clicksmith.trees.spec import LIGHTGBM

SHOWN = 4
"""Models whose learning curves stand on the first page."""
FOOTER = "written by Clicksmith from the rows of a benchmark"
Value = Callable[[dict[str, Any]], float | None]
"""A figure of an entry of the learning curve."""


def write_site(
    results: Results,
    out: Path,
    papers: Mapping[str, Paper],
    *,
    settings: BenchSettings | None = None,
    level: float = 0.95,
) -> int:
    """Write `out`/index.html and `out`/DATASET/MODEL.html; return the number of pages.

    `papers` are by key; published figures are those of the settings, else of the package's.
    """
    made = tables(results, settings=settings, level=level)
    written = [out / "index.html"]
    write_bytes(written[0], _index(results, made).encode())
    for one in made:
        known = settings or settings_for(one.dataset)
        rows = results.models(one.dataset)
        for line in one.lines:
            title = line.standing.model
            text = _model(one, line, rows[title], papers, known)
            written.append(out / one.dataset / f"{title}.html")
            write_bytes(written[-1], text.encode())
    _remove_stale(out, written)
    return len(written)


def _remove_stale(out: Path, written: Sequence[Path]) -> None:
    """Delete the pages of models that are gone; what this module did not write is left alone."""
    for old in set(out.glob("*/*.html")) - set(written):
        if f"<footer>{FOOTER}</footer>" in old.read_text("utf-8", errors="replace"):
            old.unlink()
            if not any(old.parent.iterdir()):
                old.parent.rmdir()


def _index(results: Results, made: Sequence[DatasetTable]) -> str:
    seeds = f"{len(results.rows)} finished trials of {len(made)} data sets"
    header = f"<header><h1>Click-through-rate benchmark</h1><p>{escape(seeds)}</p></header>"
    notes = [_relative(text, results.folder) for text in results.strange]
    sections: list[Section] = [("notes", "Left out", listed(notes))]
    for i, one in enumerate(made):
        failed = [f"failed: {_relative(text, results.folder)}" for text in one.failures]
        sections.append((f"set{i}", one.dataset, _dataset(one, results.models(one.dataset), failed)))
    unfinished = [row for row in results.failures if row.dataset not in results.datasets]
    told = [f"{row.dataset}/{row.model}/{row.seed}: {row.failure.message}" for row in unfinished if row.failure]
    sections.append(("failed", "Failed", listed(told)))
    return document("Click-through-rate benchmark", header, sections, FOOTER)


def _dataset(one: DatasetTable, rows: Mapping[str, Sequence[Row]], failed: Sequence[str]) -> str:
    spots = {
        "parameters": [(line, float(line.parameters)) for line in one.lines],
        "FLOPs per row": [(line, float(line.flops_per_row)) for line in one.lines if line.flops_per_row is not None],
        "ms for 100 rows": [(line, line.latency_ms.mean) for line in one.lines if line.latency_ms is not None],
        "seconds to best": [(line, line.seconds_to_best.mean) for line in one.lines],
        "processor seconds": [(line, line.cpu_seconds.mean) for line in one.lines],
    }
    found: list[Chart] = [
        scatter_chart(f"AUC against {cost}", [Spot(a.standing.model, x, a.standing.auc) for a, x in pairs], cost, "AUC")
        for cost, pairs in spots.items()
        if pairs
    ]
    found += _curves({line.standing.model: rows[line.standing.model][0] for line in one.lines[:SHOWN]})
    placed = [Placed(s.model, s.auc, s.low, s.high, s.tied) for s in (line.standing for line in one.lines)]
    ties = figures([tie_chart("Which differences are real", placed, "mean AUC", one.level)])
    note = (
        f"{one.test_rows:,} test rows. Models of a rank are tied with one another; below it stand the ranks that the "
        "significant differences leave open. The other small figures are "
        f"{one.level:.0%} intervals over test rows and seeds, and standard deviations over seeds."
    )
    note += f" Published: {one.source}." if one.source else ""
    return (
        f'<p class="note">{escape(note)}</p>{_leaderboard(one)}{listed([*one.notes, *failed])}'
        f"<h3>Real or noise</h3>{ties}<h3>Quality and cost</h3>{figures(found)}"
    )


def _leaderboard(one: DatasetTable) -> str:
    grouped = any("gauc" in line.metrics for line in one.lines)
    head = ["rank", "model", "AUC", "log-loss", *(["GAUC"] if grouped else []), "published AUC", "measured − published"]
    head += ["seeds", "parameters", "FLOPs/row", "ms, 100 rows", "s to best", "processor s", "rows/s", "memory, MB"]
    rows: list[list[Cell | str]] = []
    for line in one.lines:
        at = line.standing
        sd = "one seed" if at.sd is None else f"sd {at.sd:.5f}"
        gauc = None if line.reference_gauc is None else f"published {line.reference_gauc:.4f}"
        late = None if line.latency_p99_ms is None else f"p99 {line.latency_p99_ms.mean:.2f}"
        address = escape(quote(f"{one.dataset}/{at.model}.html"))
        rows.append([
            Cell("", at.rank, f"{at.rank}<small>{at.best} – {at.worst}</small>"),
            Cell(at.model, markup=f'<a href="{address}">{escape(at.model)}</a>'),
            Cell("", at.auc, f"<b>{at.auc:.5f}</b><small>{at.low:.5f} – {at.high:.5f}</small><small>{sd}</small>"),
            _spread(line.metrics["logloss"], 5),
            *([_spread(line.metrics.get("gauc"), 5, below=gauc)] if grouped else []),
            *_against(line, one.source),
            Cell(str(at.seeds), at.seeds),
            Cell(f"{line.parameters:,}", line.parameters),
            Cell("–", float("-inf")) if line.flops_per_row is None
            else Cell(f"{line.flops_per_row:,}", line.flops_per_row),
            _spread(line.latency_ms, 2, below=late),
            _spread(line.seconds_to_best, 1),
            _spread(line.cpu_seconds, 1),
            Cell(f"{line.rows_per_second.mean:,.0f}", line.rows_per_second.mean),
            Cell(f"{line.peak_memory / 1e6:,.0f}", line.peak_memory),
        ])  # fmt: skip
    nothing = Cell("–", float("-inf"))
    for name, auc in one.unmeasured.items():
        known = [Cell("–", float("inf")), Cell(name, markup=f"{escape(name)}<small>not measured</small>")]
        known += [nothing] * (3 if grouped else 2) + [Cell("", auc, f"{auc:.4f}<small>{escape(one.source)}</small>")]
        rows.append([*known, *[nothing] * (len(head) - len(known))])
    return table(head, rows, f"leaderboard of {one.dataset}", "board")


def _against(line: Line, source: str) -> tuple[Cell, Cell]:
    if line.reference is None:
        return Cell("–", float("-inf")), Cell("–", float("-inf"))
    over = line.standing.auc - line.reference
    shown = f"{line.reference:.4f}<small>{escape(source)}</small>"
    return Cell("", line.reference, shown), Cell(f"{over:+.4f}", over)


def _spread(found: Spread | None, digits: int, *, below: str | None = None) -> Cell:
    if found is None:
        return Cell("–", float("-inf"))
    small = ([] if found.sd is None else [f"sd {found.sd:.{digits}f}"]) + ([below] if below else [])
    return Cell("", found.mean, f"{found.mean:.{digits}f}{''.join(f'<small>{one}</small>' for one in small)}")


def _model(
    one: DatasetTable,
    line: Line,
    rows: Sequence[Row],
    papers: Mapping[str, Paper],
    known: BenchSettings,
) -> str:
    at, first, backbone = line.standing, rows[0], _function(line.standing.model, known)
    tiles = [
        tile("test AUC", f"{at.auc:.5f}", f"{one.level:.0%}: {at.low:.5f} – {at.high:.5f}"),
        tile("rank", str(at.rank), f"of {len(one.lines)} models", f"could be {at.best} to {at.worst}"),
        tile("parameters", f"{line.parameters:,}", f"{line.embedding:,} of embeddings"),
        tile("seconds to best", f"{line.seconds_to_best.mean:.1f}", f"{line.epochs.mean:.0f} epochs"),
    ]
    about, (said, key) = (describe(backbone), source(backbone)) if backbone in MODELS else ("", ("", ""))
    header = (
        f'<header><p><a href="../index.html">← all models</a></p><h1>{escape(at.model)} on {escape(one.dataset)}</h1>'
        f'<p>{escape(about)}</p><div class="tiles">{"".join(tiles)}</div></header>'
    )
    last = first.done.test
    charts = _curves({f"seed {row.seed}": row for row in rows})
    if len(last.reliability) > 1:
        charts.append(calibration_chart(last.reliability, last.level, f"test, seed {first.seed}"))
    made: dict[str, object] = {**first.made_by.packages, "python": first.made_by.python}
    made |= {"platform": first.made_by.platform, "processor": first.made_by.processor, "gpu": first.made_by.gpu}
    made |= {"threads": first.made_by.threads, "kernels": first.made_by.kernels, "code": first.made_by.code}
    sections: list[Section] = [
        ("paper", "Paper", _paper(said, papers.get(key))),
        ("seeds", "Seeds", _seeds(rows)),
        ("curves", "Curves", figures(charts)),
        ("slices", "Slices", _slices(line, one.level)),
        ("pairs", "Against the others", _pairs(one, at.model)),
        ("references", "Looped references", _references(kinds_in(first.configuration.spec))),
        ("again", "Reproduce", _commands(first, len(rows), known)),
        ("spec", "Spec", settings_table(first.configuration.spec, "spec")),
        ("settings", "Settings", settings_table(first.configuration.settings, "settings")),
        ("search", "Search", _search(first)),
        ("data", "Data", settings_table(_data(first), "data and checksums")),
        ("environment", "Environment", settings_table(made, "environment")),
    ]
    return document(f"{at.model} on {one.dataset}", header, sections, FOOTER)


def _function(title: str, known: BenchSettings) -> str:
    """Return the name of what makes a model: a backbone, LightGBM, or a function of the user's own."""
    return known.models[title].name if title in known.models else title


def _paper(said: str, paper: Paper | None) -> str:
    """Return the paper of a backbone: what its source says, as in "Song et al., CIKM 2019, section 5.5", and a link."""
    if paper is None:
        return f"<p>{escape(said)}</p>" if said else ""
    words = f"{paper.authors}, {paper.venue} {paper.year}" + "".join(said.partition(", section")[1:])
    link = f'<a href="{escape(paper.url)}" rel="noreferrer">{escape(paper.title)}</a>'
    return f"<p>{link}<br>{escape(words)}</p>"


def _seeds(rows: Sequence[Row]) -> str:
    names = [name for name in rows[0].done.test.values if all(name in row.done.test.values for row in rows)]
    head = ["seed", *names, "best epoch", "epochs", "ended by", "s", "test scored", "configuration", "predictions"]
    body = [
        [
            Cell(str(row.seed), row.seed),
            *(estimate_cell(row.done.test.values[name]) for name in names),
            Cell(str(row.done.best_epoch), row.done.best_epoch),
            Cell(str(row.done.epochs), row.done.epochs),
            row.done.reason,
            Cell(f"{row.done.cost.seconds:.1f}", row.done.cost.seconds),
            Cell(str(row.done.test_evaluations), row.done.test_evaluations),
            _sum(row.name),
            _sum(row.done.predictions),
        ]
        for row in rows
    ]
    return table(head, body, "seeds")


def _sum(checksum: str) -> Cell:
    return Cell(checksum, markup=f'<code title="{escape(checksum)}">{escape(checksum[:12])}</code>')


def _slices(line: Line, level: float) -> str:
    """Return how the model does on parts of the test rows, and why there is nothing to say where there is not."""
    if not line.slices:
        return '<p class="note">Rows of an older Clicksmith: give their `bench run` again to add slices.</p>'
    columns = {one.column for one in line.slices}
    notes = [
        f"Means over seeds; the small figures are {level:.0%} intervals over test rows, for one seed.",
        "rarest id: how often training rows hold the rarest id of the row; 0 is an id that training did not see, or "
        "too rarely to give it a number of its own. The other rows in thirds.",
        "time: the test rows in fifths, the earliest first."
        if BY_TIME in columns
        else "time: the data have no time column, so that there is nothing to say of drift.",
    ]
    return f"{slices_tables(line.slices)}{listed(notes)}"


def _references(kinds: Sequence[str]) -> str:
    """Return which test compares each part of the model with a loop, and where its paper describes it."""
    body: list[list[Cell | str]] = []
    for kind in kinds:
        tests = "<br>".join(f"<code>{escape(test)}</code>" for test in references().get(kind, ()))
        body.append([kind, paper_section(kind), Cell("none", markup=tests or "none")])
    note = "Each test computes what the part computes in a naive loop, number by number, and compares."
    head = ("part", "in the paper", "test")
    return f'<p class="note">{note}</p>{table(head, body, "looped references", "text")}' if body else ""


def _pairs(one: DatasetTable, model: str) -> str:
    body: list[list[Cell | str]] = []
    for pair in one.pairs:
        if model not in (pair.a, pair.b):
            continue
        sign, other = (1, pair.a) if pair.b == model else (-1, pair.b)
        low, high = sorted((sign * pair.low, sign * pair.high))
        body.append([
            other,
            Cell(f"{100 * sign * pair.effect:+.3f}", sign * pair.effect),
            f"{100 * low:+.3f} to {100 * high:+.3f}",
            Cell(shown_p(pair.holm), pair.holm),
            "real" if pair.significant else "a tie",
        ])  # fmt: skip
    head = ("other model", f"{model} − other, AUC points", f"{one.level:.0%} interval", "p (Holm)", "verdict")
    return table(head, body, "differences") if body else ""


def _commands(row: Row, seeds: int, known: BenchSettings) -> str:
    try:
        name, protocol = named(row.dataset)
        asked, data = shlex.quote(name), "FOLDER"
        asked += "" if protocol is None else f" --protocol {shlex.quote(protocol)}"
    except UnknownNameError:
        asked = data = shlex.quote(f"{row.dataset}.toml")
    place = "" if data != "FOLDER" else " --data FOLDER"
    tune = "" if row.searched is msgspec.UNSET else f" --tune {row.searched.trials}"
    which = shlex.quote(f"{row.dataset}/{row.model}/{row.seed}")
    threads = "" if row.made_by.threads == 1 else f" --threads {row.made_by.threads}"
    lines = (
        f"clicksmith bench run {asked}{place} --models {shlex.quote(row.model)} --seeds {seeds}{threads}{tune}"
        + _overrides(row, known),
        f"clicksmith bench verify RESULTS --row {which} --data {data}",
    )
    note = "The first trains all seeds again (add --settings FILE.toml if the rows were made with one); the second "
    note += "recomputes one row and compares."
    if _function(row.model, known) not in (*MODELS, LIGHTGBM):
        note += " The package has no model of that name: if a FILE.py of yours holds it, add --models FILE.py to the "
        note += "second, and FILE.py before the name to the first."
    return f'<pre tabindex="0"><code>{escape(chr(10).join(lines))}</code></pre><p class="note">{escape(note)}</p>'


def _overrides(row: Row, known: BenchSettings) -> str:
    """Return the `--train.NAME` with which the settings become those of the row."""
    try:
        (one,) = contestants(known, [row.model])
    except (UnknownNameError, UsageError):  # a model of the user's own
        return ""
    plain: dict[str, object] = msgspec.to_builtins(effective(one.settings, row.seed))
    found = () if row.searched is msgspec.UNSET else row.searched.space  # what is given is not searched
    settings = row.configuration.settings.items()
    given = {name: value for name, value in settings if plain.get(name) != value and f"train.{name}" not in found}
    return "".join(f" --train.{name.replace('_', '-')} {_flag(value)}" for name, value in given.items())


def _flag(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else shlex.quote(str(value))


def _search(row: Row) -> str:
    if row.searched is msgspec.UNSET:
        return ""
    return settings_table(msgspec.to_builtins(row.searched), "how the options were found")


def _data(row: Row) -> dict[str, object]:
    asked = row.configuration
    return {
        **{f"checksum of {part}": value for part, value in asked.data.items()},
        "split": asked.split,
        "schema": asked.schema,
        "test labels": row.done.labels,
    }


def _curves(rows: Mapping[str, Row]) -> list[Chart]:
    """Return AUC on valid and loss on train over epochs, a line a row."""
    found: list[Chart] = []
    asked: tuple[tuple[str, Literal["high"] | None, Value], ...] = (
        ("AUC on valid", "high", lambda entry: entry.get("valid", {}).get("auc")),
        ("loss on train", None, lambda entry: entry.get("loss")),
    )
    for title, best, value in asked:
        lines = [(name, list(_points(row, value))) for name, row in rows.items()]
        series = tuple(Series(name, tuple(points)) for name, points in lines if points)
        if series:
            found.append(line_chart(Curves(title, series, best=best)))
    return found


def _points(row: Row, value: Value) -> Iterable[tuple[float, float]]:
    for entry in row.done.curve:
        y = value(entry)
        if y is not None:
            yield float(entry["epoch"]), float(y)


def _relative(text: str, folder: Path) -> str:
    """Return a sentence without the place of the results folder, which says nothing to a reader elsewhere."""
    return text.replace(f"{folder}/", "")
