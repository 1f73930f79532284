"""`evaluate`: the value it returns, its notes, slices, JSON and table."""

import io

import msgspec
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from clicksmith.errors import DataError, UnknownNameError, UsageError
from clicksmith.evaluate import METRICS, Metrics, auc, evaluate, gauc, logloss, measure, metrics_table, scored
from clicksmith.evaluate.metrics import metric_named


def world(n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    logits = random.normal(-1, 1, n).astype(np.float32)
    return random.random(n) < 1 / (1 + np.exp(-logits)), logits, random.integers(0, 100, n)


def test_every_metric_lies_in_its_interval() -> None:
    labels, logits, users = world()
    found = evaluate(labels, logits=logits, groups=users, resamples=50)
    assert set(found.values) == set(METRICS)
    for name, value in found.values.items():
        assert value.low is not None and value.high is not None
        assert (
            name.startswith("ece") or value.low <= value.value <= value.high
        )  # the bootstrap of ECE is biased upwards
    assert found["auc"] == auc(labels, logits) and found["logloss"] == logloss(labels, logits=logits)
    counts = gauc(labels, logits, users)
    assert found.groups is not None and found.groups.used == counts.groups and found["gauc"] == counts.value


def test_rows_of_one_user_can_be_treated_as_one_unit() -> None:
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(40), 50)
    logits = (random.normal(size=40)[users] * 2 + random.normal(size=2000)).astype(np.float32)
    labels = random.random(2000) < 1 / (1 + np.exp(-logits))
    by_row = evaluate(labels, logits=logits, groups=users).values["logloss"]
    by_user = evaluate(labels, logits=logits, groups=users, by_group=True).values["logloss"]
    assert (by_row.method, by_user.method) == ("delta method, one unit a row", "delta method, one unit a group")
    assert by_row.value == by_user.value and by_row.error != by_user.error
    with pytest.raises(UsageError, match=r"^by_group=True needs groups and none were given; pass groups=.$"):
        evaluate(labels, logits=logits, by_group=True)


def test_metrics_are_plain_data() -> None:
    labels, logits, users = world(300)
    found = evaluate(labels, logits=logits, groups=users, slices={"hour": users % 3})
    assert msgspec.json.decode(msgspec.json.encode(found), type=Metrics) == found
    assert list(found.flat)[:2] == ["auc", "gauc"]


def test_without_groups_only_the_metrics_that_need_none() -> None:
    labels, logits, _ = world(300)
    found = evaluate(labels, logits=logits)
    assert "gauc" not in found.values and "auc" in found.values and found.groups is None
    with pytest.raises(DataError, match=r"'gauc' needs groups and none were given"):
        evaluate(labels, logits=logits, names=["gauc"])


def test_one_class_leaves_a_note_unless_the_metric_was_asked_for() -> None:
    found = evaluate([0, 0, 0], logits=[0.0, 1.0, 2.0])
    assert set(found.values) == {"logloss", "brier", "ece", "ece_by_mass"}
    assert found.notes[0].startswith("all 3 labels are 0; 'auc' needs rows of both classes.")
    with pytest.raises(DataError, match=r"all 3 labels are 0"):
        evaluate([0, 0, 0], logits=[0.0, 1.0, 2.0], names=["auc"])
    with pytest.raises(UsageError, match=r"^'auc' was not computed: all 3 labels are 0"):
        found["auc"]


def test_a_metric_that_is_not_there_says_the_real_reason_and_notes_say_it_once() -> None:
    one_class_each = evaluate([0, 0, 1, 1], logits=[0.0, 1.0, 2.0, 3.0], groups=[0, 0, 1, 1])
    for name in ("gauc", "gauc_by_clicks"):
        with pytest.raises(UsageError, match=rf"^'{name}' was not computed: none of the 2 groups has both"):
            one_class_each[name]
    assert len([note for note in one_class_each.notes if "none of the 2 groups" in note]) == 1
    with pytest.raises(UsageError, match=r"^'ndcg@5' was not computed: it was not asked for$"):
        one_class_each["ndcg@5"]
    with pytest.raises(UsageError, match=r"^'gauc' was not computed: it needs groups and none were given$"):
        evaluate([0, 1], logits=[0.0, 1.0])["gauc"]


