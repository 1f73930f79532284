"""Optuna, and nothing else of the package knows it: distributions, samplers, pruners, the journal, importances."""

import warnings
from pathlib import Path
from typing import Any, Literal

from clicksmith.errors import UsageError
from clicksmith.tuning.space import Choice, Space

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
except ImportError as error:
    raise UsageError(
        "a search needs optuna, which is not installed; pip install 'clicksmith[tune]' brings it."
    ) from error

__all__ = [
    "FrozenTrial", "Pruner", "Sampler", "Study", "Trial", "TrialState",
    "distributions_of", "importances_of", "open_study", "params_of", "sampler_of", "values_of",
]  # fmt: skip

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["asha", "hyperband", "none"]

REDUCTION = 3
"""The best third of the trials goes on at each rung: after 1, 3, 9, ... evaluations."""
LEAST = 4
"""Judged trials from which importances are worked out."""


def open_study(journal: Path, pruner: Pruner, evaluations: int) -> Study:
    """Return the study of a journal file, which several processes may share; it is made if it is not there."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))
    return optuna.create_study(
        storage=JournalStorage(backend),
        study_name="clicksmith",
        direction="maximize",
        load_if_exists=True,
        pruner=_pruner(pruner, evaluations),
    )


def sampler_of(kind: Sampler, seed: int, number: int) -> BaseSampler:
    """Return the sampler of one proposal: seed, number and what was found before decide it, not who asks, or when.

    A grid proposes its points itself, so its sampler has nothing to draw.
    """
    drawn = (seed * 1_000_003 + number) % 2**32
    return TPESampler(seed=drawn) if kind == "tpe" else RandomSampler(seed=drawn)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as Optuna's distributions."""
    found: dict[str, BaseDistribution] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            found[name] = CategoricalDistribution([dimension.stored(value) for value in dimension.values])
        elif dimension.whole:
            found[name] = IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            found[name] = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return found


def values_of(params: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return stored parameters as values of the space."""
    return {name: space[name].value(params[name]) for name in space}


def params_of(values: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return values as they are stored, those that lie in the space."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        dimension = space[name]
        inside = (
            value in dimension.values
            if isinstance(dimension, Choice)
            else value is not None and dimension.low <= value <= dimension.high
        )
        if inside:
            found[name] = dimension.stored(value)
    return found


def importances_of(study: Study) -> dict[str, float]:
    """Return how much each parameter decides whether a trial is among the best (PED-ANOVA), as shares; or nothing.

    A pruned trial counts with its best score so far: it is not among the best. A few trials say little.
    """
    known = [(t, t.user_attrs.get("outcome", {}).get("score")) for t in study.get_trials(deepcopy=False)]
    scored = [(trial, score) for trial, score in known if score is not None]
    if len(scored) < LEAST or len({score for _, score in scored}) < 2:
        return {}
    judged = optuna.create_study(direction="maximize")
    for trial, score in scored:
        judged.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=score))
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # brings scikit-learn: seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(judged, evaluator=PedAnovaImportanceEvaluator())
    moving = {name for trial, _ in scored for name, tried in trial.distributions.items() if not tried.single()}
    return {name: share for name, share in found.items() if name in moving}


def _pruner(kind: Pruner, evaluations: int) -> BasePruner:
    match kind:
        case "asha":
            return SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=max(1, evaluations), reduction_factor=REDUCTION)
        case "none":
            return NopPruner()
