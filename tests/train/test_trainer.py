"""The loop: what it learns, that it repeats, that it stops, that it says what went wrong."""

import resource
import threading
import warnings

import msgspec
import numpy as np
import pytest
import torch
from worlds import LAYOUT, clicks

from clicksmith.batch.batch import Inputs, inputs_of
from clicksmith.batch.loader import Loader
from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.embed.sockets import Task
from clicksmith.encode.layout import Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, DataError, DivergedError, StorageError, UsageError
from clicksmith.evaluate import auc
from clicksmith.kernels.settled import Settling
from clicksmith.loss import BinaryCrossEntropy
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.monitor import measured
from clicksmith.train.predict import predict_logits
from clicksmith.train.rows import RowAdam
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

TRAIN, VALID = clicks(3000, seed=1, group=True), clicks(800, seed=2, group=True)
QUICK = TrainSettings(epochs=3, batch_size=128, learning_rate=0.01, device="cpu")


def small(name: str = "dnn", seed: int = 0) -> CTRModel:
    torch.manual_seed(seed)
    options = {"units": (16,), "dropout": 0.3, "dim": 4} if name == "dnn" else {}
    return CTRModel(model_spec(name, **options), LAYOUT)


def weights(model: CTRModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("update", ["dense", "exact", "lazy"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_learns(update, precision):
    settings = msgspec.structs.replace(QUICK, table_update=update, precision=precision)
    result = train(small(), TRAIN, VALID, settings)
    assert result.metrics["auc"] > 0.75
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert (result.table_update, result.precision, result.device) == (update, precision, "cpu")


def test_a_caller_may_end_it_after_an_evaluation_for_a_reason_of_its_own(tmp_path):
    seen: list[int] = []

    def stop(history):
        seen.append(len(history))
        return "pruned" if len(history) == 2 else ""

    settings = msgspec.structs.replace(QUICK, epochs=5, patience=None)
    result = train(small(), TRAIN, VALID, settings, stop=stop, run_dir=tmp_path)
    assert (result.reason, result.epochs, seen) == ("pruned", 2, [1, 2])
    whole = train(small(), TRAIN, VALID, settings)
    assert [e["valid"] for e in result.history] == [e["valid"] for e in whole.history[:2]]
    assert train(small(), TRAIN, VALID, settings, run_dir=tmp_path).reason == "pruned"
    assert train(small(), TRAIN, VALID, settings, stop=lambda history: "late" * (len(history) == 5)).reason == "epochs"


def test_a_full_disk_ends_training_with_its_own_sentence_and_leaves_the_folder_for_another_try(tmp_path):
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"could not write '.*checkpoint': File too large"):
            train(small(), TRAIN, VALID, QUICK, run_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    model, other = small(), small()
    train(model, TRAIN, VALID, QUICK, run_dir=tmp_path)
    train(other, TRAIN, VALID, QUICK)
    assert same(weights(model), weights(other))


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_other_optimisers_learn(optimizer):
    settings = msgspec.structs.replace(QUICK, optimizer=optimizer, learning_rate=0.1)
    assert train(small("lr"), TRAIN, VALID, settings).metrics["auc"] > 0.7


def test_the_same_seed_gives_the_same_bits_and_leaves_the_callers_random_stream_alone():
    found = []
    for _ in range(2):
        model = small()
        before = torch.get_rng_state()
        train(model, TRAIN, VALID, QUICK)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(weights(model))
    assert same(*found)
    other = small()
    train(other, TRAIN, VALID, msgspec.structs.replace(QUICK, seed=1))
    assert not same(found[0], weights(other))


def test_dense_updates_with_l2_are_torchs_adam_on_the_penalised_loss():
    settings = msgspec.structs.replace(
        QUICK,
        epochs=1,
        table_update="dense",
        table_l2=0.05,
        dense_l2=0.01,
        restore_best=False,
        batch_size=500,
        clip_norm=None,
    )
    ours, theirs = small("fm"), small("fm")
    train(ours, TRAIN, None, settings)
    theirs = theirs.double()
    adam = torch.optim.Adam(theirs.parameters(), lr=settings.learning_rate)
    tables = {id(store.weight) for store in row_stores(theirs)}
    for batch in Loader(TRAIN, 500, seed=0).batches(0):
        inputs = Inputs(batch.inputs.ids, batch.inputs.numeric.double())
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            theirs(inputs).logits, batch.targets.labels.double()
        )
        for parameter in theirs.parameters():
            factor = settings.table_l2 if id(parameter) in tables else settings.dense_l2
            loss = loss + factor / 2 * parameter.square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.double(), other, atol=2e-4), name


def test_a_batch_in_pieces_is_the_same_batch():
    found = []
    for pieces in (1, 4):
        model = small("fm")
        train(model, TRAIN, None, msgspec.structs.replace(QUICK, epochs=1, accumulate=pieces))
        found.append(weights(model))
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=1e-4), name


