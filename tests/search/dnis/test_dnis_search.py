"""DNIS as a search: it goes on after a kill, keeps its rows apart, and padding and unseen ids have no say."""

from typing import cast

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from columns_world import QUICK, SCHEMA, planted
from torch.func import functional_call

from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.rows import row_stores
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import DataError, DivergedError, UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models import MODELS, model_spec
from clicksmith.plan.parts import FIRST, Columns
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.dnis import controls as columns
from clicksmith.search.dnis import method as dnis
from clicksmith.search.dnis.blocks import Band
from clicksmith.search.dnis.controls import inherit
from clicksmith.search.dnis.layer import Soft, SoftBlock, SoftTable
from clicksmith.search.dnis.method import DNIS, AlphaHook, folded
from clicksmith.search.dnis.prune import column_sizes
from clicksmith.search.job import divided, search
from clicksmith.serve.artifact import load as load_artifact
from clicksmith.testing.subject import Subject
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.settings import TrainSettings
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train
from train.worlds import LAYOUT, clicks

SMALL = {
    "valid": planted(400, 1), "backbone": "deepfm", "schema": SCHEMA, "model_options": {"dim": 4, "units": (8,)},
    "settings": {**QUICK, "batch_size": 128, "epochs": 3, "checkpoint_minutes": 0.0},
}  # fmt: skip


class Killed(Exception):
    """Where a test ends a search without a word."""


class UntilEvaluation(Quiet):
    def __init__(self, number: int) -> None:
        self.left = number

    def evaluated(self, entry):  # noqa: ARG002
        self.left -= 1
        if not self.left:
            raise Killed


def test_the_warm_start_takes_the_epochs_it_is_given_though_validation_falls(tmp_path, monkeypatch):
    lengths = []

    def noted(model, rows, judged, settings, **how):
        result = train(model, rows, judged, settings, **how)
        lengths.append(len(result.history))
        return result

    monkeypatch.setattr(dnis, "train", noted)
    steep = SMALL["settings"] | {"learning_rate": 1.0, "epochs": 20, "patience": 1}  # validation falls soon
    for warm in (None, 12):
        options = {"epochs": 1, "warm_epochs": warm}
        search("dnis", planted(800), out=tmp_path / f"{warm}.json", **{**SMALL, "settings": steep}, options=options)
    assert lengths[0] < lengths[2] == 12


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_killed_search_ends_with_the_same_plan_and_start(tmp_path, monkeypatch, order):
    asked = {**SMALL, "options": {"epochs": 2, "order": order, "update": "all"}}
    whole = search("dnis", planted(800), out=tmp_path / "whole.json", **asked)
    out = tmp_path / "again.json"
    with pytest.raises(Killed):
        search("dnis", planted(800), out=out, progress=UntilEvaluation(2), **asked)  # during the warm start
    before, steps = AlphaHook.before_update, []

    def dies(self, step, rate):
        steps.append(step)
        if len(steps) == 8:  # within the second epoch that moves alpha
            raise Killed
        before(self, step, rate)

    with monkeypatch.context() as patched:
        patched.setattr(AlphaHook, "before_update", dies)
        with pytest.raises(Killed):
            search("dnis", planted(800), out=out, **asked)
    assert not out.exists()
    again = search("dnis", planted(800), out=out, **asked)
    assert again.digest == whole.digest
    starts = [(tmp_path / f"{name}.json.start.safetensors").read_bytes() for name in ("whole", "again")]
    assert starts[0] == starts[1]


def test_one_seed_gives_one_plan_and_names_do_not_matter(tmp_path):
    """No two values of a field are equally frequent, so frequency alone numbers them, whatever they are called."""
    random = np.random.default_rng(3)
    counts = np.arange(10, 40)
    ids = {name: random.permutation(np.repeat(np.arange(30), counts)) for name in ("a", "b")}
    click = (random.random(len(ids["a"])) < 0.3 + 0.4 * ((ids["a"] + ids["b"]) % 2)).astype(int)
    shuffled = random.permutation(30)
    found = []
    for n, name in enumerate((lambda i: f"v{i:02}", lambda i: f"v{i:02}", lambda i: f"v{shuffled[i]:02}")):
        rows = pl.DataFrame({field: [name(i) for i in column] for field, column in ids.items()} | {"click": click})
        plan = search("dnis", rows, out=tmp_path / f"{n}.json", **{**SMALL, "valid": rows}, options={"epochs": 1})
        found.append(cast("Columns", plan.parts[0]))
    assert found[0] == found[1]
    assert found[0].slots == found[2].slots and found[0].numbering != found[2].numbering


