"""Thresholds against loops, closed forms, and the plain model."""

import json
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from ranked_world import ranked

from clicksmith.embed.rows import row_stores
from clicksmith.errors import CompositionError, DivergedError, UsageError
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.search.optembed.gate import Thresholds
from clicksmith.search.optembed.method import resting, search_optembed
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.step import long_tail, step
from clicksmith.search.optembed.supernet import supernet
from clicksmith.testing.layouts import LAYOUTS, random_batch
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

SMALL = ranked(800, 0)


def watched(name="fm", layout=LAYOUTS["everything"], **options):
    """Return a model in float64 with thresholds, and its gate."""
    spec = model_spec(name, **({} if name in ("lr", "ffm") else {"dim": 4}))
    part = Thresholds(**options)
    spec = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=part))
    model = CTRModel(spec, layout)
    for store in row_stores(model):
        store.reset(0.3)
    model = model.double()
    model.embedder.gate.watch(model.embedder)
    return model, model.embedder.gate


def test_the_derivative_of_the_step_has_a_long_tail():
    s = torch.tensor([-1.2, -1, -0.7, -0.4, -0.1, 0, 0.1, 0.4, 0.41, 1, 1.01], dtype=torch.float64, requires_grad=True)
    out = step(s)
    assert out.tolist() == [0] * 6 + [1] * 5
    out.sum().backward()
    assert s.grad.tolist() == pytest.approx([0, 0.4, 0.4, 0.4, 1.6, 2, 1.6, 0.4, 0.4, 0.4, 0])
    assert torch.equal(s.grad, long_tail(s.detach()))


@pytest.mark.parametrize("mode", ["field", "feature"])
def test_gradients_of_thresholds_and_vectors_equal_the_loops(mode):
    layout = LAYOUTS["ids"]
    model, gate = watched(layout=layout, mode=mode, rate=1.0, alpha=0.0, initial=1.0)
    table, slots = model.embedder.columns.table, tuple(c.slot for c in layout.ids)
    ids = torch.cat([random_batch(layout, 7).inputs.ids, torch.zeros(1, len(slots), dtype=torch.int32)])
    weights = torch.randn(*ids.shape, 1, dtype=torch.float64)
    before = gate.thresholds.clone()
    model.train()
    (gate(ids, slots) * weights).sum().backward()
    wanted_t, wanted_e = torch.zeros_like(before), torch.zeros_like(table.store.weight)
    for b in range(len(ids)):
        for c, slot in enumerate(slots):
            row, place = (
                table.store.starts[slot] + int(ids[b, c]),
                layout.slots.index(next(s for s in layout.slots if s.name == slot)),
            )
            if ids[b, c] < 2:
                continue
            vector = table.store.weight[row].detach()
            at = gate.starts[slot] + int(ids[b, c]) if mode == "feature" else place
            h = float(long_tail(vector.abs().sum() - before[at])) * float(weights[b, c])
            wanted_t[at] -= h
            wanted_e[row] += h * vector.sign()
    assert torch.allclose(before - gate.thresholds, wanted_t, atol=1e-12)
    assert wanted_t.abs().max() > 0
    assert torch.allclose(table.store.weight.grad, wanted_e, atol=1e-12)


@pytest.mark.parametrize("mode", ["field", "feature"])
def test_the_regulariser_alone_is_a_clock(mode):
    model, gate = watched(layout=LAYOUTS["ids"], mode=mode, rate=0.02, alpha=0.5)
    slots, ids = tuple(c.slot for c in LAYOUTS["ids"].ids), random_batch(LAYOUTS["ids"], 5).inputs.ids
    model.train()
    for _ in range(300):
        (0.0 * gate(ids, slots)).sum().backward()
    gate.kept()
    assert gate.thresholds.tolist() == pytest.approx([math.log(1 + 0.5 * 0.02 * 300)] * len(gate.thresholds), rel=0.01)


@pytest.mark.parametrize("mode", ["field", "feature"])
def test_thresholds_rest_at_first_and_move_then_as_if_they_had_not(mode):
    layout = LAYOUTS["ids"]
    slots, ids = tuple(c.slot for c in layout.ids), random_batch(layout, 5).inputs.ids
    _, rested = watched(layout=layout, mode=mode, rate=0.02, alpha=0.5, rest=30)
    _, gate = watched(layout=layout, mode=mode, rate=0.02, alpha=0.5)
    for steps, one in ((30, rested), (20, rested), (20, gate)):
        assert one is gate or one.resting == (steps == 30)
        for _ in range(steps):
            (0.0 * one.train()(ids, slots)).sum().backward()
        one.kept()
        assert bool((one.thresholds > 0).all()) == (steps == 20)
    assert torch.equal(rested.thresholds, gate.thresholds)


def test_no_evaluation_counts_while_thresholds_rest(tmp_path):
    """Else the best weights could be those before anything was pruned."""
    settings = TrainSettings(epochs=6, batch_size=80, device="cpu", patience=None, learning_rate=0.05)
    search_optembed(model_spec("fm", dim=4), SMALL, SMALL, SMALL, settings, OptEmbed(generations=1), folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "training" / "log.jsonl").read_text().splitlines()]
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    assert [line["best"] for line in evaluations[:3]] == [False, False, True]
    assert [resting(OptEmbed(), replaced, SMALL) for replaced in varied(settings)] == [20, 10, 3]
    clicked = float(SMALL.targets["labels"].mean())
    few = msgspec.structs.replace(settings, negative_rate=0.1)
    steps = math.ceil((clicked + 0.1 * (1 - clicked)) * SMALL.rows / 80)
    assert steps < 10 and resting(OptEmbed(), few, SMALL) == 2 * steps  # of the epochs that are trained


