"""Planted fields: the rows that committed results name by their seed, and the truth they tell."""

import hashlib

import numpy as np

from clicksmith.datasets.fields import planted_fields


def test_a_seed_names_its_rows():
    drawn = planted_fields(200, 20, seed=3)
    bytes_ = drawn.codes.astype("<i4").tobytes() + drawn.labels.astype("<i8").tobytes()
    assert hashlib.sha256(bytes_).hexdigest() == "441f1d14012281d86beee87f1a4f04a7a2e514434e303bc8cdb0629a400f3f88"
    assert drawn.relevant == {12, 16}


def test_clicks_move_with_the_values_of_relevant_fields_only():
    codes, labels, relevant = planted_fields(40_000, 20, effect=1.0, seed=1)
    moved = {f: abs(labels[codes[:, f] == 0].mean() - labels[codes[:, f] != 0].mean()) for f in range(20)}
    assert len(relevant) == 2 and max(moved[f] for f in relevant) > 0.05
    assert all(moved[f] < 0.05 for f in moved if f not in relevant)


def test_no_field_becomes_the_label():
    """The package's needle is the label itself, for its generator writes through a view: any score would find it."""
    codes, labels, relevant = planted_fields(40_000, 20, effect=1.0, seed=1)
    for f in relevant:
        clicks, met = np.bincount(codes[:, f], labels), np.bincount(codes[:, f])
        rates = (clicks / met)[met >= 200] if (met >= 200).any() else (clicks / met)[met.argmax()]
        assert len(set(codes[:, f].tolist())) > 1
        assert ((rates > 0) & (rates < 1)).all()
