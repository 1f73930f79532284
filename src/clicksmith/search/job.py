"""`search`: raw rows, a method and a backbone to a Plan. No test rows are opened."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clicksmith.batch.split import split_by_group, split_random
from clicksmith.encode.picked import Picked
from clicksmith.encode.store import Store
from clicksmith.errors import ClicksmithError, DataError, StorageError, UsageError
from clicksmith.files import locked
from clicksmith.fitting.asked import (
    DEFAULT_MODEL,
    AskedSchema,
    check_model,
    check_parts,
    plan_for,
    schema_for,
    seed_of,
    settings_for,
    spec_for,
)
from clicksmith.fitting.encoded import encoded
from clicksmith.fitting.split import How, parts_of
from clicksmith.fitting.told import FitProgress, Quiet
from clicksmith.models.planned import spec_under
from clicksmith.models.spec import ModelSpec
from clicksmith.names import lookup, unknown
from clicksmith.parts import to_plain
from clicksmith.plan import Pairs, Plan
from clicksmith.plan.apply import schema_under
from clicksmith.plan.crossing import notes
from clicksmith.run import entered, write_json
from clicksmith.schema import Schema
from clicksmith.search.method import Asked, Method, Options
from clicksmith.search.methods import SEARCHES
from clicksmith.train.checks import check_labels
from clicksmith.train.monitor import check_monitor
from clicksmith.train.settings import TrainSettings

KNOB_SEED = 0x5EA
"""Mixed into the seed, so that these rows are drawn otherwise than a split of the same seed."""


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search was asked: its folder answers one question."""

    method: str
    options: dict[str, Any]
    spec: dict[str, Any]
    settings: dict[str, Any]
    schema: str
    data: dict[str, str]
    split: str
    plan: str
    seed: int


def search(
    method: str,
    train: Any,
    *,
    out: str | Path,
    backbone: str | ModelSpec | None = None,
    label: str | None = None,
    schema: AskedSchema | Schema | str | Path | None = None,
    valid: Any = None,
    test: Any = None,
    split: How = "auto",
    model_options: Mapping[str, Any] | None = None,
    settings: TrainSettings | Mapping[str, Any] | None = None,
    options: Options | Mapping[str, Any] | None = None,
    plan: Plan | str | Path | Sequence[Plan | str | Path] = (),
    seed: int | None = None,
    name: str | None = None,
    progress: FitProgress | None = None,
) -> Plan:
    """Search and write the Plan to `out`; an interrupted search goes on when it is called again.

    Args:
        method: a name of `SEARCHES`.
        train, valid, test, label, schema, split, settings, seed: as in `fit`: valid and test rows are taken off as
            `fit` does it, and the test rows are left alone.
        backbone: a name or a spec; `model_options` are its options. Methods that train none do without.
        options: of the method, see its struct.
        plan: Plans that were found before; the search works under them, and what it finds is to be merged after them.
        out: the file of the Plan. The search's own folder is `out` + ".search".
        name: of the backbone, where it is a spec.

    Raises:
        UsageError, UnknownNameError, DataError, SchemaError, CompositionError, DivergedError: as their names say.
    """
    chosen = lookup(SEARCHES, method, "search method")
    wanted = options_of(chosen, options)
    if backbone is None and chosen.trains:
        raise UsageError(f"the search {method} trains a backbone; name one.")
    asked = schema_for(train, label, schema)
    seed = seed_of(settings) if seed is None else seed
    before = plan_for(plan)
    pairs = [" x ".join(pair.fields) for part in before.parts if isinstance(part, Pairs) for pair in part.pairs]
    if pairs:
        raise UsageError(
            f"the Plan to search under has pairs ({', '.join(pairs[:3])}{', ...' if len(pairs) > 3 else ''}). Pairs "
            "come last: the ids of their crosses are numbered when a model is fitted, and no search can name them. "
            "Search without them, and give both Plans to fit."
        )
    under = schema_under(before, asked.schema)
    parts = replace(parts_of(train, valid, test, schema=under, how=split, seed=seed), test=None)
    spec = spec_for(backbone or DEFAULT_MODEL, model_options, under)
    if chosen.trains and not before.parts:
        check_model(spec, under)
    whole = settings_for(settings, parts.train.rows_hint, spec, epochs=None, seed=seed)
    whole = msgspec.structs.replace(whole, average=1)  # what is searched and the weights belong to one step
    check_parts(replace(asked, schema=under), parts, whole)
    told, path = progress or Quiet(), Path(out)
    data = parts.fingerprints() | asked.side_fingerprints()
    record = SearchRecord(
        method=method, options=msgspec.to_builtins(wanted), spec=to_plain(spec), settings=msgspec.to_builtins(whole),
        schema=asked.schema.digest, data=data, split=parts.how, plan=before.digest if before.parts else "", seed=seed,
    )  # fmt: skip
    folder = path.with_name(path.name + ".search")
    if path.exists() and not (folder / "search.json").exists():
        raise UsageError(
            f"'{path}' is there already, and of no search that is known here; choose another --out, or remove it."
        )
    with locked(folder):
        failed = folder / "failed"
        if not path.exists() and (failed.exists() or not any(folder.glob("*/checkpoint*"))):
            _clear(folder)  # a search that ended in an error, or before it trained, is no obstacle to the mended one
        if entered(folder / "search.json", record) and path.exists():
            told.said(f"'{path}' is there already, nothing was searched; remove it to search again.")
            return Plan.load(path)
        write_json(folder / "schema.json", asked.schema)
        told.said(f"split: {parts.how}")
        applied, stores = encoded(
            replace(asked, schema=under), parts, before, folder / "encoded", told, rows=data["train"]
        )
        if applied.doubles and chosen.trains:
            raise UsageError(
                f"the ids of {', '.join(applied.doubles)} are mapped to sums of two rows, under which nothing is "
                "searched; search first and merge the Plans, or map to single rows."
            )
        for line in notes(applied):
            told.noted(line)
        group = under.group if split == "group" else None
        rows, knobs = divided(stores["train"], chosen.knob_share(wanted), seed, group)
        judged = stores["valid"]
        check_labels(rows, whole)
        check_monitor(whole.monitor, judged)
        apart = f" {knobs.rows:,} for the search's own parameters," if knobs is not None else ""
        told.said(
            f"rows: {rows.rows:,} train,{apart} {judged.rows:,} valid; {len(applied.encoder.layout.order)} fields"
        )
        named = name or (backbone if isinstance(backbone, str) else "own")
        backbone_spec = spec_under(applied, spec) if chosen.trains else spec
        work = Asked(
            encoder=applied.encoder, train=rows, valid=judged, spec=backbone_spec, settings=whole, before=before,
            backbone=named if chosen.trains else "", seed=seed, data=data, folder=folder,
            progress=told, start=start_of(path), knobs=knobs, group=group,
        )  # fmt: skip
        work.start.unlink(missing_ok=True)  # of an earlier Plan that was removed
        try:
            found = Plan(parts=chosen.run(work, wanted))
        except StorageError:
            raise  # a full disk: what is there goes on when there is room
        except ClicksmithError:
            failed.touch()
            raise
        found.save(path)
    return found


