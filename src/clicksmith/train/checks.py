"""What is refused before the first step."""

from torch import nn

from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.models.spec import CTRModel
from clicksmith.train.monitor import check_monitor
from clicksmith.train.predict import check_layout
from clicksmith.train.settings import TrainSettings


def check(model: CTRModel, train: Store, valid: Store | None, settings: TrainSettings, *, own_loss: bool) -> None:
    """Raise DataError unless there is something to learn, UsageError for settings that contradict data or loss."""
    check_layout(model, train, "the training rows")
    check_labels(train, settings)
    if settings.batch_size == 1 and any(isinstance(part, nn.BatchNorm1d) for part in model.modules()):
        raise UsageError(
            "batch_size is 1, and the model normalises over the rows of a batch; give at least 2, or turn its "
            "batch_norm off."
        )
    if own_loss and settings.pos_weight != 1:
        raise UsageError(
            f"pos_weight is {settings.pos_weight} beside a loss of your own, which it does not reach; "
            "leave it at 1 and weigh clicks in the loss itself; predictions are then not corrected for it."
        )
    if valid is not None:
        check_layout(model, valid, "the validation rows")
        check_monitor(settings.monitor, valid)


def check_labels(train: Store, settings: TrainSettings) -> None:
    """Raise DataError unless there is something to learn."""
    if train.rows < 2:
        raise DataError(f"there are {train.rows} training rows; at least 2 are needed.")
    labels = train.targets.get("labels")
    if labels is None:
        raise DataError("the training rows have no labels; encode them with labels.")
    weight = train.targets.get("weight")
    if weight is not None and not weight.any():
        raise DataError(f"the weight is 0 in all {train.rows} training rows; give at least one row a positive weight.")
    counted = labels if weight is None else labels[weight > 0]
    where = f"all {train.rows} training rows" + ("" if len(counted) == len(labels) else " with a positive weight")
    for i, name in enumerate(train.layout.labels[: labels.shape[1]]):
        low, high = counted[:, i].min(), counted[:, i].max()
        if low == high:
            raise DataError(f"label '{name}' is {low:g} in {where}; nothing can be learned from one class.")
    if settings.negative_rate < 1 and labels.shape[1] > 1:
        raise UsageError(
            f"negative_rate is {settings.negative_rate} with {labels.shape[1]} labels; rows left out for one label "
            "shift the others by an unknown amount. Leave it at 1, or train one label at a time."
        )
