"""Encoded rows as tensors."""

import warnings

import numpy as np
import torch

from clicksmith.batch.batch import batch_of, to_device
from clicksmith.encode.rows import EncodedRows


def rows_of(**more) -> EncodedRows:
    return EncodedRows(np.ones((3, 2), np.int32), np.full((3, 1), np.nan, np.float32), **more)


def test_tensors_lie_over_the_same_memory():
    rows = rows_of(labels=np.zeros((3, 1), np.float32))
    batch = batch_of(rows)
    rows.ids[1, 1] = 7
    assert batch.inputs.ids.tolist() == [[1, 1], [1, 7], [1, 1]]
    assert batch.inputs.ids.dtype == torch.int32
    assert len(batch) == 3


def test_every_array_has_its_place():
    rows = rows_of(
        bags={"tags": np.ones((3, 2), np.int32)},
        vectors={"image": np.ones((3, 4), np.float32)},
        histories={"seen": np.array([[[0], [2]], [[3], [4]]], np.int32)},
        owner=np.array([0, 1, 1], np.int32),
        domain=np.array([1, 2, 2], np.int32),
        labels=np.ones((3, 2), np.float32),
        weight=np.ones(3, np.float32),
        time=np.ones(3),
        group=np.array([5, 6, 6]),
    )
    batch = to_device(batch_of(rows), "cpu")
    assert batch.inputs.histories["seen"].mask.tolist() == [[False, True], [True, True]]
    assert batch.inputs.owner is not None and batch.inputs.owner.tolist() == [0, 1, 1]
    assert batch.inputs.bags["tags"].shape == (3, 2) and batch.inputs.vectors["image"].shape == (3, 4)
    assert batch.inputs.domain is not None and batch.inputs.domain.tolist() == [1, 2, 2]
    assert batch.targets.weight is not None and batch.targets.time is not None
    assert batch.targets.group is not None and batch.targets.group.tolist() == [5, 6, 6]


def test_rows_without_labels_have_targets_of_no_columns():
    assert batch_of(rows_of()).targets.labels.shape == (3, 0)


def test_read_only_and_reversed_arrays_are_taken_without_a_warning():
    ids = np.arange(6, dtype=np.int32).reshape(3, 2)
    ids.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = batch_of(EncodedRows(ids[::-1], np.zeros((3, 0), np.float32)))
    assert batch.inputs.ids.tolist() == [[4, 5], [2, 3], [0, 1]]
