"""Raw rows in, probabilities out: order, key columns, unseen values, every kind of input, one way of scoring."""

import copy
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from clicks import clicks, folder, tiny_run
from clicksmith.batch.batch import batch_of
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate import Predictions
from clicksmith.fitting.job import fit
from clicksmith.kernels.settled import Settling, _packs
from clicksmith.schema import Behaviour, Categorical, Label, Schema, SideTable
from clicksmith.serve.predictor import ROWS, Predictor, load, shared
from clicksmith.serve.scoring import evaluate_rows, plain


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load(tiny_run())


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return pl.read_csv(folder() / "test.csv")


def test_it_learned_the_planted_signal(predictor):
    assert evaluate_rows(predictor, folder() / "test.csv")["click"]["auc"] > 0.7


def test_a_file_scored_again_gives_the_figures_of_training_to_the_bit(predictor):
    written = json.loads((tiny_run() / "metrics.json").read_text())
    for split in ("valid", "test"):
        found = plain(evaluate_rows(predictor, folder() / f"{split}.csv"))
        assert {n: found[n] for n in ("auc", "logloss", "gauc", "rows")} == {
            n: written[split][n] for n in ("auc", "logloss", "gauc", "rows")
        }


def test_stored_predictions_are_those_of_the_predictor(predictor):
    stored = Predictions.open(tiny_run() / "predictions" / "test")
    np.testing.assert_array_equal(
        predictor.artifact.calibrator.probabilities(stored.logits)[:, 0], predictor.predict(folder() / "test.csv")
    )


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow", "dicts", "csv", "parquet"])
def test_every_kind_of_input_gives_the_same(predictor, frame, kind, tmp_path):
    rows = {
        "polars": lambda: frame,
        "pandas": frame.to_pandas,
        "arrow": frame.to_arrow,
        "dicts": frame.to_dicts,
        "csv": lambda: folder() / "test.csv",
        "parquet": lambda: tmp_path / "test.parquet",
    }
    frame.write_parquet(tmp_path / "test.parquet")
    np.testing.assert_allclose(predictor.predict(rows[kind]()), predictor.predict(frame), atol=1e-6)


def test_one_dict_is_one_row(predictor, frame):
    found = predictor.predict(frame.to_dicts()[7])
    assert found.shape == (1,)
    np.testing.assert_allclose(found, predictor.predict(frame)[7:8], atol=1e-6)


def test_an_empty_list_gives_an_empty_answer(predictor):
    assert predictor.predict([]).shape == (0,)


def test_scores_do_not_depend_on_the_other_rows(predictor, frame):
    order = np.random.default_rng(0).permutation(frame.height)
    np.testing.assert_allclose(predictor.predict(frame[order]), predictor.predict(frame)[order], atol=1e-6)


def test_one_users_candidates_share_one_history_and_score_the_same(predictor, frame):
    user = frame.to_dicts()[3]
    candidates = [{**user, "ad": ad} for ad in frame["ad"].unique(maintain_order=True)[:20].to_list()]
    encoded = predictor.artifact.encoder.encode(candidates)
    assert len(shared(encoded).histories["seen_ads"]) == 1
    singly = np.concatenate([predictor.predict(row) for row in candidates])
    np.testing.assert_allclose(predictor.predict(candidates), singly, atol=1e-6)


def test_histories_as_arrays_or_lists_score_as_text_does(predictor, frame):
    user = frame.to_dicts()[3]
    past = [x for x in (user["seen_ads"] or "").split("|") if x]
    expected = predictor.predict([user, user])
    np.testing.assert_allclose(predictor.predict([{**user, "seen_ads": past}] * 2), expected, atol=1e-6)
    np.testing.assert_allclose(predictor.predict([{**user, "seen_ads": np.array(past)}] * 2), expected, atol=1e-6)


def test_rows_with_different_histories_do_not_share(predictor, frame):
    encoded = predictor.artifact.encoder.encode(frame[:50])
    assert shared(encoded) is encoded