def test_clipping_bounds_the_step():
    moved = []
    for limit in (1e-3, None):
        model = small("lr")
        before = weights(model)
        settings = msgspec.structs.replace(QUICK, steps=1, optimizer="sgd", learning_rate=1.0, clip_norm=limit)
        train(model, TRAIN, None, settings)
        after = weights(model)
        moved.append(sum(float((after[n] - before[n]).square().sum()) for n in before) ** 0.5)
    assert moved[0] == pytest.approx(1e-3, rel=1e-2) and moved[1] > 0.01


def test_clipping_keeps_the_direction_of_the_whole_loss_its_l2_included():
    moved = []
    for limit in (1e-3, None):
        model = small()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        settings = msgspec.structs.replace(
            QUICK, steps=1, optimizer="sgd", learning_rate=1.0, clip_norm=limit, table_l2=30.0, dense_l2=0.03
        )
        train(model, TRAIN, None, settings)
        moved.append(torch.cat([(p.detach() - before[n]).flatten() for n, p in model.named_parameters()]))
    assert moved[0].norm() < 0.1 * moved[1].norm()
    assert torch.cosine_similarity(moved[0], moved[1], 0) > 0.9999


def test_dense_updates_clip_the_l2_with_the_gradient():
    store = RowStore((("id", 5),), 2, std=1.0)
    plain = torch.nn.Parameter(store.weight.detach().clone())
    ours, theirs = RowAdam(store, update="dense", l2=0.5), torch.optim.Adam([plain])
    for scale in (0.01, 1.0, 0.1):  # Adam forgets a scale that stays the same
        store(torch.tensor([[1], [3]]), store.offsets(("id",))).sum().backward()
        ours.step(1e-3, scale)
        plain.grad = 0.5 * scale * plain.detach()
        plain.grad[[1, 3]] += scale
        theirs.step()
    torch.testing.assert_close(store.weight, plain)


def test_training_stops_when_it_gets_no_better_and_gives_back_the_best_weights():
    model = small()
    settings = msgspec.structs.replace(QUICK, epochs=60, learning_rate=0.05, plateau_factor=1.0)
    result = train(model, TRAIN, VALID, settings)
    scores = [entry["valid"]["auc"] for entry in result.history]
    assert result.reason == "patience" and len(scores) < 60
    assert result.metrics["auc"] == max(scores) == scores[-3]
    assert measure(model) == pytest.approx(max(scores), abs=1e-12)


def test_a_plateau_lowers_the_learning_rate_but_not_below_its_floor():
    settings = msgspec.structs.replace(QUICK, epochs=6, patience=None, min_delta=1.0, lr_floor=5e-4)
    rates = [e["learning_rate"] for e in train(small("lr"), TRAIN, VALID, settings).history]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.0005, 0.0005, 0.0005])


def test_evaluations_may_come_within_an_epoch_and_steps_end_training():
    settings = msgspec.structs.replace(QUICK, evaluate_every=10, steps=25)
    result = train(small("lr"), TRAIN, VALID, settings)
    assert [entry["step"] for entry in result.history] == [10, 20, 25]
    assert (result.steps, result.reason) == (25, "steps")


@pytest.mark.parametrize("monitor", ["logloss", "gauc", "auc-logloss", "gauc+auc"])
def test_every_monitor_works(monitor):
    result = train(small("lr"), TRAIN, VALID, msgspec.structs.replace(QUICK, monitor=monitor, epochs=1))
    assert ("gauc" in result.metrics) == ("gauc" in monitor)


