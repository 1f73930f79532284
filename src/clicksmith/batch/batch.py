"""A batch is two values: `Inputs`, which the model sees, and `Targets`, which only losses and metrics see."""

import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clicksmith.encode.rows import EncodedRows

T = TypeVar("T")

with warnings.catch_warnings():  # torch says once that an array is read-only; nothing here writes into a batch
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(bytes(4), np.float32))


@dataclass(frozen=True, slots=True)
class History:
    """Behaviour sequences of one kind, newest last.

    Shape:
        ids:  [users, time, columns] int32, 0 where there is no behaviour
        mask: [users, time] bool, True where there is a behaviour
    """

    ids: Tensor
    mask: Tensor

    @staticmethod
    def of(ids: Tensor) -> "History":
        """Derive the mask: a behaviour exists where its first column (the item) has an id."""
        return History(ids, ids[..., 0] != 0)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model reads. It holds no label.

    Shape:
        ids:       [batch, columns] int32, local to each field (0 padding, 1 unseen)
        numeric:   [batch, columns] float32, NaN where missing
        bags:      name -> [batch, length] int32, 0 padding
        vectors:   name -> [batch, dim] float32
        histories: name -> History over `users`
        owner:     [batch] int32, the history row of each impression; None if row i owns history i
        domain:    [batch] int32 (1 unseen), or None
    """

    ids: Tensor
    numeric: Tensor
    bags: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    vectors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    histories: dict[str, History] = field(default_factory=dict[str, History])
    owner: Tensor | None = None
    domain: Tensor | None = None

    def __len__(self) -> int:
        """Number of impressions."""
        return self.ids.shape[0]


@dataclass(frozen=True, slots=True)
class Targets:
    """What losses and metrics read.

    Shape:
        labels:  [batch, labels] float32
        mask:    [batch, labels] bool, False where a label is unknown; None if all are known
        weight:  [batch] float32 or None
        time:    [batch] float64 or None
        event:   [batch] bool or None (False: censored)
        teacher: [batch, outputs] float32 logits or None
        group:   [batch] int64 or None
        row:     [batch] int64, position in the split
    """

    labels: Tensor
    mask: Tensor | None = None
    weight: Tensor | None = None
    time: Tensor | None = None
    event: Tensor | None = None
    teacher: Tensor | None = None
    group: Tensor | None = None
    row: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of the same rows."""

    inputs: Inputs
    targets: Targets

    def __len__(self) -> int:
        """Number of impressions."""
        return len(self.inputs)


def to_device(value: T, device: torch.device | str) -> T:
    """Return `value` (a tensor, a dict of tensors or a batch) with every tensor on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)  # pyright: ignore[reportReturnType]
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}  # type: ignore[return-value]
    if isinstance(value, (History, Inputs, Targets, Batch)):
        moved = {f.name: to_device(getattr(value, f.name), device) for f in fields(value)}
        return replace(value, **moved)  # type: ignore[type-var]
    return value


def inputs_of(rows: EncodedRows) -> Inputs:
    """Return what a model reads of encoded rows, as tensors over the same memory."""
    return Inputs(
        ids=_tensor(rows.ids),
        numeric=_tensor(rows.numeric),
        bags={name: _tensor(array) for name, array in rows.bags.items()},
        vectors={name: _tensor(array) for name, array in rows.vectors.items()},
        histories={name: History.of(_tensor(array)) for name, array in rows.histories.items()},
        owner=None if rows.owner is None else _tensor(rows.owner),
        domain=None if rows.domain is None else _tensor(rows.domain),
    )


def batch_of(rows: EncodedRows) -> Batch:
    """Return encoded rows as tensors over the same memory; rows without labels get targets of no columns."""
    targets = Targets(
        labels=torch.empty((len(rows), 0)) if rows.labels is None else _tensor(rows.labels),
        weight=None if rows.weight is None else _tensor(rows.weight),
        time=None if rows.time is None else _tensor(rows.time),
        group=None if rows.group is None else _tensor(rows.group),
    )
    return Batch(inputs_of(rows), targets)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array if all(step >= 0 for step in array.strides) else np.ascontiguousarray(array))


for _value in (History, Inputs, Targets):
    torch.export.register_dataclass(_value, serialized_type_name=f"clicksmith.{_value.__name__}")