@pytest.mark.parametrize("own", [(), ("seen_ads",)])
def test_histories_of_a_side_table_are_those_of_each_rows_user_whatever_the_rows_say(own, tmp_path):
    log = clicks(200).with_columns(user=pl.Series([f"u{i % 9}" for i in range(200)]))
    users = pl.DataFrame({"user": [f"u{i}" for i in range(9)], "past": [f"a{i}|a{i + 1}" for i in range(9)]})
    users.write_csv(tmp_path / "users.csv")
    schema = Schema(
        fields=(Categorical("user", role="user"), Categorical("ad", role="item")),
        behaviours=tuple(Behaviour(name, of="ad", max_length=4) for name in ("past", *own)),
        label=Label("click"),
        tables=(SideTable("users", str(tmp_path / "users.csv"), "user"),),
    )
    columns = log.select("user", "ad", "click", *own)
    predictor = load(fit(columns, schema=schema, model="din", epochs=1, out=tmp_path / "run").path)
    rows = [{"user": f"u{i}", "ad": "a3", "seen_ads": "a1|a2"} for i in range(9)]
    singly = np.concatenate([predictor.predict(row) for row in rows])
    assert len(set(singly)) > 1
    for ignored in ("", "a7", []):
        np.testing.assert_allclose(predictor.predict([{**row, "past": ignored} for row in rows]), singly, atol=1e-5)