def test_without_validation_training_goes_to_its_end():
    result = train(small("lr"), TRAIN, None, QUICK)
    assert (result.reason, result.metrics, len(result.history)) == ("epochs", {}, 3)


def test_sampled_negatives_and_click_weights_are_corrected_for():
    for change in ({"negative_rate": 0.3}, {"pos_weight": 4.0}):
        model = small("lr")
        settings = msgspec.structs.replace(QUICK, epochs=12, patience=None, monitor="logloss", **change)
        result = train(model, TRAIN, VALID, settings)
        logits = predict_logits(model, VALID) + result.logit_offset
        rate = float(VALID.targets["labels"].mean())
        assert float((1 / (1 + np.exp(-logits))).mean()) == pytest.approx(rate, abs=0.05)
        assert abs(float((1 / (1 + np.exp(-predict_logits(model, VALID)))).mean()) - rate) > 0.1


def test_several_labels_take_class_weights_but_no_sampled_negatives():
    rows = TRAIN.slice(0, TRAIN.rows)
    labels = np.concatenate([rows.labels, 1 - rows.labels[::-1]], 1)
    layout = msgspec.structs.replace(LAYOUT, labels=("click", "buy"))
    store = Store.of(EncodedRows(rows.ids, rows.numeric, labels=labels), layout)
    spec = msgspec.structs.replace(model_spec("lr"), tasks=(Task("click"), Task("buy")))
    with pytest.raises(
        UsageError,
        match=r"negative_rate is 0\.5 with 2 labels; rows left out for one label shift the others by an unknown "
        r"amount\. Leave it at 1, or train one label at a time\.",
    ):
        train(CTRModel(spec, layout), store, None, msgspec.structs.replace(QUICK, negative_rate=0.5))
    model = CTRModel(spec, layout)
    result = train(model, store, None, msgspec.structs.replace(QUICK, pos_weight=4.0, epochs=12))
    found = (1 / (1 + np.exp(-predict_logits(model, store) - result.logit_offset))).mean(0)
    np.testing.assert_allclose(found, labels.mean(0), atol=0.05)


def test_a_loss_of_ones_own_is_not_corrected_for_class_weights_it_does_not_have():
    settings = msgspec.structs.replace(QUICK, epochs=1, pos_weight=3.0)
    with pytest.raises(
        UsageError,
        match=r"pos_weight is 3\.0 beside a loss of your own, which it does not reach; leave it at 1 and weigh clicks "
        r"in the loss itself; predictions are then not corrected for it\.",
    ):
        train(small("lr"), TRAIN, None, settings, loss=BinaryCrossEntropy())
    own = train(small("lr"), TRAIN, None, msgspec.structs.replace(QUICK, epochs=1), loss=BinaryCrossEntropy(3.0))
    assert own.logit_offset == 0.0


def test_rows_of_weight_nothing_are_not_learned_from():
    store = clicks(2000, seed=3)
    rows = store.slice(0, store.rows)
    flipped, weight = rows.labels.copy(), np.ones(store.rows, np.float32)
    flipped[:1000], weight[:1000] = 1 - flipped[:1000], 0
    mixed = EncodedRows(rows.ids, rows.numeric, labels=flipped, weight=weight)
    result = train(
        small("lr"), Store.of(mixed, LAYOUT), VALID, msgspec.structs.replace(QUICK, epochs=8, learning_rate=0.03)
    )
    assert result.metrics["auc"] > 0.75


def test_the_unit_of_weights_is_nothing_to_clipping_and_l2():
    store = clicks(1000, seed=3, weight=True)
    rows = store.slice(0, store.rows)
    settings = msgspec.structs.replace(QUICK, steps=20, table_l2=0.05, dense_l2=0.01, clip_norm=0.05)
    found = []
    for unit in (1.0, 2.0**-20, 2.0**20):
        weighted = EncodedRows(rows.ids, rows.numeric, labels=rows.labels, weight=rows.weight * np.float32(unit))
        model = small()
        train(model, Store.of(weighted, LAYOUT), VALID, settings)
        found.append(weights(model))
    assert same(found[0], found[1]) and same(found[0], found[2])
    other = EncodedRows(rows.ids, rows.numeric, labels=rows.labels, weight=np.zeros_like(rows.weight))
    with pytest.raises(DataError, match=r"the weight is 0 in all 1000 training rows; give at least one row a positive"):
        train(small(), Store.of(other, LAYOUT), VALID, settings)


