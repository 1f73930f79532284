"""What every model must do. `clicksmith check my_model.py` and our own tests run the same list.

A check takes a `Subject` and raises `CheckFailed` with a sentence; its name is the sentence that holds if it passes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from clicksmith.errors import ClicksmithError
from clicksmith.models.register import with_place
from clicksmith.models.spec import ModelSpec
from clicksmith.testing import exporting, learning, planned, scoring, values
from clicksmith.testing.subject import Subject, require

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    values.check_unknown_option_is_a_type_error,
    values.check_spec_survives_json,
    values.check_same_seed_same_weights,
    values.check_state_dict_round_trip,
    values.check_copies_are_equal_and_apart,
    scoring.check_one_finite_logit_per_row_and_output,
    scoring.check_rows_do_not_see_each_other,
    scoring.check_evaluation_is_deterministic,
    scoring.check_padding_changes_nothing,
    scoring.check_missing_values_are_finite,
    scoring.check_unseen_ids_are_finite,
    scoring.check_empty_batch_and_batch_of_one,
    scoring.check_double_precision_agrees,
    scoring.check_runs_in_bfloat16,
    scoring.check_shared_histories_score_alike,
    learning.check_every_parameter_matters,
    learning.check_unseen_rows_are_trained,
    learning.check_gradients_touch_only_rows_looked_up,
    learning.check_overfits_32_rows,
    exporting.check_exports_with_a_batch_of_any_size,
    planned.check_dropped_features_take_no_row_and_change_nothing_else,
    planned.check_forgotten_features_take_no_row_and_read_as_unseen,
)
"""Quick: together a second or two for one model."""

SLOW_CHECKS: tuple[Check, ...] = (exporting.check_onnx_agrees,)
"""Several seconds for one model."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    """The sentence that holds if the check passes."""
    passed: bool
    message: str
    """Why it failed; empty if it passed."""
    seconds: float


def name_of(check: Check) -> str:
    """Return a check's name as words."""
    return check.__name__.removeprefix("check_").replace("_", " ")  # type: ignore[attr-defined]


def run_checks(function: Callable[..., ModelSpec], *, slow: bool = False) -> Iterator[CheckResult]:
    """Run every check on the model that `function()` returns, yielding each result as it comes.

    Any exception of the model's own code is a failed check, with its type in the message.
    """
    spec: list[ModelSpec] = []

    def gives_a_spec() -> None:
        spec.append(function())
        require(isinstance(spec[0], ModelSpec), f"the function returns {type(spec[0]).__name__}, not a ModelSpec")

    result = _timed("gives a spec by default options", gives_a_spec)
    yield result
    if result.passed:
        subject = Subject(function, spec[0])
        for check in CHECKS + (SLOW_CHECKS if slow else ()):
            yield _timed(name_of(check), partial(check, subject))


def _timed(name: str, run: Callable[[], None]) -> CheckResult:
    start, message = time.perf_counter(), ""
    try:
        run()
    except (AssertionError, ClicksmithError) as error:
        message = str(error) or type(error).__name__
    except Exception as error:  # the user's code may raise anything, and each is a finding
        message = with_place(error)
    return CheckResult(name, not message, message, time.perf_counter() - start)
