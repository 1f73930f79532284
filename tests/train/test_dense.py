"""Optimisers of ordinary weights: torch's own, to the bit, without what torch's classes import."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from clicksmith.train.dense import DenseOptimizer, Kind

TORCHS = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}


def weights() -> list[nn.Parameter]:
    torch.manual_seed(1)
    return [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(2, 2))]


def gradients(step: int) -> list[torch.Tensor | None]:
    """Of the weights in a step; the second has none in every other."""
    torch.manual_seed(100 + step)
    drawn = [torch.randn_like(w) for w in weights()]
    return [drawn[0], None if step % 2 else drawn[1], drawn[2] * 1e-9]


def rate(step: int) -> float:
    return 0.1 / (1 + step % 3)


@pytest.mark.parametrize("kind", ["adam", "adagrad", "sgd"])
def test_it_is_torchs_to_the_bit(kind: Kind) -> None:
    ours, theirs = weights(), weights()
    mine, reference = DenseOptimizer(kind, ours), TORCHS[kind](theirs, lr=0.1, fused=True)
    for step in range(9):
        for own, other, grad in zip(ours, theirs, gradients(step), strict=True):
            own.grad, other.grad = (None if grad is None else grad.clone() for _ in range(2))
        group = reference.param_groups[0]
        group["lr"], group["weight_decay"] = rate(step), 0.01 * step
        reference.step()
        mine.step(rate(step), 0.01 * step)
        assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
    mine.zero_grad()
    assert all(own.grad is None for own in ours)
    before = [own.detach().clone() for own in ours]
    mine.step(0.1, 0.5)
    assert all(torch.equal(own, old) for own, old in zip(ours, before, strict=True))


@pytest.mark.parametrize("kind", ["adam", "adagrad", "sgd"])
def test_a_saved_state_goes_on_to_the_same_bits(kind: Kind) -> None:
    def train(optimizer: DenseOptimizer, steps: range) -> None:
        for step in steps:
            for weight, grad in zip(optimizer.weights, gradients(step), strict=True):
                weight.grad = grad
            optimizer.step(rate(step))

    whole = DenseOptimizer(kind, weights())
    train(whole, range(8))
    first = DenseOptimizer(kind, weights())
    train(first, range(5))
    second = DenseOptimizer(kind, [nn.Parameter(w.detach().clone()) for w in first.weights])
    second.load_state_dict({str(key): entry for key, entry in first.state_dict().items()})  # as JSON has it
    train(second, range(5, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.weights, second.weights, strict=True))


TRAINS = """
import sys
sys.path.insert(0, sys.argv[1])
from worlds import LAYOUT, clicks
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
train(CTRModel(model_spec("deepfm", dim=4), LAYOUT), clicks(200), clicks(100, seed=1), TrainSettings(epochs=1))
print(sorted({"torch._dynamo", "sympy", "scipy", "sklearn", "pandas"} & set(sys.modules)))
"""


def test_training_imports_neither_torchs_compiler_nor_other_heavy_libraries() -> None:
    code = [sys.executable, "-c", TRAINS, str(Path(__file__).parent)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
