"""The pictures of a search: its history, each parameter against the score, and all parameters side by side."""

from collections.abc import Iterable, Sequence

from clicksmith.report import svg, tables
from clicksmith.report.charts import Chart
from clicksmith.report.data import Searched, Trial, Trials

TONES = {"complete": "c1", "pruned": "c0"}
BEST = 5
"""Lines that stand out among all trials."""


def search_charts(search: Trials) -> Iterable[Chart]:
    """Return every picture that the trials have points for."""
    trials = [trial for trial in search.trials if trial.score is not None and trial.at]
    if not trials:
        return
    yield history_chart(search.metric, trials)
    yield parallel_chart(search, trials)
    for i, parameter in enumerate(search.parameters):
        yield slice_chart(search.metric, parameter, i, trials)


def history_chart(metric: str, trials: Sequence[Trial]) -> Chart:
    """Return the score of each trial in the order of their numbers, and the best so far."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    x = svg.horizontal(min(t.number for t in ordered), max(t.number for t in ordered), svg.number)
    x = svg.Axis(x.low, x.high, x.start, x.stop, tuple(t for t in x.ticks if t == int(t)), svg.number)
    y = svg.vertical(*svg.span([_score(t) for t in ordered]), svg.number)
    best: list[tuple[int, float]] = []
    for trial in ordered:
        if trial.state == "complete" and (not best or _score(trial) > best[-1][1]):
            best.append((trial.number, _score(trial)))
    steps: list[tuple[float, float]] = []
    for (number, score), after in zip(best, [*[n for n, _ in best[1:]], ordered[-1].number], strict=True):
        steps += [(x.at(number), y.at(score)), (x.at(after), y.at(score))]
    parts = [svg.grid(x, y, "trial", metric), svg.path(steps, "line c2") if steps else ""]
    parts += [_dot(x.at(t.number), y.at(_score(t)), t, metric) for t in ordered]
    note = f"best: {svg.number(best[-1][1])} in trial {best[-1][0]}" if best else "none has finished"
    rows = tuple((str(t.number), t.state, svg.number(_score(t))) for t in ordered)
    key = (("c1", "finished"), ("c0", "pruned"), ("c2", "best so far"))
    image = svg.picture("".join(parts), f"{metric} by trial. {note}")
    return Chart("History", image, note, key, ("trial", "state", metric), rows)


def slice_chart(metric: str, parameter: Searched, i: int, trials: Sequence[Trial]) -> Chart:
    """Return one parameter against the score."""
    x = _axis(parameter, [t.at[i] for t in trials], svg.LEFT, svg.WIDTH - svg.RIGHT)
    y = svg.vertical(*svg.span([_score(t) for t in trials]), svg.number)
    parts = [svg.grid(x, y, parameter.name, metric)]
    parts += [_dot(x.at(t.at[i]), y.at(_score(t)), t, metric, f"{parameter.name} {t.told[i]}") for t in trials]
    rows = tuple((t.told[i], svg.number(_score(t)), str(t.number)) for t in trials)
    image = svg.picture("".join(parts), f"{metric} by {parameter.name}")
    return Chart(parameter.name, image, "", (), (parameter.name, metric, "trial"), rows)


def parallel_chart(search: Trials, trials: Sequence[Trial]) -> Chart:
    """Return a line per trial through all parameters to its score; the best stand out."""
    names = [*(p.name for p in search.parameters), search.metric]
    pitch, top, bottom = max(112, 760 // len(names)), 16, 236
    width = pitch * len(names) + 20
    at = [pitch // 2 + pitch * i for i in range(len(names))]
    axes = [_axis(p, [t.at[i] for t in trials], bottom, top) for i, p in enumerate(search.parameters)]
    axes.append(_axis(Searched(search.metric), [_score(t) for t in trials], bottom, top))
    parts: list[str] = []
    ranked = sorted(trials, key=lambda t: (t.state == "complete", _score(t)))
    for place, trial in enumerate(ranked):
        heights = [axis.at(v) for axis, v in zip(axes, (*trial.at, _score(trial)), strict=True)]
        tone = "c1" if place >= len(ranked) - BEST and trial.state == "complete" else "c0"
        parts.append(svg.path(zip(at, heights, strict=True), f"line trial {tone}"))
        told = ", ".join(f"{n} {v}" for n, v in zip(names, (*trial.told, svg.number(_score(trial))), strict=True))
        parts.append(svg.mark(at[-1], heights[-1], f"trial {trial.number}: {told}", f"dot {tone}", 3.5))
    for x, name, axis in zip(at, names, axes, strict=True):
        parts.append(f'<line class="base" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        shown = svg.escape(svg.shorten(name.partition(".")[2] or name, 15))
        parts.append(f'<text class="name" x="{x}" y="{bottom + 22}" text-anchor="middle">{shown}</text>')
        for tick in axis.ticks:
            label = svg.escape(svg.shorten(axis.label(tick), 11))
            parts.append(f'<text class="tick" x="{x + 5}" y="{axis.at(tick) - 3}">{label}</text>')
    best = sorted((t for t in trials if t.state == "complete"), key=lambda t: -_score(t))[:BEST]
    rows = tuple((str(t.number), *t.told, svg.number(_score(t))) for t in best)
    note = f"the best {len(best)} stand out"
    image = svg.picture("".join(parts), f"All parameters and {search.metric}; {note}", width, bottom + 34)
    return Chart("All parameters", image, note, (), ("trial", *names), rows, wide=True)


def trials_table(search: Trials) -> str:
    """Return every trial with what it tried."""
    head = ("trial", "state", search.metric, *(p.name for p in search.parameters), "note")
    rows: list[list[tables.Cell | str]] = []
    for t in search.trials:
        score = tables.Cell("", float("-inf")) if t.score is None else tables.Cell(f"{t.score:.5f}", t.score)
        told = t.told or ("",) * len(search.parameters)
        rows.append([tables.Cell(str(t.number), t.number), t.state, score, *told, t.note])
    return tables.table(head, rows, "trials") if rows else ""


def _score(trial: Trial) -> float:
    assert trial.score is not None
    return trial.score


def _dot(x: float, y: float, trial: Trial, metric: str, told: str = "") -> str:
    tip = f"trial {trial.number} ({trial.state}): {metric} {svg.number(_score(trial))}" + (f", {told}" if told else "")
    return svg.mark(x, y, tip, f"dot {TONES.get(trial.state, 'c0')}", 3.5)


def _axis(parameter: Searched, values: Sequence[float], start: float, stop: float) -> svg.Axis:
    """Return the axis of a parameter: names at even distances, or numbers."""
    labels = parameter.labels
    if labels:
        ticks = tuple(float(i) for i in range(len(labels)))
        return svg.Axis(-0.5, len(labels) - 0.5, start, stop, ticks, lambda v: svg.shorten(labels[int(v)], 9))
    low, high = min(values), max(values)
    if low == high:
        low, high = (low / 2, low * 2) if parameter.log else (low - 0.5, high + 0.5)
    ticks = svg.log_ticks(low, high) if parameter.log else svg.nice_ticks(low, high)
    return svg.Axis(low, high, start, stop, ticks, svg.number, parameter.log)
