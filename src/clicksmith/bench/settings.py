"""Which models a benchmark runs and how each is trained: a TOML file, of the package or of the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from clicksmith.bench.trees import LIGHTGBM, Trees, lightgbm
from clicksmith.errors import CompositionError, SchemaError, UsageError
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import ModelSpec
from clicksmith.names import lookup
from clicksmith.parts import from_plain
from clicksmith.train.settings import TrainSettings

FOLDER = Path(__file__).parent / "settings"
ALL = "all"


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a benchmark."""

    name: str
    """The backbone, a key of `MODELS`, or "LightGBM"."""
    reference: float | None = None
    """Published test AUC."""
    options: dict[str, Any] = {}
    """Options of the backbone; lists stand for tuples, tables with `kind` for parts."""
    table_l2: float = 0.0
    dense_l2: float = 0.0
    epochs: int | None = None
    """At most, where it differs from the other models'."""
    patience: int | None = None
    """Likewise."""


class BenchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a settings file holds: `[train]` for all models, `[models.NAME]` for each."""

    models: dict[str, ModelSettings]
    train: dict[str, Any] = {}
    datasets: tuple[str, ...] = ()
    """Data sets that these settings are tuned for."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model as it enters: its title in tables and folders, the spec, and how it is trained (with seed 0)."""

    title: str
    spec: ModelSpec | Trees
    settings: TrainSettings


def read_settings(path: Path) -> BenchSettings:
    """Read a settings file. Raises UsageError: it is missing, or a key or value does not fit (saying where)."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=BenchSettings)
    except OSError as error:
        raise UsageError(f"cannot read the settings '{path}': {error.strerror}.") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UsageError(f"settings '{path}': {error}.") from error


def settings_for(dataset: str) -> BenchSettings:
    """Return the package's settings for a data set; without, every backbone with its published defaults."""
    for path in sorted(FOLDER.glob("*.toml")):
        found = read_settings(path)
        if dataset in found.datasets:
            return found
    return BenchSettings({name: ModelSettings(name) for name in MODELS})


def contestants(settings: BenchSettings, names: Sequence[str]) -> list[Contestant]:
    """Return the models of those names ("all" for all of the settings), in the order of the settings file.

    A backbone that the settings do not tune enters with its published defaults.
    Raises UnknownNameError naming the nearest; UsageError for options or settings that do not fit.
    """
    known = {**{name: ModelSettings(name) for name in (*MODELS, LIGHTGBM)}, **settings.models}
    chosen = list(settings.models) if ALL in names else [name for name in dict.fromkeys(names)]
    return [_contestant(title, lookup(known, title, "model"), settings.train) for title in chosen]


def _contestant(title: str, model: ModelSettings, train: Mapping[str, Any]) -> Contestant:
    if not title or title != Path(title).name or title.startswith("."):
        raise UsageError(f"a model is named '{title}'; its name becomes a folder, so leave out '/' and a leading '.'.")
    try:
        spec = _spec(model)
        own = {"epochs": model.epochs, "patience": model.patience}
        plain = {**train, "table_l2": model.table_l2, "dense_l2": model.dense_l2}
        plain |= {key: value for key, value in own.items() if value is not None}
        settings = msgspec.convert(plain, TrainSettings)
    except (TypeError, msgspec.ValidationError, SchemaError, CompositionError) as error:
        raise UsageError(f"settings of {title}: {error}") from error
    return Contestant(title, spec, settings)


def _spec(model: ModelSettings) -> ModelSpec | Trees:
    if model.name != LIGHTGBM:
        return model_spec(model.name, **{key: _option(value) for key, value in model.options.items()})
    lightgbm()  # where it is missing nothing is begun
    return cast("Trees", from_plain({"kind": "trees", **model.options}))


def _option(value: Any) -> Any:
    """Return a TOML value as backbones take it."""
    if isinstance(value, list):
        return tuple(_option(item) for item in cast("list[Any]", value))
    if isinstance(value, dict) and "kind" in value:
        return from_plain(value)
    return value
