"""FinalMLP's gates by field."""

import numpy as np
import pytest
import torch

from clicksmith.errors import DataError, UsageError
from clicksmith.explain.gates import gates_of_row, mean_gates
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.testing.layouts import LAYOUTS, random_batch

LAYOUT = LAYOUTS["ids"]


@pytest.fixture
def model():
    torch.manual_seed(1)
    spec = model_spec("finalmlp", dim=4, units1=(6,), units2=(4,), heads=2, gate_units=(5,), context1=("user",))
    built = CTRModel(spec, LAYOUT)
    for store in (m for m in built.modules() if hasattr(m, "reset")):
        store.reset(1.0)
    return built.train()


def batch(seed):
    return random_batch(LAYOUT, 5, seed=seed).inputs


def test_a_rows_gates_are_named_by_field(model):
    found = gates_of_row(model, batch(0), 2)
    assert set(found) == {"gate1", "gate2"}
    assert found["gate1"].fields == ("user", "item", "category", "hour")
    assert ((found["gate1"].mean > 0) & (found["gate1"].mean < 2)).all()
    assert model.training


def test_the_stream_gives_mean_and_spread_of_the_rows(model):
    batches = [batch(seed) for seed in range(3)]
    rows = np.stack([gates_of_row(model, b, i)["gate1"].mean for b in batches for i in range(5)])
    found = mean_gates(model, iter(batches))["gate1"]
    np.testing.assert_allclose(found.mean, rows.mean(0))
    np.testing.assert_allclose(found.spread, rows.std(0))
    assert found.rows == 15


def test_a_gate_without_context_does_not_spread(model):
    found = mean_gates(model, [batch(0), batch(1)])
    np.testing.assert_allclose(found["gate2"].spread, 0, atol=1e-7)
    assert (found["gate1"].spread > 1e-4).all()


def test_a_planted_shut_field_ranks_last(model):
    gate = model.block.first.transforms[0]
    with torch.no_grad():
        gate.out.bias.view(4, 4)[1] = -30
    ranked = mean_gates(model, [batch(0)])["gate1"].ranked()
    assert ranked[-1] == ("item", pytest.approx(0, abs=1e-6))


def test_a_model_without_gates_says_what_to_do():
    with pytest.raises(UsageError, match=r"^the model has no gates to show; use finalmlp with gate=True,"):
        mean_gates(CTRModel(model_spec("fm"), LAYOUT), [batch(0)])


def test_no_rows_have_no_mean(model):
    with pytest.raises(DataError, match=r"^there are no rows to average the gates over;"):
        mean_gates(model, [])
