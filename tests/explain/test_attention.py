"""Attention by field: one row, means in a stream, and planted values."""

import numpy as np
import pytest
import torch

from clicksmith.errors import DataError, UsageError
from clicksmith.explain.attention import attention_of_row, mean_attention, mean_attention_by
from clicksmith.interact.attention import AttentionStack
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.testing.layouts import LAYOUTS, random_batch

LAYOUT = LAYOUTS["ids"]


@pytest.fixture
def model():
    torch.manual_seed(1)
    built = CTRModel(model_spec("autoint_plus", dim=4, layers=2, width=6, heads=2, units=(5,)), LAYOUT)
    for store in (m for m in built.modules() if hasattr(m, "reset")):
        store.reset(1.0)
    return built.train()


def batch(seed):
    return random_batch(LAYOUT, 5, seed=seed).inputs


def test_a_rows_attention_is_named_by_field_and_sums_to_1(model):
    found = attention_of_row(model, batch(0), 3)
    assert found.fields == ("user", "item", "category", "hour")
    assert found.weights.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(found.weights.sum(-1), 1, atol=1e-6)
    assert model.training


def test_the_stream_gives_the_mean_of_the_rows(model):
    batches = [batch(seed) for seed in range(3)]
    rows = [attention_of_row(model, b, i).weights for b in batches for i in range(5)]
    found = mean_attention(model, iter(batches))
    np.testing.assert_allclose(found.weights, np.mean(rows, 0), atol=1e-9)
    assert found.rows == 15


def test_means_are_kept_apart_by_key(model):
    keys = [np.array([0, 1, 1, 0, 1]), np.array([1, 1, 1, 1, 1])]
    found = mean_attention_by(model, [(batch(0), keys[0]), (batch(1), keys[1])])
    rows = [attention_of_row(model, batch(0), i).weights for i in (0, 3)]
    np.testing.assert_allclose(found[0].weights, np.mean(rows, 0), atol=1e-9)
    assert {key: m.rows for key, m in found.items()} == {0: 2, 1: 8}


def test_pairs_are_ranked_by_the_attention_they_pay_each_other(model):
    found = attention_of_row(model, batch(0))
    pairs = found.pairs()
    heat = found.heat()
    assert len(pairs) == 6
    assert [p[2] for p in pairs] == sorted((p[2] for p in pairs), reverse=True)
    first, second, value = pairs[0]
    i, j = found.fields.index(first), found.fields.index(second)
    assert value == pytest.approx(heat[i, j] + heat[j, i])


def test_rollout_follows_the_layers(model):
    found = attention_of_row(model, batch(0))
    expected = (found.heat(1) + np.eye(4)) / 2 @ ((found.heat(0) + np.eye(4)) / 2)
    np.testing.assert_allclose(found.rollout(), expected)
    np.testing.assert_allclose(found.rollout().sum(1), 1, atol=1e-6)


def test_sized_attention_ignores_values_of_no_length(model):
    (stack,) = (m for m in model.modules() if isinstance(m, AttentionStack))
    width = stack.layers[0].width
    with torch.no_grad():
        stack.layers[0].project.weight[2 * width : 3 * width] = 0
    assert (attention_of_row(model, batch(0), sized=True).weights[0] == 0).all()
    assert (attention_of_row(model, batch(0)).weights[0] > 0).all()


def test_without_queries_every_field_is_looked_at_alike(model):
    (stack,) = (m for m in model.modules() if isinstance(m, AttentionStack))
    with torch.no_grad():
        stack.layers[0].project.weight[: stack.layers[0].width] = 0
    np.testing.assert_allclose(mean_attention(model, [batch(0)]).heat(), 0.25)


def test_a_model_without_attention_says_what_to_do():
    plain = CTRModel(model_spec("fm"), LAYOUT)
    with pytest.raises(
        UsageError, match=r"^the model has no attention over fields to show; use autoint or autoint_plus,"
    ):
        attention_of_row(plain, batch(0))


def test_no_rows_have_no_mean(model):
    with pytest.raises(DataError, match=r"^there are no rows to average the attention over;"):
        mean_attention(model, [])
