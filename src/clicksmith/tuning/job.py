"""`tune`: raw rows, a model and a space to the best configuration on the validation rows; no test rows are opened."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from clicksmith.batch.store import cached_encode, cached_fit_encode
from clicksmith.errors import ClicksmithError, StorageError, UsageError
from clicksmith.files import locked
from clicksmith.fitting.asked import AskedSchema, check_parts, schema_for, seed_of
from clicksmith.fitting.split import How, Parts, parts_of
from clicksmith.fitting.told import FitProgress, Quiet
from clicksmith.models import MODELS
from clicksmith.models.register import ModelFunction, load_user_models
from clicksmith.models.spec import ModelSpec
from clicksmith.names import lookup, unknown
from clicksmith.parts import to_plain
from clicksmith.schema import Schema
from clicksmith.train.checks import check_labels
from clicksmith.train.monitor import check_monitor
from clicksmith.trees.grow import lightgbm
from clicksmith.trees.spec import LIGHTGBM, Trees
from clicksmith.tuning.folder import SearchFolder, SearchRecord
from clicksmith.tuning.page import write_page
from clicksmith.tuning.plan import Plan
from clicksmith.tuning.result import Tuned, tuned_of, write_results
from clicksmith.tuning.rules import hints_of, proposed_space
from clicksmith.tuning.search import Search
from clicksmith.tuning.space import Space, grid_of, read_space, space_of
from clicksmith.tuning.study import Pruner, Sampler, open_study

Engine = Literal["local", "ray"]

TRIALS = 30
"""Trials where their number is not given; a grid is then gone through as a whole."""


@dataclass(frozen=True)
class AskedSearch:
    """What is searched and on which rows, before anything is encoded or trained."""

    model: str
    asked: AskedSchema
    parts: Parts
    plan: Plan
    space: Space


def tune(
    train: Any,
    *,
    label: str | None = None,
    schema: AskedSchema | Schema | str | Path | None = None,
    valid: Any = None,
    test: Any = None,
    split: How = "auto",
    model: str,
    models: Sequence[str | Path] = (),
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | str | Path | None = None,
    out: str | Path,
    trials: int | None = None,
    timeout: float | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner | None = None,
    jobs: int = 1,
    engine: Engine = "local",
    seed: int | None = None,
    progress: FitProgress | None = None,
) -> Tuned:
    """Search the options of a model and the settings of training for the best validation metric.

    Called again with the same arguments it goes on where it was, and returns at once if there are enough trials.
    Several processes may search in one folder at once.

    Args:
        train: path, pattern, list of paths, or a polars, pandas or Arrow table; `valid` and `test` likewise.
        label, schema, split: as in `fit`. Where `valid` is not given, valid and test are taken off as `fit` does it,
            and the test rows, given or not, are left alone.
        model: name of a backbone, or "LightGBM"; `models` are Python files with your own.
        options, settings: those that are fixed, of the model and of training.
        space: what is searched, as a TOML file or nested values: {"model": {"dim": [8, 16]}, "train": {...}}, see
            `clicksmith.tuning.space`. Proposed from the options if not given, see `clicksmith.tuning.rules`.
        out: the folder of the search.
        trials: how many different configurations in all; 30, or the whole grid.
        timeout: seconds after which no trial begins.
        pruner: gives up what is worse than others after as many evaluations; "asha", but "none" for trees: those of
            a low learning rate begin behind and end ahead.
        jobs: trials at once, each in a process of its own with one thread.
        engine: what runs trials; "ray" is Ray Tune, which can spread them over a cluster.
        progress: told how it goes; nothing is printed if it is not given.

    Raises:
        UsageError: optuna is missing, the space does not fit, or `out` holds another search.
        DataError, SchemaError, StorageError: as their names say.
    """
    pruner = pruner or ("none" if model == LIGHTGBM else "asha")
    _check(trials=trials, timeout=timeout, jobs=jobs, sampler=sampler, pruner=pruner, engine=engine)
    run = _engine(engine)
    found = asked_search(
        train, label=label, schema=schema, valid=valid, test=test, split=split, model=model, models=models,
        options=options, settings=settings, space=space, seed=seed,
    )  # fmt: skip
    if sampler == "grid":
        grid_of(found.space)  # a range is refused before anything is written
    told = progress or Quiet()
    base = found.plan.resolve({}).settings
    check_parts(found.asked, found.parts, base)
    record = SearchRecord(
        model=model,
        space=msgspec.to_builtins(found.space),
        options=to_plain(found.plan.options),
        settings=msgspec.to_builtins(base),
        schema=found.asked.schema.digest,
        data=found.parts.fingerprints() | found.asked.side_fingerprints(),
        split=found.parts.how,
        seed=found.plan.seed,
        sampler=sampler,
        pruner=pruner,
    )
    folder = SearchFolder(Path(out))
    known = folder.enter(record)
    told.said(f"split: {found.parts.how}")
    try:
        stores = _encoded(found, folder, told)
    except ClicksmithError as error:
        if not known and not isinstance(error, StorageError):
            folder.leave()
        raise
    study = open_study(folder.journal, pruner, base.epochs)
    search = Search(
        folder=folder,
        study=study,
        plan=found.plan,
        space=found.space,
        sampler=sampler,
        trials=trials or (None if sampler == "grid" else TRIALS),
        stores=stores,
        models=tuple(str(path) for path in models),
        say=told.said,
        deadline=float("inf") if timeout is None else time.monotonic() + timeout,
    )
    try:
        run(search, jobs)
    finally:
        with locked(folder.path, wait=True):  # of several processes the last to write has read the last journal
            tuned = tuned_of(folder, study, record, found.space, base.monitor)
            write_results(folder, tuned)
            write_page(folder, record, tuned, found.space)
    return tuned


def asked_search(
    train: Any,
    *,
    label: str | None,
    schema: AskedSchema | Schema | str | Path | None,
    valid: Any,
    test: Any = None,
    split: How,
    model: str,
    models: Sequence[str | Path],
    options: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
    space: Mapping[str, Any] | str | Path | None,
    seed: int | None,
) -> AskedSearch:
    """Return what `tune` would search with these arguments."""
    function = _function(model, models)
    hints = hints_of(function)
    for name in options or {}:
        if name not in hints["model"]:
            raise UsageError(f"{model}: {unknown(name, hints['model'], 'option')}")
    if function is Trees:
        lightgbm()  # where it is missing nothing is begun
        for name in (settings or {}).keys() - {"monitor", "seed"}:
            raise UsageError(
                f"{model}: train.{name} does nothing to trees, which of these take monitor alone; see model.rounds, "
                "model.every and model.patience."
            )
    asked = schema_for(train, label, schema)
    if function is Trees and (len(asked.schema.labels) > 1 or asked.schema.weight is not None):
        raise UsageError(
            f"{model} learns one label of rows that count alike; the schema has several labels or a weight."
        )
    seed = seed_of(settings) if seed is None else seed
    parts = replace(parts_of(train, valid, test, schema=asked.schema, how=split, seed=seed), test=None)
    plan = Plan(function, asked.schema, parts.train.rows_hint, seed, dict(options or {}), dict(settings or {}))
    fixed = {f"model.{n}" for n in plan.options} | {f"train.{n}" for n in plan.changes}
    if space is None:
        found = proposed_space(function, plan.resolve({}).settings)
        found = {name: dimension for name, dimension in found.items() if name not in fixed}
    else:
        found = space_of(space, hints, "space") if isinstance(space, Mapping) else read_space(space, hints)
        if both := sorted(fixed & set(found)):
            raise UsageError(f"{both[0]} is given and in the space as well; leave it out of one of them.")
    return AskedSearch(model, asked, parts, plan, found)


def _function(model: str, models: Sequence[str | Path]) -> Callable[..., ModelSpec | Trees]:
    own: dict[str, ModelFunction] = {}
    for path in models:
        own |= load_user_models(path)
    return lookup({**MODELS, LIGHTGBM: Trees, **own}, model, "model")


def _encoded(found: AskedSearch, folder: SearchFolder, told: FitProgress) -> dict[str, Path]:
    """Encode train and valid once, or open what an earlier search left; return where they lie."""
    source, valid = found.parts.train, found.parts.valid
    home, root = folder.encoded, found.asked.root
    fitted = cached_fit_encode(
        found.asked.schema, source, home, root=root, progress=partial(told.encoding, "train"), noted=told.noted
    )
    judged = cached_encode(fitted.encoder, valid, home, progress=partial(told.encoding, "valid"), noted=told.noted)
    settings = found.plan.resolve({}).settings
    check_labels(fitted.store, settings)
    check_monitor(settings.monitor, judged.store)
    told.said(f"rows: {fitted.store.rows:,} train, {judged.store.rows:,} valid; {len(found.space)} parameters searched")
    return {"train": fitted.rows, "valid": judged.rows}


def _engine(engine: Engine) -> Callable[[Search, int], None]:
    """Return what runs a search. Raises UsageError, before anything is written, if it is not installed."""
    if engine == "local":
        return Search.run
    from clicksmith.tuning.ray_engine import run_with_ray

    return run_with_ray


def _check(*, trials: int | None, timeout: float | None, jobs: int, sampler: str, pruner: str, engine: str) -> None:
    for name, value in (("trials", trials), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1.")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout is {timeout:g} seconds; it must be above 0.")
    asked = (("sampler", sampler, Sampler), ("pruner", pruner, Pruner), ("engine", engine, Engine))
    for name, value, known in ((name, value, get_args(kind)) for name, value, kind in asked):
        if value not in known:
            raise UsageError(unknown(value, known, name))
