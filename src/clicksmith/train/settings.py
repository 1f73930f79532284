"""How a model is trained, as a value."""

from functools import cache
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import numpy as np

from clicksmith.errors import UsageError
from clicksmith.train.dense import Kind
from clicksmith.train.rows import L2Mode, Update

Monitor = Literal["auc", "gauc", "logloss", "auc-logloss", "gauc+auc"]
Precision = Literal["auto", "fp32", "bf16"]


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is trained. The defaults are the protocol of the open benchmark BARS."""

    epochs: int = 100
    """At most this many passes over the rows."""
    steps: int | None = None
    """Stop after this many steps, even within an epoch."""
    batch_size: int = 4096
    """Rows per step."""
    accumulate: int = 1
    """Compute a batch in this many pieces, to save memory. Gradients are those of the whole batch, but that batch
    normalisation sees the pieces."""

    optimizer: Kind = "adam"
    """Of all weights, tables too."""
    learning_rate: float = 1e-3
    """Where the optimiser begins, after the warm-up."""
    warmup_steps: int = 0
    """The learning rate grows linearly over this many steps."""
    schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up; cosine falls to `lr_floor` at the last step."""
    plateau_factor: float = 0.1
    """The learning rate is multiplied by this when an evaluation is no better than the best; 1 leaves it."""
    lr_floor: float = 1e-6
    """The learning rate does not fall below this."""
    clip_norm: float | None = 10.0
    """Scale the gradient of the loss down to this norm, over all weights; its L2, which the norm leaves out, alike."""

    table_update: Update = "auto"
    """How Adam updates tables. dense: every row in every step. exact: the same result, at the cost of the rows of the
    batch. lazy: only rows of the batch move. auto: dense for small tables, exact for large ones
    (with `table_l2` exact for all if one is large)."""
    table_l2: float = 0.0
    """lambda of (lambda / 2) ||table||^2, added to the loss of every step: BARS' `embedding_regularizer`."""
    l2_mode: L2Mode = "auto"
    """Rows that L2 acts on. dense: all, in every step, as BARS does; touched: those of the batch; batch: those of the
    batch, divided by their count in training (DIN's mini-batch aware regularisation). auto: dense if every table of
    the model is small enough for dense updates, else touched in all of them."""
    dense_l2: float = 0.0
    """lambda of (lambda / 2) ||w||^2 for all other weights: BARS' `net_regularizer`."""

    monitor: Monitor = "auc"
    """What an evaluation is judged by."""
    evaluate_every: int | None = None
    """Evaluate after this many steps; None: after each epoch."""
    patience: int | None = 2
    """Stop after this many evaluations in a row that are no better than the best; None: never."""
    min_delta: float = 1e-6
    """An evaluation is better if it beats the best by more than this."""
    restore_best: bool = True
    """End with the weights of the best evaluation."""
    average: int = 1
    """Judge, and end with, a running mean of the weights that spans so many evaluations (the last one has a share of
    2 / (average + 1) in it); training itself goes on from the weights. 1: no mean. Costs one more copy of the weights,
    and nothing per step."""
    eval_batch_size: int = 16384
    """Rows per step of an evaluation."""

    pos_weight: float = 1.0
    """How much a click counts. Predictions are corrected for it, see `TrainResult.logit_offset`."""
    negative_rate: float = 1.0
    """Share of rows without click that each epoch uses. Predictions are corrected for it likewise."""

    precision: Precision = "fp32"
    """bf16: matrix products in bfloat16, weights in float32. auto: bf16 where the processor multiplies it natively."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    checkpoint_minutes: float = 10.0
    """Write a checkpoint at least this often (and at each evaluation), if there is a run folder."""
    seed: int = 0
    """Of first weights, the order of rows and dropout. The same seed gives the same model."""

    def __post_init__(self) -> None:
        """Check every value, and the values against each other."""
        for name, hint in _hints().items():
            value = getattr(self, name)
            value = value.item() if isinstance(value, np.generic) else value
            try:
                msgspec.structs.force_setattr(self, name, msgspec.convert(value, hint))
            except msgspec.ValidationError as error:
                raise UsageError(f"{name} is {value!r}; it must be {_allowed(hint)}.") from error
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise UsageError(f"{name} is {value}; it must be at least {least}.")
            if isinstance(value, int) and value >= 1 << 63:
                raise UsageError(f"{name} is {value}; it must be below 2^63.")
        for name in ("learning_rate", "pos_weight", "plateau_factor", "negative_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} is {value}; it must be positive and finite.")
        for name in ("lr_floor", "table_l2", "dense_l2", "min_delta"):
            if getattr(self, name) == float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}; it must be finite.")
        for name in ("plateau_factor", "negative_rate"):
            if getattr(self, name) > 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at most 1.")
        if self.l2_mode == "dense" and self.table_update not in ("auto", "dense"):
            raise UsageError(
                f"l2_mode='dense' reaches rows that table_update='{self.table_update}' does not; "
                "use table_update='dense', or l2_mode='touched' or 'batch'."
            )
        if self.l2_mode in ("touched", "batch") and self.table_update == "dense" and self.table_l2:
            raise UsageError(
                f"l2_mode='{self.l2_mode}' acts on the rows of a batch and table_update='dense' on all; "
                "use table_update='exact' or 'lazy', or l2_mode='dense'."
            )
        if self.optimizer != "adam" and (self.table_update in ("dense", "exact") or self.l2_mode == "dense"):
            raise UsageError(
                f"table_update='{self.table_update}' and l2_mode='{self.l2_mode}' are of Adam; "
                f"optimizer='{self.optimizer}' moves the rows of a batch only. Leave them 'auto'."
            )
        if self.accumulate > self.batch_size:
            raise UsageError(
                f"accumulate is {self.accumulate} with batch_size {self.batch_size}; it must not be larger."
            )


_LEAST = {
    "epochs": 1, "steps": 1, "batch_size": 1, "accumulate": 1, "warmup_steps": 0, "lr_floor": 0, "table_l2": 0,
    "dense_l2": 0, "evaluate_every": 1, "patience": 1, "min_delta": 0, "average": 1, "eval_batch_size": 1,
    "checkpoint_minutes": 0, "seed": 0,
}  # fmt: skip


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(TrainSettings)


def _allowed(hint: Any) -> str:
    """Return in words what a setting of this type may be."""
    kinds = {int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}
    return kinds.get(hint) or " or ".join(kinds.get(one) or repr(one) for one in get_args(hint))