# ---- rows kept apart


def soft_model(spec_of=("fm", {"dim": 4})):
    spec = model_spec(spec_of[0], **spec_of[1])
    table = Soft(blocks=tuple(SoftBlock(s, 2, n, 0) for s, n in LAYOUT.rows.items()))
    model = new_model(msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=table)), LAYOUT, 0)
    return model, cast("SoftTable", model.embedder.columns.table), spec


def test_rows_of_alpha_leave_the_weights_alone_and_training_rows_leave_alpha_alone(monkeypatch):
    rows, knobs = divided(clicks(400), 0.25, 0)
    assert knobs is not None
    settings = TrainSettings(epochs=2, batch_size=50, learning_rate=0.05)
    model, table, spec = soft_model(("deepfm", {"dim": 4, "units": (8,)}))
    plain = new_model(spec, LAYOUT, 0)
    train(plain, rows, None, settings)
    still = DNIS(epochs=2, rate=0.0, update="all")
    train(model, rows, None, settings, hook=AlphaHook(still, table, rows, knobs, batch_size=50, seed=0))
    found = {n.replace(".inner.store", ".store"): t for n, t in weights_of(model).items() if "knobs" not in n}
    for name, tensor in weights_of(plain).items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    model, table, _ = soft_model()
    read = []

    def seen(stepper, batch):
        read.append(batch.inputs.numeric)
        return loss(stepper, batch)

    loss = dnis.knob_loss
    monkeypatch.setattr(dnis, "knob_loss", seen)
    train(model, rows, None, settings, hook=AlphaHook(DNIS(epochs=2), table, rows, knobs, batch_size=50, seed=0))
    assert bool((table.alpha < 1).any())
    own = {float(price) for price in knobs.slice(0, knobs.rows).numeric[:, 0]}
    assert {float(price) for batch in read for price in batch[:, 0]} == own  # prices of rows are all different
    model, table, _ = soft_model()
    monkeypatch.setattr(AlphaHook, "before_update", lambda self, step, rate: None)
    train(model, rows, None, settings, hook=AlphaHook(DNIS(epochs=2), table, rows, knobs, batch_size=50, seed=0))
    assert torch.equal(table.alpha, torch.ones_like(table.alpha))


def test_rate_and_l1_reach_the_steps_of_alpha():
    rows, knobs = divided(clicks(300), 0.25, 0)
    assert knobs is not None
    falls = []
    for options in (DNIS(rate=0.001, l1=0.0), DNIS(rate=0.001, l1=3.0), DNIS(rate=0.002, l1=3.0)):
        model, table, _ = soft_model()
        hook = AlphaHook(options, table, rows, knobs, batch_size=50, seed=0)
        train(model, rows, None, TrainSettings(epochs=1, batch_size=50), hook=hook)
        falls.append(1 - float(table.alpha.detach().mean()))
    assert falls[1] == pytest.approx(falls[0] + 5 * 0.003, rel=0.1)  # five steps
    assert falls[2] == pytest.approx(2 * falls[1], rel=0.2)


def test_second_order_is_the_derivative_through_the_step_that_training_rows_take(monkeypatch):
    rows, knobs = divided(clicks(300), 0.25, 0)
    assert knobs is not None
    rate, found = 2.0, {}
    fresh, soft, _ = soft_model()
    soft.inner.store.reset(0.5)
    weights = {name: p.detach().clone() for name, p in fresh.named_parameters()}
    alpha = weights.pop("embedder.columns.table.knobs.alpha").requires_grad_()
    for order in ("first", "second"):
        model, table, _ = soft_model()
        model.load_state_dict(fresh.state_dict())
        hook = AlphaHook(DNIS(order=order), table, rows, knobs, batch_size=64, seed=0)

        def ends(_alpha, grad, order=order, **_):
            found[order] = grad
            raise Killed

        monkeypatch.setattr(dnis.bilevel, "move", ends)
        with pytest.raises(Killed):
            train(model, rows, None, TrainSettings(epochs=1, batch_size=64, learning_rate=rate), hook=hook)

    def loss(own, batch):
        held = {**own, "embedder.columns.table.knobs.alpha": alpha}
        logits = functional_call(fresh, held, (batch.inputs,)).logits
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.targets.labels)

    own = {name: weight.requires_grad_() for name, weight in weights.items()}
    steps = torch.autograd.grad(loss(own, hook.inner.batch(0)), list(own.values()), create_graph=True)
    after = {name: weight - rate * step for (name, weight), step in zip(own.items(), steps, strict=True)}
    exact = torch.autograd.grad(loss(after, hook.batches.batch(0)), alpha)[0]
    torch.testing.assert_close(found["second"], exact, rtol=1e-2, atol=1e-2 * float(exact.abs().max()))
    assert (found["first"] - exact).abs().max() > 10 * (found["second"] - exact).abs().max()


