"""Stored predictions: they come back whole, mapped and verified, or with the reason why not."""

import json
from pathlib import Path

import numpy as np
import pytest

from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.evaluate.metrics import measure
from clicksmith.evaluate.predictions import Predictions, write_predictions


def some(n: int = 100, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    return Predictions(
        logits=random.normal(size=(n, 2)).astype(np.float32),
        labels=random.integers(0, 2, (n, 2)).astype(np.float32),
        groups=random.integers(0, 9, n),
        weights=random.random(n).astype(np.float32),
        outputs=("click", "buy"),
        origin={"model": "ab12"},
    )


def test_saved_predictions_come_back_memory_mapped_and_give_the_same_metrics(tmp_path: Path) -> None:
    before = some()
    before.save(tmp_path / "test")
    after = Predictions.open(tmp_path / "test")
    assert isinstance(after.logits, np.memmap) and len(after) == 100
    assert (after.outputs, after.origin) == (("click", "buy"), {"model": "ab12"})
    for output in (0, "buy"):
        names = ["auc", "gauc", "logloss"]
        assert measure(after.scored(output), names) == measure(before.scored(output), names)


def test_pieces_give_the_same_files_as_the_whole(tmp_path: Path) -> None:
    whole = some()
    whole.save(tmp_path / "whole")
    pieces = [
        Predictions(whole.logits[a:b], whole.labels[a:b], whole.groups[a:b], whole.weights[a:b])  # type: ignore[index]
        for a, b in ((0, 30), (30, 31), (31, 100))
    ]
    write_predictions(tmp_path / "pieces", pieces, rows=100, outputs=whole.outputs, origin=whole.origin)
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "pieces" / file.name).read_bytes()


def test_rows_with_an_unknown_label_are_left_out(tmp_path: Path) -> None:
    predictions = some()
    predictions.labels[::2, 1] = np.nan
    predictions.save(tmp_path / "p")
    back = Predictions.open(tmp_path / "p")
    assert len(back.scored("buy")) == 50 and len(back.scored("click")) == 100
    assert back.scored("buy").groups is not None


def test_too_few_or_other_pieces_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"100 rows of predictions came, 120 were announced; nothing was written\.$"):
        write_predictions(tmp_path / "p", [some()], rows=120)
    with pytest.raises(DataError, match=r"do not fit together: 200 of 150 rows"):
        write_predictions(tmp_path / "p", [some(), some()], rows=150)
    with pytest.raises(DataError, match=r"^logits have shape \(3,\), labels \(3,\); both are \[rows, outputs\]\.$"):
        Predictions(np.zeros(3, np.float32), np.zeros(3, np.float32)).save(tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with pytest.raises(
        ArtifactError, match=r"holds no predictions \(predictions.json cannot be read\); run the evaluation"
    ):
        Predictions.open(folder)
    some().save(folder)
    content = bytearray((folder / "logits.npy").read_bytes())
    content[-1] ^= 1
    (folder / "logits.npy").write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"logits.npy' was altered: its checksum is not the one in predictions.json"
    ):
        Predictions.open(folder)
    assert len(Predictions.open(folder, verify=False)) == 100
    (folder / "logits.npy").write_bytes(content[:50])
    with pytest.raises(ArtifactError, match=r"logits.npy' is damaged"):
        Predictions.open(folder, verify=False)
    (folder / "groups.npy").unlink()
    with pytest.raises(ArtifactError, match=r"groups.npy' is missing; the predictions are incomplete"):
        Predictions.open(folder, verify=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "has version 99; this Clicksmith reads version 1. Upgrade Clicksmith."),
        ({"rows": 7}, "holds 100 rows where predictions.json says 7"),
        ({"rows": "many"}, "is damaged: Expected `int`, got `str`"),
        ({"sha256": {"../x.npy": ""}}, "names files outside its folder; it was not written by Clicksmith."),
        ({"sha256": {}}, "lists no logits and labels"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    some().save(tmp_path / "p")
    card = tmp_path / "p" / "predictions.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), **change}))
    with pytest.raises(ArtifactError) as error:
        Predictions.open(tmp_path / "p")
    assert message in str(error.value)


def test_an_output_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"^no output 'like' in these predictions; they hold click, buy.$"):
        some().scored("like")
    with pytest.raises(UsageError, match=r"^no output 2 in these predictions"):
        some().scored(2)
