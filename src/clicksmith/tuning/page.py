"""The HTML page of a search."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from clicksmith.files import write_bytes
from clicksmith.report import Bar, Ranking, ReportData, Searched, Trial, Trials, page
from clicksmith.report.svg import number
from clicksmith.tuning.folder import SearchFolder, SearchRecord
from clicksmith.tuning.result import Found, Tuned
from clicksmith.tuning.space import Choice, Dimension, Space


def write_page(folder: SearchFolder, record: SearchRecord, tuned: Tuned, space: Space) -> None:
    """Write the page: history, importances, every parameter against the score, all trials."""
    moving = {n: d for n, d in space.items() if not isinstance(d, Choice) or len(d.values) > 1}
    parameters = tuple(_searched(name, dimension) for name, dimension in moving.items())
    counts = {state: tuned.count(state) for state in ("complete", "pruned", "failed")}
    bars = tuple(Bar(name, share) for name, share in tuned.importances.items() if name in moving)
    best = msgspec.to_builtins(tuned.best) if counts["complete"] else {}
    data = ReportData(
        title=f"search: {record.model} on {folder.path.name}",
        subtitle=", ".join(f"{count} {state}" for state, count in counts.items() if count) + f"; {record.split}",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rankings=(Ranking("Importance of parameters", bars, "share in being among the best (PED-ANOVA)"),)
        if bars
        else (),
        search=Trials(tuned.monitor, parameters, tuple(_trial(found, moving) for found in tuned.trials)),
        settings={
            "best": {name: best[name] for name in ("number", "valid", "values", "settings") if name in best},
            "search": {"sampler": record.sampler, "pruner": record.pruner, "seed": record.seed},
        },
    )
    write_bytes(folder.report, page(data).encode())


def text_of(value: Any) -> str:
    """Return a value as it is shown.

    >>> text_of((400, 400)), text_of(True), text_of(1e-05)
    ('400,400', 'true', '1e-05')
    """
    if isinstance(value, (tuple, list)):
        return ",".join(str(item) for item in value) or "none"
    return number(value) if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _searched(name: str, dimension: Dimension) -> Searched:
    if isinstance(dimension, Choice):
        return Searched(name, tuple(text_of(value) for value in dimension.values))
    return Searched(name, log=dimension.log)


def _trial(found: Found, space: Space) -> Trial:
    places: list[float] = []
    for name, dimension in space.items() if found.values else ():
        value = found.values[name]
        places.append(float(dimension.values.index(value)) if isinstance(dimension, Choice) else float(value))
    note = found.error or (f"also proposed as {', '.join(str(n) for n in found.same)}" if found.same else "")
    told = tuple(text_of(found.values[name]) for name in space) if found.values else ()
    return Trial(found.number, found.state, found.score, tuple(places), told, note)