@pytest.mark.parametrize("update", ["table", "all"])
def test_the_network_stays_as_the_warm_start_left_it_unless_all_is_updated(tmp_path, monkeypatch, update):
    ends = []

    def noted(model, *rows, **how):
        result = train(model, *rows, **how)
        ends.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
        return result

    monkeypatch.setattr(dnis, "train", noted)
    search("dnis", planted(400), out=tmp_path / "plan.json", **SMALL, options={"epochs": 1, "update": update})
    moved = {name for name, tensor in ends[0].items() if not torch.equal(tensor, ends[1][name])}
    network = {name for name in ends[0] if name.startswith(("block", "head"))}
    assert network and any(name.startswith("embedder") and "store" in name for name in moved)
    assert moved & network == (network if update == "all" else set())


def test_negatives_are_drawn_for_alpha_as_they_are_for_the_weights(tmp_path, monkeypatch):
    shares, loss = [], dnis.knob_loss

    def noted(stepper, batch):
        shares.append(float(batch.targets.labels.mean()))
        return loss(stepper, batch)

    monkeypatch.setattr(dnis, "knob_loss", noted)
    for rate in (1.0, 0.1):
        asked = {**SMALL, "settings": SMALL["settings"] | {"negative_rate": rate, "batch_size": 1000}}
        search("dnis", planted(600), out=tmp_path / f"{rate}.json", **asked, options={"epochs": 1, "order": "second"})
    half = len(shares) // 2
    assert max(shares[:half]) < 0.6 and min(shares[half:]) > 0.8  # of its own batch, and of that of the weights' step


def test_a_cut_by_size_keeps_the_columns_that_are_large_in_the_plain_model(tmp_path, monkeypatch):
    def ends(model, *_, **__):
        weight = model.embedder.columns.table.store.weight.data
        weight.fill_(0.1)
        weight[:, [1, 3]] = -1.0  # sizes count, not signs

    monkeypatch.setattr(columns, "train", ends)
    plan = search("columns_size", planted(400), out=tmp_path / "plan.json", **SMALL)
    assert {block.columns for own in plan.parts[0].slots.values() for block in own} == {(1, 3)}


def test_rows_that_select_are_neither_those_of_alpha_nor_those_of_the_weights(tmp_path, monkeypatch):
    parts = []

    def ends(asked, *_):
        parts.extend((asked.train, asked.knobs, asked.valid))
        raise Killed

    monkeypatch.setattr(dnis, "_train", ends)
    rows = planted(1000).with_columns(price=pl.Series(np.arange(1000.0)))  # every row is told by its price
    with pytest.raises(Killed):
        search("dnis", rows, label="click", backbone="fm", out=tmp_path / "plan.json")
    found = [{float(x) for x in part.slice(0, part.rows).numeric[:, 0]} for part in parts]
    assert [len(prices) for prices in found] == [640, 160, 100]
    assert len(set.union(*found)) == 900  # the others are test rows


def test_a_whole_search_gives_alpha_the_rows_kept_apart_and_the_weights_the_others(tmp_path, monkeypatch):
    kept, read = [], {"alpha": set(), "weights": set()}
    real, loss, forward = dnis._train, dnis.knob_loss, Stepper._forward

    def prices(inputs):
        return {float(x) for x in inputs.numeric[:, 0]}

    def begins(asked, *given):
        kept.extend(prices(part.slice(0, part.rows)) for part in (asked.knobs, asked.train))
        return real(asked, *given)

    def of_alpha(stepper, batch):
        read["alpha"] |= prices(batch.inputs)
        return loss(stepper, batch)

    def of_weights(stepper, rows):
        read["weights"] |= prices(stepper.loader.batch(rows).inputs)
        return forward(stepper, rows)

    monkeypatch.setattr(dnis, "_train", begins)
    monkeypatch.setattr(dnis, "knob_loss", of_alpha)
    monkeypatch.setattr(Stepper, "_forward", of_weights)
    rows = planted(1000).with_columns(price=pl.Series(np.arange(1000.0)))  # every row is told by its price
    search("dnis", rows, label="click", backbone="fm", settings={"batch_size": 64, "epochs": 1},
           options={"epochs": 1}, out=tmp_path / "plan.json")  # fmt: skip
    assert [read["alpha"], read["weights"]] == kept and not kept[0] & kept[1]