def test_minibatch_aware_l2_leaves_absent_rows_alone():
    model = small("fm")
    before = [store.weight.detach().clone() for store in row_stores(model)]
    settings = msgspec.structs.replace(QUICK, steps=1, table_update="lazy", l2_mode="batch", table_l2=0.1)
    train(model, TRAIN, None, settings)
    touched = next(Loader(TRAIN, 128, seed=0).batches(0)).inputs.ids
    for store, old in zip(row_stores(model), before, strict=True):
        present = {store.starts[n] + i for c, n in enumerate(("user", "ad", "hour")) for i in touched[:, c].tolist()}
        absent = [row for row in range(len(old)) if row not in present]
        assert absent and torch.equal(store.weight.detach()[absent], old[absent])


class Recorder:
    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, plan):
        self.told.append(f"started {plan.rows} {plan.steps} {plan.total} {plan.done}")

    def stepped(self, state):
        assert state.loss > 0 and state.rows_per_second > 0

    def evaluated(self, entry):
        self.told.append(f"evaluated {entry['step']}")

    def noted(self, text):
        self.told.append(text)

    def finished(self, reason):
        self.told.append(f"finished {reason}")


def test_progress_is_told():
    recorder = Recorder()
    train(small("lr"), TRAIN, VALID, msgspec.structs.replace(QUICK, epochs=2), progress=recorder)
    assert recorder.told == ["started 3000 24 48 0", "evaluated 24", "evaluated 48", "finished epochs"]


def noise(rows: int, value: float = 0.0) -> Store:
    found = clicks(rows).slice(0, rows)
    labels = np.random.default_rng(9).integers(0, 2, (rows, 1)).astype(np.float32)
    return Store.of(EncodedRows(found.ids, found.numeric + np.float32(value), labels=labels), LAYOUT)


def test_guessing_is_said_once_with_likely_causes():
    settings = msgspec.structs.replace(QUICK, epochs=2, learning_rate=1e-9, patience=None)
    flat = noise(40_000)
    with pytest.warns(
        RuntimeWarning, match="as good as guessing. Likely: valid and train label different things;"
    ) as seen:
        result = train(small("lr"), noise(256), flat, settings)
    assert len(seen) == len(result.notes) == 1


def test_a_loss_that_is_not_finite_stops_with_the_place_and_the_best_weights():
    model = small("fm")
    settings = msgspec.structs.replace(QUICK, learning_rate=1e30, clip_norm=None)
    with pytest.raises(
        DivergedError,
        match=r"the loss is (nan|inf) at step \d+ \(learning rate 1e\+30, last finite loss [\d.e+]+\); .*"
        r"first (parameter|gradient) that is not.*: [a-z.]+\. Use a lower learning rate or clip_norm, ",
    ):
        train(model, TRAIN, VALID, settings)


def test_logits_that_are_not_finite_in_evaluation_stop_it_too():
    settings = msgspec.structs.replace(QUICK, learning_rate=1e30, clip_norm=None)
    with pytest.raises(DivergedError, match=r"validation logits are not finite at step 24 \(learning rate 1e\+30, "):
        train(small("dnn"), TRAIN, VALID, settings)


def test_after_divergence_the_best_weights_are_back(tmp_path):
    for folder in (None, tmp_path):
        model = small("lr")
        good = train(small("lr"), TRAIN, VALID, msgspec.structs.replace(QUICK, epochs=1))
        poisoned = TRAIN.slice(0, TRAIN.rows)
        settings = msgspec.structs.replace(QUICK, evaluate_every=5, batch_size=100)
        numeric = poisoned.numeric.copy()
        late = list(Loader(TRAIN, 100, seed=0).order(0))[20]
        numeric[late] = np.inf
        bad = Store.of(EncodedRows(poisoned.ids, numeric, labels=poisoned.labels), LAYOUT)
        with pytest.raises(DivergedError, match="at step 21 "):
            train(model, bad, VALID, settings, run_dir=folder)
        assert all(bool(t.isfinite().all()) for t in model.state_dict().values())
        assert good.metrics["auc"] - 0.1 < measure(model)