def _clear(folder: Path) -> None:
    """Remove what an earlier search left, encoded rows and the lock excepted."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "encoded":
            shutil.rmtree(entry)
        elif entry.is_file() and entry.name != ".lock":
            entry.unlink()


def start_of(out: Path) -> Path:
    """Return where the start file of the Plan at `out` lies, if its method leaves one."""
    return out.with_name(out.name + ".start.safetensors")


def divided(store: Store, share: float, seed: int, group: str | None = None) -> tuple[Store, Store | None]:
    """Take rows for the search's own parameters off the training rows; whole groups, if `group` names their column.

    Raises DataError: there are too few rows, or groups.
    """
    if share == 0:
        return store, None
    shares, seed = {"train": 1 - share, "knobs": share}, seed ^ KNOB_SEED
    if group is None:
        parts, of = split_random(store.rows, shares=shares, seed=seed), "rows"
    else:
        groups = store.targets["group"]
        parts = split_by_group(groups, shares=shares, seed=seed)
        of = f"rows, of {len(np.unique(groups))} groups of '{group}' that stay whole,"
    if min(len(parts["train"]), len(parts["knobs"])) < 2:
        raise DataError(
            f"{share:g} of {store.rows} training {of} for the search's own parameters and the rest for weights: one of "
            f"them is too few to train on. Give more {'rows' if group is None else 'groups'}, or another share."
        )
    return Picked(store, parts["train"]), Picked(store, parts["knobs"])


def options_of(method: Method, given: Options | Mapping[str, Any] | None) -> Options:
    """Return the options of a method. Raises UsageError naming the one that is unknown or does not fit."""
    if isinstance(given, method.options):
        return given
    if isinstance(given, Options):
        raise UsageError(
            f"the options given are {type(given).__name__}(...), those of another search; {method.name} has its own, "
            f"{method.options.__name__}(...), or names with values."
        )
    names = method.options.__struct_fields__
    for key in given or {}:
        if key not in names:
            raise UsageError(unknown(key, names, f"option of {method.name}"))
    try:
        return msgspec.convert(dict(given or {}), method.options)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of {method.name}: {str(error).rstrip('.')}.") from error