def test_blocks_that_a_field_is_too_small_for_are_merged_and_said(tmp_path):
    heard = Heard()
    few = [planted(n, seed).with_columns(b=pl.col("a").str.tail(1).replace_strict(
        {str(i): str(i % 3) for i in range(10)})) for n, seed in ((400, 0), (200, 1))]  # fmt: skip
    search("dnis", few[0], out=tmp_path / "p.json", progress=heard,
           **{**SMALL, "valid": few[1], "options": {"epochs": 1, "group": "field"}})  # fmt: skip
    assert "'b' has 3 features for 5 blocks: 3 blocks are left" in heard.lines


# ---- padding and unseen ids


def subject_of(name):
    """Return a model with a soft layer over every slot (two blocks in long ones), and its subject; alpha is drawn."""
    spec = MODELS[name]()
    if not isinstance(spec.embed.table, Plain):
        pytest.skip("its table is none that dnis weighs")
    subject = Subject(MODELS[name], spec)
    if subject.model().embedder.columns is None:
        pytest.skip("it reads no vectors")
    bands = []
    for slot, rows in subject.layout.rows.items():
        half = FIRST + (rows - FIRST) // 2
        bands += [Band(slot, FIRST, half, len(bands)), Band(slot, half, rows, len(bands) + 1)]
    bands = [band for band in bands if band.last > band.first]
    table = Soft(blocks=tuple(SoftBlock(b.slot, b.first, b.last, b.row) for b in bands))
    model = subject.model(spec=msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=table)))
    layer = cast("SoftTable", model.embedder.columns.table)
    with torch.no_grad():
        layer.alpha.uniform_(0.2, 1.0)
    return subject, model, layer, [band for band in bands if band.slot in layer.inner.store.starts]


@pytest.mark.parametrize("name", ["deepfm", "din", "fgcnn", "finalmlp"])
def test_poisoned_padding_changes_neither_logits_nor_the_gradient_of_alpha(name):
    subject, model, layer, bands = subject_of(name)
    inputs, found = subject.inputs(16), []
    for poison in (0.0, 1e3):
        with torch.no_grad():
            for store in row_stores(model):
                store.weight[list(store.starts.values())] = poison
        logits = model(inputs).logits
        found.append((logits, torch.autograd.grad(logits.square().sum(), layer.alpha)[0]))
    torch.testing.assert_close(found[0], found[1])
    assert bool(found[0][1].any())
    store = layer.inner.store
    sizes = column_sizes(bands, store.weight.detach(), store.starts, layer.alpha.detach())
    with torch.no_grad():
        for start in store.starts.values():
            store.weight[start : start + FIRST] = float("nan")  # of no block: no column is larger for it
    assert torch.equal(column_sizes(bands, store.weight.detach(), store.starts, layer.alpha.detach()), sizes)


def test_a_row_of_unseen_ids_has_no_say_in_alpha_and_keeps_its_whole_vectors():
    subject, model, layer, _ = subject_of("deepfm")
    inputs = subject.inputs(8)
    inputs = type(inputs)(
        torch.full_like(inputs.ids, UNSEEN), inputs.numeric, {n: b.clamp(max=UNSEEN) for n, b in inputs.bags.items()},
        inputs.vectors, {n: type(h)(h.ids.clamp(max=UNSEEN), h.mask) for n, h in inputs.histories.items()},
        inputs.owner, inputs.domain,
    )  # fmt: skip
    logits = model(inputs).logits
    assert not torch.autograd.grad(logits.sum(), layer.alpha)[0].any()
    with torch.no_grad():
        layer.alpha.fill_(1.0)
    assert torch.equal(model(inputs).logits, logits)


# ---- the weights found