def measure(model: CTRModel) -> float:
    return auc(VALID.targets["labels"], predict_logits(model, VALID))


def test_what_cannot_be_learned_from_is_refused():
    rows = TRAIN.slice(0, 50)
    unlabelled = Store.of(EncodedRows(rows.ids, rows.numeric), LAYOUT)
    zeros = Store.of(EncodedRows(rows.ids, rows.numeric, labels=np.zeros((50, 1), np.float32)), LAYOUT)
    ungrouped = clicks(100)
    for store, valid, change, text in (
        (clicks(1), None, {}, "there are 1 training rows; at least 2 are needed."),
        (unlabelled, None, {}, "the training rows have no labels; encode them with labels."),
        (zeros, None, {}, "label 'label' is 0 in all 50 training rows; nothing can be learned from one class."),
        (TRAIN, unlabelled, {}, "the validation rows have no labels; encode them with labels."),
        (
            TRAIN,
            zeros,
            {},
            "all 50 validation labels are 0, so monitor='auc' is not defined; give validation rows of both",
        ),
        (TRAIN, ungrouped, {"monitor": "gauc"}, "monitor='gauc' needs groups; declare a group column, or use monitor="),
    ):
        with pytest.raises((DataError, UsageError)) as error:
            train(small("lr"), store, valid, msgspec.structs.replace(QUICK, **change))
        assert text in str(error.value)


