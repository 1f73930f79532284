"""What a search method is: options as a value, and a function from encoded rows to parts of a Plan."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import Layout
from clicksmith.encode.store import Store
from clicksmith.errors import UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.told import FitProgress
from clicksmith.models.planned import spec_under
from clicksmith.plan import Plan
from clicksmith.plan.apply import apply_plan
from clicksmith.plan.parts import FIRST, AnyPart, FoundBy
from clicksmith.train.start import save_start

if TYPE_CHECKING:
    from clicksmith.models.spec import CTRModel, ModelSpec
    from clicksmith.train.settings import TrainSettings


LARGEST = 1e9
"""Of options that multiply: beyond it what they make is soon no number in single precision."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a method's options; `__post_init__` checks them."""

    def at_least(self, **least: float) -> None:
        """Raise UsageError naming the option that is below its bound, or not finite."""
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not bound <= value < float("inf"):
                raise UsageError(f"{name} is {value}; it must be at least {bound:g}, and finite.")

    def at_most(self, **most: float) -> None:
        """Raise UsageError naming the option that is above its bound."""
        for name, bound in most.items():
            value = getattr(self, name)
            if value is not None and value > bound:
                raise UsageError(f"{name} is {value:g}; give at most {bound:g}.")


@dataclass(frozen=True)
class Asked:
    """What a method works on. Test rows are not among it."""

    encoder: Encoder
    train: Store
    valid: Store
    """Rows that select: between candidates, and when to stop."""
    spec: "ModelSpec"
    """The backbone."""
    settings: "TrainSettings"
    """How the backbone is trained."""
    backbone: str
    seed: int
    before: Plan
    """What was found before, and decides the ids of `encoder` already."""
    data: dict[str, str]
    """Content checksums of the rows."""
    folder: Path
    """Of the search: checkpoints lie here, so that an interrupted search goes on."""
    progress: FitProgress
    start: Path
    """Where a method may leave weights for a refit to begin with; see `leave`."""
    knobs: Store | None = None
    """Rows that train the search's own parameters, taken off the training rows; for methods that ask for them."""
    group: str | None = None
    """The group column, where whole groups were drawn: a method that divides training rows keeps them whole as well."""

    @property
    def layout(self) -> Layout:
        """The layout of the rows."""
        return self.encoder.layout

    def compact(self, parts: tuple[AnyPart, ...]) -> "CTRModel":
        """Return a new model under what was found, as `fit` builds it: `leave` writes its weights."""
        applied = apply_plan(Plan(parts=parts), self.encoder)
        return new_model(spec_under(applied, self.spec), applied.encoder.layout, self.seed)

    def leave(self, model: "CTRModel", parts: tuple[AnyPart, ...]) -> None:
        """Write the start file: the weights of a model that `compact(parts)` made."""
        save_start(model, apply_plan(Plan(parts=parts), self.encoder).encoder.ids_digest, self.start)

    def found_by(self, method: str, options: Options, **scores: float) -> FoundBy:
        """Return the origin of a part."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(options))  # tuples are lists, as in a file
        return FoundBy(
            method=method, seed=self.seed, backbone=self.backbone, settings=plain, data=self.data, scores=scores
        )


def require_values(layout: Layout, method: str) -> None:
    """Raise UsageError: no field has a value that a method could choose."""
    if not any(slot.rows > FIRST for slot in layout.slots):
        why = "every value is rarer than its field's min_count" if layout.slots else "the data has only numbers"
        raise UsageError(f"{method} chooses among values of fields, and {why}; `clicksmith rank` chooses fields.")


Controls = dict[str, tuple[str, dict[str, Any]]]
"""By a short name the search that another one has to beat, and its options."""


def changed(options: Options) -> dict[str, Any]:
    """Return the options that are not the default, in order; one without default always is."""
    known = {field.name: field.default for field in msgspec.structs.fields(options)}
    return {name: getattr(options, name) for name, default in known.items() if getattr(options, name) != default}


@dataclass(frozen=True)
class Method:
    """A search: `run(asked, options)` gives parts of a Plan."""

    name: str
    about: str
    """One line."""
    options: type[Options]
    run: Callable[[Asked, Any], tuple[AnyPart, ...]]
    trains: bool = True
    """Whether it trains a backbone; else none need be named."""
    controls: Callable[[Any, Plan], Controls] = lambda _, __: {}
    """From the options and what was found to the searches of equal size that it has to beat."""
    own_epochs: bool = False
    """Whether its option `epochs` is all it trains, and the epochs of the backbone's training are not read."""
    knob_share: Callable[[Any], float] = lambda _: 0.0
    """From the options to the share of the training rows that train the search's own parameters instead."""
