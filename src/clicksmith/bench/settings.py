"""Which models a benchmark runs and how each is trained: a TOML file, of the package or of the user."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from clicksmith.bench.row import Searched
from clicksmith.errors import CompositionError, SchemaError, UsageError
from clicksmith.files import names_folder
from clicksmith.models import MODELS, check_options
from clicksmith.models.register import load_user_models
from clicksmith.models.spec import ModelSpec
from clicksmith.names import lookup
from clicksmith.parts import Part, edited, from_plain
from clicksmith.train.devices import device_of, precision_of
from clicksmith.train.settings import TrainSettings
from clicksmith.trees.grow import lightgbm
from clicksmith.trees.spec import LIGHTGBM, Trees

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
    table_l2: float | None = None
    """This and what follows: where it differs from the other models'."""
    dense_l2: float | None = None
    epochs: int | None = None
    patience: int | None = None
    set: dict[str, Any] = {}
    """Values within the model's spec by path, as of `fit --set`: `"embed.table.std" = 0.1`."""


class BenchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a settings file holds: `[train]` for all models, `[models.NAME]` for each."""

    models: dict[str, ModelSettings]
    train: dict[str, Any] = {}
    datasets: tuple[str, ...] = ()
    """Data sets that these settings are tuned for."""
    source: str = "as the settings say"
    """Where the references are from and how they were chosen; stands beside them."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model as it enters: its title in tables and folders, the spec, and how it is trained (with seed 0)."""

    title: str
    spec: ModelSpec | Trees
    settings: TrainSettings
    function: Callable[..., ModelSpec | Trees]
    """What makes the spec of options."""
    options: dict[str, Any]
    """Those that are given; a search leaves them as they are."""
    set: dict[str, Any]
    """Values within the spec that are given, by path; they too stay."""
    given: frozenset[str]
    """Settings of training that are given, which a search leaves as they are too."""
    files: tuple[str, ...] = ()
    """The user's own models."""
    searched: Searched | msgspec.UnsetType = msgspec.UNSET
    """How the options were found, if a search found them."""


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


def contestants(
    settings: BenchSettings, names: Sequence[str], *, train: Mapping[str, Any] | None = None
) -> list[Contestant]:
    """Return the models of those names: "all" for all of the settings, in their order, and the others after them.

    A backbone that the settings do not tune enters with its published defaults. A name that ends in .py is a file of
    the user's own models: they have names like backbones, and where no other name is given all of them enter.
    `train` overrides the settings' training for every model.
    Raises UnknownNameError naming the nearest; UsageError for options or settings that do not fit.
    """
    files = tuple(str(Path(name).resolve()) for name in dict.fromkeys(names) if name.endswith(".py"))
    own: dict[str, Callable[..., ModelSpec | Trees]] = {}
    for file in files:
        own |= load_user_models(file)
    functions = {**MODELS, LIGHTGBM: Trees, **own}
    asked = [name for name in dict.fromkeys(names) if not name.endswith(".py")] or list(own)
    known = {**{name: ModelSettings(name) for name in functions}, **settings.models}
    whole = settings.models if ALL in asked else ()
    chosen = dict.fromkeys([*whole, *(name for name in asked if name != ALL)])
    enter = _Entry(functions, settings.train, train or {}, files)
    return [enter(title, lookup(known, title, "model")) for title in chosen]


def effective(settings: TrainSettings, seed: int) -> TrainSettings:
    """Return what a trial with that seed is trained with here, in one form however it was asked."""
    device = device_of(settings.device)
    return replace(
        settings, seed=seed, device=device.type, precision=precision_of(settings.precision, device),
        checkpoint_minutes=TrainSettings().checkpoint_minutes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """How a model of the settings becomes a contestant."""

    functions: Mapping[str, Callable[..., ModelSpec | Trees]]
    train: Mapping[str, Any]
    overrides: Mapping[str, Any]
    files: tuple[str, ...]

    def __call__(self, title: str, model: ModelSettings) -> Contestant:
        if not names_folder(title):
            raise UsageError(
                f"a model is named '{title}'; its name becomes a folder, so leave out '/' and a leading '.'."
            )
        function = lookup(self.functions, model.name, "model")
        if function is Trees:
            lightgbm()  # where it is missing nothing is begun
        own = {name: getattr(model, name) for name in ("table_l2", "dense_l2", "epochs", "patience")}
        plain = {**self.train, **{key: value for key, value in own.items() if value is not None}, **self.overrides}
        try:
            options = {key: _option(value) for key, value in model.options.items()}
            check_options(model.name, function, options)
            spec = edited(function(**options), model.set, "set ")
            settings = msgspec.convert(plain, TrainSettings)
        except (TypeError, msgspec.ValidationError, SchemaError, CompositionError, UsageError) as error:
            raise UsageError(f"settings of {title}: {error}") from error
        own_code = function not in (Trees, MODELS.get(model.name)) or any(isinstance(v, Part) for v in options.values())
        files = self.files if own_code else ()
        return Contestant(title, spec, settings, function, options, model.set, frozenset(plain), files)


def _option(value: Any) -> Any:
    """Return a TOML value as backbones take it."""
    if isinstance(value, list):
        return tuple(_option(item) for item in cast("list[Any]", value))
    if isinstance(value, dict) and "kind" in value:
        return from_plain(value)
    return value