def test_a_finished_run_is_read_back_and_another_one_is_refused(tmp_path):
    model = small()
    first = train(model, TRAIN, VALID, QUICK, run_dir=tmp_path)
    again = small(seed=5)
    second = train(again, TRAIN, VALID, QUICK, run_dir=tmp_path)
    assert same(weights(model), weights(again))
    assert second.metrics == first.metrics and second.history == first.history
    lines = [msgspec.json.decode(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [line for line in lines if line["kind"] == "evaluation"] == first.history
    with pytest.raises(
        UsageError, match="holds a run with seed=0, asked is 1; train in another folder, or remove this"
    ):
        train(small(), TRAIN, VALID, msgspec.structs.replace(QUICK, seed=1), run_dir=tmp_path)
    (tmp_path / "checkpoint" / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(ArtifactError, match=r"is damaged \(.*\); remove it to start anew."):
        train(small(), TRAIN, VALID, QUICK, run_dir=tmp_path)


def test_training_works_outside_the_main_thread():
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(train(small("lr"), TRAIN, VALID, QUICK).reason))
    with warnings.catch_warnings():
        thread.start()
        thread.join()
    assert found == ["epochs"]


@pytest.mark.parametrize("name", ["deepfm", "dcnv2", "finalmlp", "afn"])
def test_evaluations_score_as_the_layers_do_and_leave_nothing_behind(name):
    torch.manual_seed(0)
    model = CTRModel(model_spec(name), LAYOUT)
    for store in row_stores(model):
        store.reset(0.5)
    for rate in (0.01, 0.02):  # weights move between two evaluations
        train(model, TRAIN, None, msgspec.structs.replace(QUICK, epochs=1, learning_rate=rate))
        for mode in (True, False):
            found = predict_logits(model.train(mode), VALID, batch_size=300)
            assert model.training is mode and all(m.kept is None for m in model.modules() if isinstance(m, Settling))
        with torch.no_grad():
            plain = model.eval()(inputs_of(VALID.slice(0, VALID.rows))).logits
        torch.testing.assert_close(torch.from_numpy(found), plain, atol=1e-4, rtol=1e-4)


def test_rows_of_another_layout_are_refused():
    model = small()
    other = Store.of(
        VALID.slice(0, VALID.rows), msgspec.structs.replace(LAYOUT, slots=(*LAYOUT.slots, Slot("more", 9)))
    )
    for use in (lambda: train(model, other, None, QUICK), lambda: predict_logits(model, other)):
        with pytest.raises(DataError, match=r"have layout \w{12}, the model was built for \w{12}; encode them with"):
            use()


def test_batches_of_one_row_train_and_are_refused_beside_batch_normalisation():
    settings = msgspec.structs.replace(QUICK, batch_size=1, epochs=1)
    assert train(CTRModel(model_spec("lr"), LAYOUT), clicks(30, seed=3), None, settings).steps == 30
    with pytest.raises(UsageError, match="batch_size is 1, and the model normalises over the rows of a batch"):
        train(CTRModel(model_spec("dnn", units=(4,), batch_norm=True), LAYOUT), clicks(30), None, settings)


def test_rows_that_weigh_nothing_give_no_class_to_judge_by():
    rows = VALID.slice(0, 200)

    def weighing(weight, **more):
        found = EncodedRows(rows.ids, rows.numeric, labels=rows.labels, weight=weight.astype(np.float32), **more)
        return Store.of(found, LAYOUT)

    light = weighing(1 - rows.labels[:, 0])  # no click has a weight
    with pytest.raises(DataError, match="validation labels of rows with a positive weight are 0, so monitor='auc'"):
        train(small(), TRAIN, light, QUICK)
    with pytest.raises(DataError, match="the weight is 0 in all 200 validation rows"):
        train(small(), TRAIN, weighing(np.zeros(200)), QUICK)
    with pytest.raises(DataError, match=r"label 'label' is 0 in all 200 training rows with a positive weight"):
        train(small(), light, None, QUICK)
    alone = weighing(np.ones(200), group=np.arange(200))
    with pytest.raises(DataError, match="none of the 200 groups has both a click and a non-click"):
        train(small(), TRAIN, alone, msgspec.structs.replace(QUICK, monitor="gauc"))


def test_what_one_output_cannot_be_judged_by_is_left_out_of_the_mean():
    rows = VALID.slice(0, 300)
    labels = np.concatenate([rows.labels, np.zeros_like(rows.labels)], 1)
    both = Store.of(EncodedRows(rows.ids, rows.numeric, labels=labels), LAYOUT)
    logits = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    assert set(measured(logits, both, "logloss")) == {"logloss"}
    one = Store.of(EncodedRows(rows.ids, rows.numeric, labels=labels[:, :1]), LAYOUT)
    assert measured(logits[:, :1], one, "logloss")["auc"] == pytest.approx(auc(labels[:, 0], logits[:, 0]))


def test_weights_that_overflow_in_the_last_step_are_no_result():
    settings = TrainSettings(optimizer="sgd", learning_rate=1e39, steps=1, clip_norm=None, device="cpu")
    with pytest.raises(DivergedError, match="weights are not finite at step 1"):
        train(CTRModel(model_spec("lr"), LAYOUT), TRAIN, None, settings)


def test_a_refused_resume_leaves_the_model_as_it_was(tmp_path):
    train(small(), TRAIN, None, msgspec.structs.replace(QUICK, steps=2), run_dir=tmp_path)
    model = small()
    with pytest.raises(UsageError, match="holds a run with"):
        train(model, TRAIN, None, msgspec.structs.replace(QUICK, steps=3), run_dir=tmp_path)
    inputs = next(Loader(TRAIN, 64, seed=0).batches(0)).inputs
    model(inputs).logits.sum().backward()
    assert all(store.weight.grad is not None for store in row_stores(model))


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_best_weights_are_told(tmp_path, damage):
    settings = msgspec.structs.replace(QUICK, epochs=6, learning_rate=0.05, patience=2, plateau_factor=1.0)
    result = train(small(), TRAIN, VALID, settings, run_dir=tmp_path)
    best = tmp_path / "checkpoint" / "best.safetensors"
    assert result.best_step < result.steps and best.exists()
    best.write_bytes(best.read_bytes()[:100]) if damage == "cut" else best.unlink()
    with pytest.raises(ArtifactError, match=r"is damaged .*; remove it to start anew"):
        train(small(), TRAIN, VALID, settings, run_dir=tmp_path)