def test_every_missing_value_of_a_slice_is_one_slice() -> None:
    missing = np.array(["a", None, float("nan"), pd.NA], dtype=object)
    found = evaluate([0, 1, 1, 0], logits=np.zeros(4), slices={"s": missing})
    assert {s.value: s.rows for s in found.slices} == {"a": 1, "": 3}


def test_slices_are_the_metrics_of_their_rows() -> None:
    labels, logits, users = world()
    device = np.array(["phone", "tablet", "tv"])[users % 3]
    found = evaluate(labels, logits=logits, groups=users, slices={"device": device, "user": users.astype(object)})
    mine = {s.value: s for s in found.slices if s.column == "device"}
    assert set(mine) == {"phone", "tablet", "tv"} and sum(s.rows for s in mine.values()) == len(labels)
    for value, part in mine.items():
        rows = device == value
        assert part.values["auc"].value == auc(labels[rows], logits[rows])
        assert part.values["gauc"].value == gauc(labels[rows], logits[rows], users[rows]).value
        assert part.clicks == labels[rows].sum()
    by_user = [s for s in found.slices if s.column == "user"]
    assert len(by_user) == 51 and by_user[-1].value == "(50 other values)"
    assert [s.rows for s in by_user[:50]] == sorted((s.rows for s in by_user[:50]), reverse=True)
    assert sum(s.rows for s in by_user) == len(labels)
    with pytest.raises(DataError, match=r"^slices, column 'device': 3 values for 3000 rows; pass one value a row.$"):
        evaluate(labels, logits=logits, slices={"device": device[:3]})


def test_a_slice_of_one_class_has_no_auc_and_does_not_stop_the_rest() -> None:
    found = evaluate([0, 0, 1, 0], logits=[0.0, 1.0, 2.0, 0.0], slices={"s": ["a", "a", "b", "b"]})
    assert {s.value: "auc" in s.values for s in found.slices} == {"a": False, "b": True}


def test_the_table_shows_values_counts_slices_and_notes_and_keeps_brackets() -> None:
    labels, logits, users = world()
    found = evaluate(labels, logits=logits, groups=users, slices={"[red]": users % 2})
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(metrics_table(found, "test"))
    console.print(metrics_table(evaluate([0, 0], logits=[0.0, 1.0])))
    text = console.export_text()
    assert (
        f"{found['auc']:.5f}" in text and "3,000 rows" in text and "by [red]" in text and "note: all 2 labels" in text
    )


def test_names_are_looked_up_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"^no metric named 'AUC'. Did you mean 'auc'?"):
        metric_named("AUC")
    with pytest.raises(UnknownNameError, match=r"no metric named 'ndcg@0'"):
        metric_named("ndcg@0")
    rows = scored([1, 0, 0], logits=[0.0, 1.0, 2.0], groups=[0, 0, 0])
    assert measure(rows, ["hitrate@2", "hitrate@3", "mrr@3"]) == {"hitrate@2": 0.0, "hitrate@3": 1.0, "mrr@3": 1 / 3}
    for ask in (lambda: measure(rows, "auc"), lambda: evaluate([1, 0], logits=[0.0, 1.0], names="auc")):
        with pytest.raises(UsageError, match=r"^names='auc' is one text; pass a list of metric names, as in \['auc'\]"):
            ask()


def test_every_metric_knows_which_way_is_better() -> None:
    assert METRICS["auc"].gain(0.8, 0.7) > 0 > METRICS["logloss"].gain(0.8, 0.7)
    assert METRICS["predicted_over_observed"].gain(1.1, 0.8) > 0 > METRICS["predicted_over_observed"].gain(2.0, 1.5)
