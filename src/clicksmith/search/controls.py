"""What a search of features must beat: as many features by chance, the most frequent ones, a warm start alone.

They are searches like the others, so their Plans and start files go the same way through `fit`.
"""

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST, AnyPart, KeptFeatures
from clicksmith.search.method import Asked, Method, Options
from clicksmith.train.counts import id_counts
from clicksmith.train.trainer import train


class Share(Options, frozen=True):
    """How many features are kept, over all vocabularies together."""

    share: float = 0.5
    """Of all features; `kept` among the scores of another Plan gives a control of equal size."""
    dropped_to: Literal["zero", "unseen"] = "zero"
    """What becomes of the other features: a vector of zeros, or the vector of values never seen."""
    drop_from_history: bool = False
    """Whether dropped items leave histories, so that they are no longer in their mean."""

    def __post_init__(self) -> None:
        """Check the share."""
        if self.drop_from_history and self.dropped_to == "unseen":
            raise UsageError("drop_from_history goes with dropped_to='zero'; give one of them.")
        if not 0 < self.share <= 1:
            raise UsageError(f"share is {self.share}; it must be above 0 and at most 1.")


class Warm(Options, frozen=True):
    """How long the start is."""

    epochs: int = 1
    """Epochs of plain training, after which a refit begins anew with these weights and a fresh optimiser."""

    def __post_init__(self) -> None:
        """Check the epochs."""
        self.at_least(epochs=1)


Sizes = dict[str, int]


def random_features(asked: Asked, options: Share) -> tuple[AnyPart, ...]:
    """Keep features by chance."""
    return _best("random", asked, options, lambda slots: np.random.default_rng(asked.seed).random(sum(slots.values())))


def frequent_features(asked: Asked, options: Share) -> tuple[AnyPart, ...]:
    """Keep the features that training rows have most often; of equal ones those of the earlier field and id."""
    counts = id_counts(asked.train)
    return _best("frequent", asked, options, lambda slots: np.concatenate([counts[s].numpy()[FIRST:] for s in slots]))


def warm_start(asked: Asked, options: Warm) -> tuple[AnyPart, ...]:
    """Leave the weights of the plain backbone after some epochs as a start file, and an empty Plan."""
    settings = msgspec.structs.replace(
        asked.settings, epochs=options.epochs, steps=None, patience=None, plateau_factor=1.0, restore_best=False
    )
    model = asked.compact(())
    train(model, asked.train, asked.valid, settings, run_dir=asked.folder / "training", progress=asked.progress)
    asked.leave(model, ())
    return ()


def _best(name: str, asked: Asked, options: Share, worth: Callable[[Sizes], NDArray[np.number]]) -> tuple[AnyPart, ...]:
    """Keep the features of the most worth, where `worth` gives one number per feature, slot by slot."""
    slots = {slot.name: slot.rows - FIRST for slot in asked.layout.slots}
    total = sum(slots.values())
    stay = round(options.share * total)
    if stay < 1:
        raise UsageError(f"share is {options.share}: of {total:,} features none is kept; give a larger one.")
    kept = np.zeros(total, np.bool_)
    kept[np.argsort(-worth(slots), kind="stable")[:stay]] = True
    pieces = np.split(kept, np.cumsum(list(slots.values()))[:-1])
    masks = {
        slot: Array(np.concatenate([np.ones(FIRST, np.bool_), piece]))
        for slot, piece in zip(slots, pieces, strict=True)
    }
    at = numbering(asked.encoder)
    by = asked.found_by(name, options, kept=stay / total)
    part = KeptFeatures(
        slots=masks,
        dropped_to=options.dropped_to,
        drop_from_history=options.drop_from_history,
        numbering={s: at[s] for s in slots},
        found_by=by,
    )
    return (part,)


RANDOM = Method("random", "control: as many features by chance", Share, random_features, trains=False)
FREQUENT = Method("frequent", "control: the most frequent features", Share, frequent_features, trains=False)
WARM = Method(
    "warm", "control: no choice, a start file with the weights after an epoch", Warm, warm_start, own_epochs=True
)
