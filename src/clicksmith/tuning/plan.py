"""From the values of a trial to its effective configuration: the whole spec and the whole settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import msgspec

from clicksmith.fitting.asked import learn_unseen, settings_for, spec_for
from clicksmith.identity import digest
from clicksmith.models.spec import ModelSpec
from clicksmith.parts import to_plain
from clicksmith.schema import Schema
from clicksmith.train.settings import TrainSettings
from clicksmith.trees.spec import Trees


@dataclass(frozen=True)
class Configuration:
    """One point of the space with everything that is fixed. Equal `digest`, equal weights."""

    options: dict[str, Any]
    """Of the model's function."""
    changes: dict[str, Any]
    """Settings that are not chosen by data size."""
    spec: ModelSpec | Trees
    settings: TrainSettings

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is trained: two ways to write the same spec and settings are one configuration."""
        return digest([to_plain(self.spec), msgspec.to_builtins(self.settings)])


class Resolves(Protocol):
    """What a search asks of a plan."""

    @property
    def seed(self) -> int:
        """Of proposals."""
        ...

    @property
    def function(self) -> Callable[..., object]:
        """What makes a model of options; its defaults are the first trial."""
        ...

    def resolve(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration of values by `model.NAME` and `train.NAME`."""
        ...


@dataclass(frozen=True)
class Plan:
    """What all trials of a search share."""

    function: Callable[..., ModelSpec | Trees]
    schema: Schema
    rows: int
    """Training rows, which choose the settings that nothing else does."""
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def resolve(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration of values by `model.NAME` and `train.NAME`.

        Raises CompositionError or UsageError: the values do not go together.
        """
        parts = {"model": dict(self.options), "train": dict(self.changes)}
        for name, value in values.items():
            prefix, _, option = name.partition(".")
            parts[prefix][option] = value
        spec = self.function(**parts["model"])
        if isinstance(spec, ModelSpec):
            spec = spec_for(learn_unseen(spec), None, self.schema)
        settings = settings_for(parts["train"], self.rows, spec, epochs=None, seed=self.seed)
        return Configuration(parts["model"], parts["train"], spec, settings)