def test_every_distinct_history_is_computed_once(predictor, frame):
    users = [user for user in frame.to_dicts() if user["seen_ads"]][:3]
    rows = [{**users[i % 3], "ad": ad} for i, ad in enumerate(frame["ad"].unique(maintain_order=True)[:20].to_list())]
    encoded = predictor.artifact.encoder.encode(rows)
    few = shared(encoded)
    assert len(few.histories["seen_ads"]) == len({user["seen_ads"] for user in users})
    assert few.owner is not None
    np.testing.assert_array_equal(few.histories["seen_ads"][few.owner], encoded.histories["seen_ads"])
    np.testing.assert_allclose(
        predictor.predict(rows), np.concatenate([predictor.predict(row) for row in rows]), atol=1e-6
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_is_refused_with_its_row(predictor, frame, monkeypatch, value):
    broken = load(tiny_run())
    model = broken._model
    forward = type(model).forward

    def damaged(self, inputs, state=None):
        output = forward(self, inputs, state)
        return replace(output, logits=output.logits.index_fill(0, torch.tensor([6]), value))

    monkeypatch.setattr(type(model), "forward", damaged)
    for rows in (frame[:9], frame[:9].to_dicts()):
        with pytest.raises(DataError) as error:
            broken.predict(rows)
        assert str(error.value) == (
            f"row 7: the model's logit is {value}, which is no score. A number in that row is too large for the "
            "model, or the model's weights are not finite; check the row, or fit again."
        )


def test_the_row_number_of_a_refused_logit_counts_from_the_first_row_of_the_data(monkeypatch):
    broken = load(tiny_run())
    forward = type(broken._model).forward

    def damaged(self, inputs, state=None):
        output = forward(self, inputs, state)
        return replace(output, logits=output.logits / 0) if len(output.logits) < ROWS else output

    monkeypatch.setattr(type(broken._model), "forward", damaged)
    with pytest.raises(DataError, match=f"^row {ROWS + 1}: the model's logit is -?inf"):
        broken.predict(clicks(ROWS + 5, seed=5))


def test_unseen_values_in_every_column_score_and_the_label_is_not_needed(predictor):
    strange = {"user": "new", "ad": "never", "device": "watch", "price": 12.5, "seen_ads": "x|y|z"}
    probability = predictor.predict(strange)
    assert 0 < probability[0] < 1


def test_extra_columns_are_ignored(predictor, frame):
    np.testing.assert_array_equal(predictor.predict(frame.with_columns(extra=pl.lit("x"))), predictor.predict(frame))


def test_a_missing_column_is_named(predictor, frame):
    with pytest.raises(DataError, match=re.escape("no column named 'device'")):
        predictor.predict(frame.drop("device"))


@pytest.mark.parametrize(
    ("value", "cure"),
    [(["u1", "u2"], 'Give one value, or declare Bag("user").'), ({"id": "u1"}, "Make a column of each of its parts.")],
)
def test_several_values_where_one_is_expected_are_refused_with_the_row(predictor, frame, value, cure):
    told = re.escape(f"row 2: column 'user' holds {value!r}, where one value is expected. {cure}")
    rows = frame.head(3).to_dicts()
    rows[1]["user"] = value
    with pytest.raises(DataError, match=told):
        predictor.predict(rows)
    users = pl.Series("user", [None, value, value])
    with pytest.raises(DataError, match=told):
        predictor.predict(frame.head(3).with_columns(users))


def test_row_order_and_key_columns_survive(predictor, frame):
    scored = predictor.predict_frame(frame)
    assert scored.columns == ["user", "ad", "probability"]
    assert scored["user"].to_list() == frame["user"].to_list()
    np.testing.assert_array_equal(scored["probability"].to_numpy(), predictor.predict(frame))


def test_kept_columns_are_those_asked_for(predictor, frame):
    assert predictor.predict_frame(frame, keep=["price"]).columns == ["price", "probability"]
    assert predictor.predict_frame(frame, keep=[]).columns == ["probability"]


def test_more_rows_than_are_scored_at_once(predictor):
    many = clicks(9000, seed=5)
    whole = predictor.predict(many)
    assert whole.shape == (9000,)
    np.testing.assert_allclose(whole[8990:], predictor.predict(many[8990:]), atol=1e-6)


def test_a_few_rows_of_a_frame_score_as_the_same_dicts_to_the_bit(predictor, frame):
    np.testing.assert_array_equal(predictor.predict(frame[:30]), predictor.predict(frame[:30].to_dicts()))


def test_several_files_are_scored_one_after_another(predictor):
    parts = [folder() / "valid.csv", folder() / "test.csv"]
    found = predictor.predict(parts)
    np.testing.assert_allclose(found, np.concatenate([predictor.predict(part) for part in parts]), atol=1e-6)


def test_layers_are_settled_and_score_as_the_model_does(predictor, frame):
    settled = [m for m in predictor._model.modules() if isinstance(m, Settling) and m.kept is not None]
    assert settled or not _packs()
    inputs = batch_of(predictor.artifact.encoder.encode(frame)).inputs
    plain = copy.deepcopy(predictor._model)
    assert not any(m.kept is not None for m in plain.modules() if isinstance(m, Settling))
    with torch.inference_mode():
        torch.testing.assert_close(predictor._model(inputs).logits, plain(inputs).logits, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_near_and_does_not_touch_predictors_of_the_same_model(frame):
    artifact = load(tiny_run()).artifact
    clicked = frame["click"].to_numpy() == 1

    def auc(scores):
        return (scores[clicked][:, None] > scores[~clicked]).mean()

    single = Predictor(artifact)
    expected = single.predict(frame)
    low = Predictor(artifact, precision="bf16").predict(frame)
    assert 0 < np.sqrt(((low - expected) ** 2).mean()) < 0.01  # rows with a number far from the mean move most
    assert np.abs(low - expected).max() < 0.05
    assert abs(auc(low) - auc(expected)) < 0.005
    np.testing.assert_array_equal(single.predict(frame), expected)
    np.testing.assert_array_equal(load(tiny_run(), precision="bf16").predict(frame), low)


def test_a_precision_that_is_not_known():
    with pytest.raises(UsageError) as error:
        load(tiny_run(), precision="fp16")
    assert str(error.value) == "precision 'fp16' is not known; use 'fp32' or 'bf16'."


def test_threads_may_score_while_other_predictors_of_the_model_are_made(frame):
    artifact = load(tiny_run()).artifact
    predictor = Predictor(artifact)
    rows = frame[:20].to_dicts()
    expected = predictor.predict(rows)
    with ThreadPoolExecutor(2) as pool:
        scores = [pool.submit(predictor.predict, rows) for _ in range(40)]
        for _ in range(10):
            Predictor(artifact)
    for found in scores:
        np.testing.assert_allclose(found.result(), expected, atol=1e-6)
