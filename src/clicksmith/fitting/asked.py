"""What `fit` was asked, completed by what the data suggest: schema, model spec, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from clicksmith.embed.sockets import Block, Task
from clicksmith.encode.layout import Layout
from clicksmith.encode.recipe import check_columns, keeps, layout_of, recipes, side_tables
from clicksmith.encode.source import open_source
from clicksmith.errors import SchemaError, UsageError
from clicksmith.evaluate.calibrator import Calibrator, Shift
from clicksmith.fitting.propose import propose
from clicksmith.fitting.split import Parts
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.names import unknown
from clicksmith.parts import Part, walk
from clicksmith.plan import Plan
from clicksmith.plan.merge import merge
from clicksmith.schema import Schema
from clicksmith.train.defaults import default_settings
from clicksmith.train.devices import device_of
from clicksmith.train.monitor import check_groups
from clicksmith.train.settings import TrainSettings

DEFAULT_MODEL = "dcnv2"
"""The backbone when none is named."""

UNSEEN_RATE = 0.02
"""Share of known ids forgotten in training, see docs/decisions/unseen-ids.md."""

SMALL = 4
"""Rows of a table where its vocabulary does not matter."""


@dataclass(frozen=True, slots=True)
class AskedSchema:
    """A schema, where its side tables lie, and why it was proposed so (empty if it was given)."""

    schema: Schema
    root: Path = Path()
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    suspects: tuple[str, ...] = ()

    def side_fingerprints(self) -> dict[str, str]:
        """Return the content checksum of each side table, as `table:NAME`."""
        tables = side_tables(self.schema, {}, self.root)
        return {f"table:{name}": open_source(table).fingerprint() for name, table in tables.items()}


def schema_for(train: Any, label: str | None, schema: AskedSchema | Schema | str | Path | None) -> AskedSchema:
    """Return the given schema, or the one proposed from the training rows.

    Raises SchemaError: no label is named and none is found. UsageError: label and schema name different labels.
    """
    if schema is None:
        proposal = propose(train, label)
        return AskedSchema(proposal.schema, Path(), proposal.reasons, tuple(s.text for s in proposal.suspects))
    if isinstance(schema, AskedSchema):
        found, root = schema.schema, schema.root
    elif isinstance(schema, Schema):
        found, root = schema, Path()
    else:
        found, root = Schema.load(schema), Path(schema).parent
    names = [column.name for column in found.labels]
    if label is not None and label not in names:
        raise UsageError(f"--label {label}: {unknown(label, names, 'label in the schema')}")
    return AskedSchema(found, root)


def plan_for(plan: Plan | str | Path | Sequence[Plan | str | Path]) -> Plan:
    """Return one Plan, merged in order; files are read. Raises UsageError if two contradict each other."""
    given = [plan] if isinstance(plan, (Plan, str, Path)) else plan
    plans = [one if isinstance(one, Plan) else Plan.load(one) for one in given]
    return merge(*plans, names=["" if isinstance(one, Plan) else str(one) for one in given])


def spec_for(model: str | ModelSpec, options: Mapping[str, Any] | None, schema: Schema) -> ModelSpec:
    """Return the spec with one task per label of the schema."""
    if isinstance(model, ModelSpec):
        if options:
            raise UsageError("options belong to a backbone named by text; the model given is a ModelSpec already.")
        spec = model
    else:
        spec = learn_unseen(model_spec(model, **(options or {})))
    for label in schema.labels:
        if label.task != "binary":
            raise SchemaError(f"label '{label.name}' is of task '{label.task}'; `fit` trains binary labels.")
    if spec.tasks != (Task("label"),):
        return spec
    return msgspec.structs.replace(spec, tasks=tuple(Task(label.name) for label in schema.labels))


def learn_unseen(spec: ModelSpec) -> ModelSpec:
    """Return the spec of a named backbone with a trained unseen id: in a user's rows new values come every day."""
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, unseen_rate=UNSEEN_RATE))


def settings_for(
    settings: TrainSettings | Mapping[str, Any] | None,
    rows: int,
    spec: Part,
    *,
    epochs: int | None,
    seed: int | None,
) -> TrainSettings:
    """Return complete settings: the given ones, what is not given by the number of rows and the kind of model."""
    if isinstance(settings, TrainSettings):
        whole = settings
    else:
        whole = default_settings(rows, products=only_products(spec))
        names = TrainSettings.__struct_fields__
        for name in settings or {}:
            if name not in names:
                raise UsageError(unknown(name, names, "training setting"))
        whole = msgspec.structs.replace(whole, **dict(settings or {}))
    changes = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    return msgspec.structs.replace(whole, **changes)


def only_products(spec: Part) -> bool:
    """Say whether the model adds up weights and products of vectors, without layers or transforms in between."""
    if not isinstance(spec, ModelSpec) or spec.transforms:
        return False
    return all(isinstance(part, Block) and vars(type(part)).get("only_products") for part in walk(spec.interact))


def seed_of(settings: TrainSettings | Mapping[str, Any] | None) -> int:
    """Return the seed named in the settings, else 0."""
    given = settings if isinstance(settings, TrainSettings) else TrainSettings(seed=(settings or {}).get("seed", 0))
    return given.seed


def new_model(spec: ModelSpec, layout: Layout, seed: int) -> CTRModel:
    """Return a model whose first weights depend on the seed alone; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CTRModel(spec, layout)


def check_model(spec: ModelSpec, schema: Schema) -> None:
    """Raise CompositionError for a spec that cannot be built on the schema's fields, before any row is encoded."""
    new_model(spec, layout_of(schema, dict.fromkeys(keeps(schema), SMALL)), seed=0)


def check_parts(asked: AskedSchema, parts: Parts, settings: TrainSettings | None = None) -> None:
    """Refuse what would stop training, before any row is encoded.

    Raises DataError: a part lacks a column of the schema. UsageError: the settings need a device or groups that are not
    there.
    """
    tables = side_tables(asked.schema, {}, asked.root)
    log = recipes(
        asked.schema, parts.train.columns, {name: open_source(table).columns for name, table in tables.items()}
    )[0]
    for part in (parts.train, parts.valid, parts.test):
        if part is not None:
            check_columns(log, part.columns, part.name)
    if settings is not None:
        device_of(settings.device)
        check_groups(settings.monitor, asked.schema.group is not None)


def undo_weights(offset: float) -> Calibrator:
    """Return what undoes class weights and dropped negatives: adding `TrainResult.logit_offset`."""
    return Calibrator((Shift(offset),)) if offset else Calibrator()
