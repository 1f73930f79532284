"""The running mean of the weights: against a mean made by hand, and without a trace in the training itself."""

import msgspec
import numpy as np
import pytest
import torch
from worlds import LAYOUT, clicks

from clicksmith.errors import DivergedError, UsageError
from clicksmith.evaluate import auc
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.checkpoint import load_weights, weights_of
from clicksmith.train.hook import Hook
from clicksmith.train.predict import predict_logits
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

TRAIN, VALID = clicks(2000, seed=1), clicks(800, seed=2)
SETTINGS = TrainSettings(
    epochs=6, batch_size=128, learning_rate=0.02, device="cpu", plateau_factor=1.0, patience=None, table_l2=1e-4
)


def small() -> CTRModel:
    torch.manual_seed(0)
    return CTRModel(model_spec("dnn", units=(16,), dropout=0.3, dim=4, batch_norm=True), LAYOUT)


def measured(model: CTRModel) -> float:
    return auc(VALID.targets["labels"], predict_logits(model, VALID))


class Snapshots(Hook):
    """Keeps the weights that training has at each evaluation."""

    def __init__(self) -> None:
        self.taken: list[dict[str, torch.Tensor]] = []

    def attach(self, stepper) -> None:
        self.model = stepper.model

    def evaluated(self, entry) -> None:  # noqa: ARG002
        self.taken.append({name: tensor.clone() for name, tensor in weights_of(self.model).items()})


@pytest.mark.parametrize("update", ["dense", "exact", "lazy"])
def test_it_is_the_running_mean_of_what_training_passes_through(update):
    length, seen, plain = 3, Snapshots(), Snapshots()
    settings = msgspec.structs.replace(SETTINGS, table_update=update, average=length)
    model = small()
    result = train(model, TRAIN, VALID, settings, hook=seen)
    train(small(), TRAIN, VALID, msgspec.structs.replace(settings, average=1), hook=plain)
    mean: dict[str, np.ndarray] = {}
    scores = []
    for number, (weights, other) in enumerate(zip(seen.taken, plain.taken, strict=True), start=1):
        assert all(torch.equal(weights[name], other[name]) for name in weights)  # training itself goes on as ever
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                old = mean.get(name, np.zeros(tensor.shape))
                mean[name] = old + (tensor.double().numpy() - old) * max(1 / number, 2 / (length + 1))
        judged = small()
        load_weights(judged, {n: torch.from_numpy(mean[n]).float() if n in mean else t for n, t in weights.items()})
        scores.append(measured(judged.eval()))
    assert [entry["valid"]["auc"] for entry in result.history] == pytest.approx(scores, abs=1e-5)
    assert result.metrics["auc"] == max(entry["valid"]["auc"] for entry in result.history)
    assert measured(model) == pytest.approx(result.metrics["auc"], abs=1e-12)  # it ends with the best mean


@pytest.mark.parametrize("valid", [VALID, None])
def test_a_finished_run_is_read_back_as_its_mean(tmp_path, valid):
    settings = msgspec.structs.replace(SETTINGS, average=5, epochs=3)
    first, again = small(), CTRModel(model_spec("dnn", units=(16,), dropout=0.3, dim=4, batch_norm=True), LAYOUT)
    train(first, TRAIN, valid, settings, run_dir=tmp_path)
    train(again, TRAIN, valid, settings, run_dir=tmp_path)
    in_memory, seen = small(), Snapshots()
    train(in_memory, TRAIN, valid, settings, hook=seen)
    for name, tensor in weights_of(first).items():
        assert torch.equal(tensor, weights_of(again)[name]) and torch.equal(tensor, weights_of(in_memory)[name])
    if valid is None:
        for name, tensor in weights_of(first).items():
            if tensor.is_floating_point():
                mean = torch.stack([taken[name].double() for taken in seen.taken]).mean(0)
                torch.testing.assert_close(tensor.double(), mean, atol=1e-6, rtol=1e-5)


def test_a_noisy_end_is_averaged_out():
    settings = msgspec.structs.replace(SETTINGS, learning_rate=0.05, epochs=10, restore_best=False)
    last, mean = (
        train(small(), TRAIN, VALID, msgspec.structs.replace(settings, average=length)).metrics for length in (1, 6)
    )
    assert mean["auc"] > last["auc"] and mean["logloss"] < last["logloss"] - 0.01


def test_a_length_below_one_is_refused():
    with pytest.raises(UsageError, match="average is 0; it must be at least 1"):
        TrainSettings(average=0)


def test_after_divergence_the_mean_before_it_is_there():
    class Breaks(Hook):
        def attach(self, stepper) -> None:
            self.model = stepper.model

        def begin_epoch(self, epoch) -> None:
            if epoch == 2:
                with torch.no_grad():
                    for parameter in self.model.parameters():
                        parameter.fill_(float("nan"))

    model = small()
    with pytest.raises(DivergedError):
        train(model, TRAIN, None, msgspec.structs.replace(SETTINGS, average=2), hook=Breaks())
    assert all(bool(t.isfinite().all()) for t in weights_of(model).values())