@pytest.mark.parametrize("name", MODELS)
def test_folded_into_a_table_of_its_size_the_model_is_the_one_with_alpha(name):
    subject, model, layer, bands = subject_of(name)
    dim = subject.spec.embed.dim
    columns = [tuple(range(n % 2, dim, 1 + n % 3)) if n != 1 else () for n in range(len(bands))]
    with torch.no_grad():
        for band, own in zip(bands, columns, strict=True):
            layer.alpha[band.row, [c for c in range(dim) if c not in own]] = 0.0
    blocks = tuple(MixedBlock(b.slot, b.first, b.last, own) for b, own in zip(bands, columns, strict=True))
    embed = msgspec.structs.replace(subject.spec.embed, table=Mixed(blocks=blocks))
    compact = subject.model(seed=1, spec=msgspec.structs.replace(subject.spec, embed=embed))
    inherit(compact, model, folded(layer, bands), layer.inner.store.starts)
    inputs = subject.inputs(16)
    torch.testing.assert_close(compact(inputs).logits, model(inputs).logits)
    stores = compact.embedder.columns.table.stores
    padding = sum(len(store.slots) * store.dim for store in stores)
    unseen = sum(dim for slot in layer.inner.store.starts)
    kept = sum((b.last - b.first) * len(own) for b, own in zip(bands, columns, strict=True))
    assert sum(store.weight.numel() for store in stores) == padding + unseen + kept


# ---- bad input


def test_what_cannot_be_searched_is_refused_before_the_warm_start(tmp_path):
    asked = {**SMALL, "out": tmp_path / "plan.json"}
    with pytest.raises(UsageError, match=r"hold 900 features, and of all fields together there are \d+"):
        search("dnis", planted(800), options={"blocks": (400, 500)}, **asked)
    assert not list(tmp_path.rglob("checkpoint"))
    with pytest.raises(DataError, match="row"):
        search("dnis", planted(800), **{**asked, "valid": planted(0), "out": tmp_path / "none.json"})


def test_a_search_that_diverges_stops_without_a_plan_and_leaves_alpha(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(dnis, "knob_gradients", lambda loss, knobs: moved.append(knobs[0]) or
                        tuple(torch.full_like(k, float("nan")) for k in knobs))  # fmt: skip
    with pytest.raises(DivergedError, match="the gradient of the selection layer is not finite"):
        search("dnis", planted(800), out=tmp_path / "plan.json", options={"epochs": 1}, **SMALL)
    assert not (tmp_path / "plan.json").exists()
    assert torch.equal(moved[0], torch.ones_like(moved[0]))


class Heard(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, text):
        self.lines.append(text)


def test_a_field_that_loses_all_columns_is_said_and_trains_as_zeros(tmp_path, monkeypatch):
    def of_a(bands, *_):
        return torch.tensor([[1.0 if band.slot == "a" else 0.0] * 4 for band in bands], dtype=torch.float64)

    monkeypatch.setattr(dnis, "column_sizes", of_a)
    heard, out = Heard(), tmp_path / "plan.json"
    search("dnis", planted(400), out=out, progress=heard, options={"epochs": 1, "share": 0.4}, **SMALL)
    assert f"'b' loses all columns: its {planted(400)['b'].n_unique()} features share zeros" in heard.lines
    run = fit(planted(400), valid=planted(200, 1), model="fm", options={"dim": 4}, schema=SCHEMA, plan=out, epochs=1,
              out=tmp_path / "run")  # fmt: skip
    table = load_artifact(run.path).model.embedder.columns.table
    ids = torch.arange(2, 50, dtype=torch.int32).unsqueeze(1)
    assert not table(ids, ("b",)).any() and table(ids, ("a",)).any()


def test_hashed_and_mapped_ids_are_one_block_and_the_others_are_cut_by_frequency(tmp_path):
    told = []

    class Noted(Quiet):
        def noted(self, text):
            told.append(text)

    hashed = Schema(fields=(Categorical("a", buckets=50), Categorical("b")), label=Label("click"))
    asked = {**SMALL, "options": DNIS(epochs=1), "progress": Noted()}
    plan = search("dnis", planted(1500), out=tmp_path / "hashed.json", **{**asked, "schema": hashed})
    assert len(plan.parts[-1].slots["a"]) == 1 < len(plan.parts[-1].slots["b"])
    maps = search(
        "graphhash", planted(1500), out=tmp_path / "maps.json",
        **{**SMALL, "options": {"left": "a", "right": "b", "maps": "left", "kind": "random", "rows": 30}},
    )  # fmt: skip
    plan = search("dnis", planted(1500), plan=maps, out=tmp_path / "mapped.json", **asked)
    assert len(plan.parts[-1].slots["a"]) == 1 < len(plan.parts[-1].slots["b"])
    assert sum("'a' is one block" in text for text in told) == 2