def varied(settings):
    """Return settings of 6 epochs of 10 steps, of 2, and of 7 steps."""
    return [msgspec.structs.replace(settings, **more) for more in ({}, {"epochs": 2}, {"steps": 7})]


@pytest.mark.parametrize("name", ["deepfm", "lr", "ffm", "fgcnn", "din"])
def test_pruned_ids_are_silent_everywhere_and_free_ones_pass(name):
    layout = LAYOUTS["everything"]
    options = {} if name in ("lr", "ffm") else {"dim": 4}
    if name == "fgcnn":
        options |= {"channels": (2,), "kernel": 3, "maps": 2, "units": (4,)}
    spec = model_spec(name, **options)
    gate = Thresholds(initial=1e9)
    model = CTRModel(msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=gate)), layout).eval()
    model.embedder.gate.watch(model.embedder)
    for store in row_stores(model):
        store.reset(1.0)
    inputs = random_batch(layout, 6, missing=False).inputs
    inputs = replace(inputs, ids=inputs.ids.clamp(min=2))
    other = replace(inputs, ids=torch.full_like(inputs.ids, 2))
    assert torch.equal(model(inputs).logits, model(other).logits)  # every known id is mute
    unseen = replace(inputs, ids=torch.ones_like(inputs.ids))
    assert not torch.equal(model(inputs).logits, model(unseen).logits)  # unseen speaks


@pytest.mark.parametrize("name", ["fm", "dcnv2"])
def test_closed_to_nothing_and_whole_it_trains_as_the_plain_model(name):
    options = {"dim": 8} if name == "fm" else {"dim": 8, "units": (8,)}
    settings = TrainSettings(epochs=2, batch_size=128, device="cpu", patience=None)
    spec = model_spec(name, **options)
    asked = OptEmbed(threshold_rate=0, alpha=0)
    both = []
    for one in (spec, supernet(spec, asked, SMALL.layout)):
        torch.manual_seed(0)
        model = CTRModel(one, SMALL.layout)
        if model.embedder.gate is not None:
            model.embedder.gate.watch(model.embedder)
            model.embedder.gate.thresholds.fill_(-1e9)
            model.embedder.columns.table.choose(dict.fromkeys([s.name for s in SMALL.layout.slots], 8))
        train(model, SMALL, None, settings)
        both.append([store.weight.detach().clone() for store in row_stores(model)])
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_evidence_weighs_rare_ids_down():
    layout = LAYOUTS["ids"]
    _, gate = watched(layout=layout)
    counts = {s.name: torch.arange(s.rows) for s in layout.slots}
    ids, slots = torch.full((1, 4), 3, dtype=torch.int32), tuple(c.slot for c in layout.ids)
    plain = gate.sizes(ids, slots)
    gate.weigh(counts, 6.0)
    assert torch.allclose(gate.sizes(ids, slots), plain * 3 / 9)


def test_errors_say_what_to_do():
    with pytest.raises(UsageError, match=r"alpha of the thresholds is -1"):
        Thresholds(alpha=-1)
    settings = TrainSettings(epochs=1, batch_size=128, device="cpu")
    with pytest.raises(UsageError, match=r"prune every one of 280 ids .*lower --search.alpha"):
        search_optembed(model_spec("fm", dim=4), SMALL, None, SMALL, settings, OptEmbed(alpha=1e8, threshold_rate=1.0))
    with pytest.raises(CompositionError, match="a gate on its ids already"):
        supernet(supernet(model_spec("fm"), OptEmbed(), SMALL.layout), OptEmbed(), SMALL.layout)
    _, gate = watched()
    gate.thresholds[0] = float("nan")
    with pytest.raises(DivergedError, match="not finite after 0 steps"):
        gate.kept()


def test_thresholds_that_are_not_finite_stop_the_training_with_the_step():
    settings = TrainSettings(epochs=9, batch_size=80, device="cpu")  # 90 steps
    with pytest.raises(DivergedError, match=r"not finite after 64 steps; lower .* threshold_rate \(1e\+38\)"):
        search_optembed(
            model_spec("fm", dim=4), SMALL, None, SMALL, settings, OptEmbed(threshold_rate=1e38, warm_epochs=0)
        )


def test_a_pass_over_the_vocabulary_equals_the_lookups():
    layout = LAYOUTS["ids"]
    _, gate = watched(layout=layout, initial=0.9)
    kept = gate.kept()
    for c in layout.ids:
        ids = torch.arange(layout.rows[c.slot], dtype=torch.int32).unsqueeze(1)
        assert kept[c.slot].tolist() == (gate.eval()(ids, (c.slot,))[:, 0, 0] > 0).tolist()
    share = np.concatenate([mask[2:] for mask in kept.values()]).mean()
    assert 0.1 < share < 0.9
