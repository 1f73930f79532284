"""The trainer teaches the branches of a model whose head asks for it."""

import math

import pytest
import torch
from worlds import LAYOUT, clicks

from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

SMALL = {"dim": 4, "units1": (8,), "units2": (8,), "dropout1": 0.0, "dropout2": 0.0, "batch_norm": False}


@pytest.mark.parametrize("weight", [False, True])
def test_two_blocks_with_the_paper_s_loss_start_at_three_times_the_plain_loss_and_learn(weight):
    rows, valid = clicks(600, weight=weight), clicks(400, seed=1)
    first: dict[bool, float] = {}
    for distil in (False, True):
        for steps in (1, 60):
            torch.manual_seed(0)
            model = CTRModel(model_spec("finalnet", distil=distil, gate=False, **SMALL), LAYOUT)
            with torch.no_grad():
                for p in model.head.parameters():
                    p.mul_(1e-4)  # every branch says one half
            settings = TrainSettings(steps=steps, epochs=50, batch_size=100, learning_rate=1e-2, evaluate_every=steps)
            result = train(model, rows, valid, settings)
            if steps == 1:
                first[distil] = result.history[0]["loss"]
        assert result.metrics["auc"] > 0.65
    assert first[True] == pytest.approx(3 * first[False], rel=1e-3)
    assert weight or first[False] == pytest.approx(math.log(2), rel=1e-3)
