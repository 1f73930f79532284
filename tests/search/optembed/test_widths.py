"""Drawn widths, chosen widths against the compact table for every backbone, and the scores of many candidates."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from ranked_world import ranked
from scipy.stats import chisquare
from torch import nn

from backbones import WITH_VECTORS
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.rows import row_stores
from clicksmith.embed.sockets import TableShape
from clicksmith.encode.store import Store
from clicksmith.errors import DivergedError, UsageError
from clicksmith.kernels.layers import Linear
from clicksmith.kernels.settled import Settling
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.search.optembed import method
from clicksmith.search.optembed.method import search_optembed
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.price import pricing
from clicksmith.search.optembed.score import Scorer, chosen, judging
from clicksmith.search.optembed.supernet import supernet
from clicksmith.search.optembed.widths import Sampled, grid
from clicksmith.testing.layouts import LAYOUTS, random_batch
from clicksmith.testing.subject import Subject, require_close
from clicksmith.train.rows import row_optimizers
from clicksmith.train.settings import TrainSettings

SHAPE = TableShape((("a", 30), ("b", 20)), 8)


def table(widths=()):
    module = Sampled(widths=widths).build(SHAPE)
    module.inner.store.reset(1.0)
    return module.train()


def test_widths_are_prefixes_drawn_uniformly_for_each_row_and_vocabulary():
    module = table()
    masks = module.masks(torch.full((20_000, 2), 5, dtype=torch.int32), ("a", "b")).long()
    assert (masks.diff(dim=-1) <= 0).all()
    width = masks.sum(-1)
    assert width.min() == 1
    for c in range(2):
        assert chisquare(torch.bincount(width[:, c], minlength=9)[1:].numpy()).pvalue > 1e-3
        share = masks[:, c].double().mean(0).tolist()  # column j is trained with chance (d - j) / d
        assert share == pytest.approx([(8 - j) / 8 for j in range(8)], abs=0.02)
    assert abs(np.corrcoef(width.T.numpy())[0, 1]) < 0.03
    assert (width[1:] != width[:-1]).any()


def test_fields_and_positions_of_one_vocabulary_share_a_rows_draw():
    masks = table().masks(torch.full((50, 7, 3), 5, dtype=torch.int32), ("a", "b", "a")).long()
    width = masks.sum(-1).expand(50, 7, 3)
    assert torch.equal(width[..., 0], width[..., 2])
    assert (width == width[:, :1]).all()


def test_unseen_and_padding_are_whole_and_evaluation_is_full_width():
    module = table((2, 4))
    ids = torch.tensor([[0, 1], [1, 0], [5, 6]], dtype=torch.int32)
    whole = module.inner(ids, ("a", "b"))
    out = module(ids, ("a", "b"))
    assert torch.equal(out[:2], whole[:2])
    assert (out[2, :, 4:] == 0).all() and torch.equal(out[2, :, :2], whole[2, :, :2])
    assert torch.equal(module.eval()(ids, ("a", "b")), whole)
    module.choose({"a": 4, "b": 2})
    assert [(row != 0).sum().item() for row in module(ids, ("a", "b"))[2]] == [4, 2]


def test_impossible_widths_are_refused():
    for widths in ((0, 2), (4, 2), (2, 9)):
        with pytest.raises(UsageError, match=r"must rise, from 1 to at most the embedding's dim 8"):
            grid(widths, 8)
    with pytest.raises(UsageError, match=r"dim is 1; .* must be 2 or more"):
        grid((), 1)


def both(name, layout=LAYOUTS["everything"]):
    """Return a model whose vectors are masked to widths, and one that stores them at their size, equal weights."""
    spec = MODELS[name]()
    dim = spec.embed.dim
    widths = {slot.name: 1 + (3 * i + 1) % dim for i, slot in enumerate(layout.slots)}
    blocks = tuple(
        MixedBlock(s.name, 2, s.rows, tuple(range(widths[s.name]))) for s in layout.slots if widths[s.name] < dim
    )
    embed = msgspec.structs.replace(spec.embed, table=Sampled())
    masked = Subject(MODELS[name], spec, layout).model(spec=msgspec.structs.replace(spec, embed=embed))
    embed = msgspec.structs.replace(spec.embed, table=Mixed(blocks=blocks))
    compact = Subject(MODELS[name], spec, layout).model(spec=msgspec.structs.replace(spec, embed=embed))
    masked.embedder.columns.table.choose({slot: widths[slot] for slot in masked.embedder.columns.table.slots})
    state = {k: v for k, v in masked.state_dict().items() if "columns.table" not in k or "views" in k}
    compact.load_state_dict(state, strict=False)
    source, target = masked.embedder.columns.table.inner.store, compact.embedder.columns.table
    target.fill(source.weight, source.starts)
    return masked, compact


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_masked_equals_compact_with_every_backbone(name):
    models = both(name)
    inputs = random_batch(LAYOUTS["everything"], 16).inputs
    require_close(models[1](inputs).logits, models[0](inputs).logits, "widths")


def test_masked_and_compact_train_alike():
    masked, compact = both("fm", LAYOUTS["history"])
    batches = [random_batch(LAYOUTS["history"], 32, seed=i) for i in range(50)]
    for model in (masked, compact):
        optimizer = row_optimizers(model, update="dense")
        for batch in batches:
            nn.functional.binary_cross_entropy_with_logits(model(batch.inputs).logits, batch.targets.labels).backward()
            optimizer.step(1e-2)
        optimizer.detach()
    require_close(compact(batches[0].inputs).logits, masked(batches[0].inputs).logits, "after 50 steps")


@pytest.mark.parametrize("name", ["fm", "fgcnn", "afn_plus"])
def test_the_price_is_what_the_compact_model_holds(name):
    masked, compact = both(name)
    kept = {slot.name: np.ones(slot.rows, bool) for slot in LAYOUTS["everything"].slots}
    module = masked.embedder.columns.table
    priced = pricing(masked, kept, module)(tuple(module.chosen.tolist()))
    assert priced == sum(store.weight.numel() for store in row_stores(compact))


TRAIN, SELECT = ranked(3000, 1), ranked(1500, 2)


def scorer(name, **options):
    spec = supernet(model_spec(name, dim=8, **options), OptEmbed(), TRAIN.layout)
    spec = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=None))
    torch.manual_seed(0)
    model = CTRModel(spec, TRAIN.layout)
    for store in row_stores(model):
        store.reset(0.5)
    module = model.embedder.columns.table
    return Scorer(model, module, TRAIN, SELECT, norm_rows=1000, metric="auc", seed=0), model, module


def test_many_candidates_score_as_one_by_one_each_with_statistics_of_its_own():
    score, _, module = scorer("dnn", units=(8, 4))
    candidates = [{slot: 1 + (i + j) % 8 for j, slot in enumerate(module.slots)} for i in (0, 3, 5)]
    rows = chosen(SELECT.rows, 1200, 0)
    assert len(rows) == len(set(rows)) == 1200
    together = score(candidates, rows)
    assert together == [score([one], rows)[0] for one in candidates]
    assert len(set(together)) == 3


def test_a_candidate_is_scored_with_the_statistics_of_its_own_products_over_all_batches(monkeypatch):
    monkeypatch.setattr("clicksmith.search.optembed.score.BATCH", 250)  # four batches of training rows
    score, model, module = scorer("dnn", units=(8, 4))
    linear = next(m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 8)
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    seen = []

    def look(_module, _inputs, out):
        seen.append((norm.training, out.detach(), norm.running_mean.clone(), norm.running_var.clone()))

    linear.register_forward_hook(look)
    score([{slot: 1 + j % 8 for j, slot in enumerate(module.slots)}], np.arange(500))
    assert [training for training, *_ in seen] == [True] * 4 + [False] * 2
    products = torch.stack([out for training, out, *_ in seen if training])
    for _, _, mean, variance in seen[4:]:
        assert torch.allclose(mean, products.flatten(0, 1).mean(0), atol=1e-6)
        assert torch.allclose(variance, products.var(1).mean(0), atol=1e-5)


def test_scoring_leaves_the_supernet_as_it_was():
    score, model, module = scorer("dnn", units=(8, 4))
    norms = [m for m in model.train().modules() if isinstance(m, nn.BatchNorm1d)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    score([dict.fromkeys(module.slots, width) for width in (2, 8)], np.arange(500))
    assert norms and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and all(norm.training and norm.momentum == 0.1 for norm in norms)
    assert module.chosen is None


@pytest.mark.parametrize("name", ["fm", "deepfm", "dcnv2"])
def test_scores_in_bfloat16_are_near_those_in_float32(name):
    score, _, module = scorer(name)
    candidates = [{slot: 1 + (i + j) % 8 for j, slot in enumerate(module.slots)} for i in range(8)]
    seen = set()
    module.register_forward_hook(lambda _m, _i, out: seen.add(out.dtype))
    exact = score(candidates, np.arange(1500))
    assert seen == {torch.float32}
    score.low = True
    rounded = score(candidates, np.arange(1500))
    assert seen == {torch.float32, torch.bfloat16}
    assert rounded == pytest.approx(exact, abs=0.1 * float(np.ptp(exact)))


@pytest.mark.parametrize("fast", [True, False])
def test_candidates_are_scored_in_bfloat16_where_training_may_use_it_and_it_is_fast(monkeypatch, fast):
    monkeypatch.setattr(method, "bf16_is_native", lambda _: fast)
    asked = []
    real = Scorer.__init__

    def spied(self, *args, **options):
        asked.append(options["low"])
        real(self, *args, **options)

    monkeypatch.setattr(Scorer, "__init__", spied)
    for precision in ("fp32", "bf16", "auto"):
        settings = TrainSettings(epochs=1, batch_size=512, precision=precision, device="cpu")
        options = OptEmbed(generations=1, warm_epochs=0, score_rows=500)
        search_optembed(model_spec("fm", dim=4), TRAIN, None, SELECT, settings, options)
    assert asked == [False, fast, fast]


def test_a_loss_that_is_not_finite_is_told():
    score, model, _ = scorer("fm")
    score.metric = "logloss"
    with torch.no_grad():
        next(iter(row_stores(model))).weight.fill_(float("inf"))
    with pytest.raises(DivergedError, match="log-loss of a candidate is"):
        score([None], np.arange(500))


@pytest.mark.parametrize(("asked", "given"), [(None, None), (1, 1), (2, 2), (3, 2), (10, 5)])
def test_the_supernet_has_half_the_patience_of_the_plain_model(monkeypatch, asked, given):
    found = []

    def train(_model, _rows, _stop, settings, **_):
        found.append(settings.patience)
        raise DivergedError("seen")

    monkeypatch.setattr(method, "train_model", train)
    settings = TrainSettings(epochs=1, patience=asked, device="cpu")
    with pytest.raises(DivergedError):
        search_optembed(model_spec("fm", dim=4), TRAIN, SELECT, SELECT, settings, OptEmbed())
    assert found == [given]


def test_rows_count_by_their_weights():
    score, _, _ = scorer("fm")
    many = Store.of(replace(SELECT.slice(0, 1500), weight=np.repeat([2.0, 1.0], 750).astype(np.float32)), SELECT.layout)
    twice = np.concatenate([np.arange(750), np.arange(1500)])
    for metric in ("auc", "logloss"):
        score.metric = metric
        score.select = SELECT
        (repeated,) = score([None], twice)
        score.select = many
        assert score([None], np.arange(1500)) == [pytest.approx(repeated, abs=1e-9)]


def test_where_clicks_are_rare_more_rows_judge():
    labels = np.zeros((50_000, 2), np.float32)
    labels[::2, 0] = labels[::500, 1] = 1
    assert len(judging(labels[:, :1], 10_000, 0)) == 10_000
    rows = judging(labels, 10_000, 0)
    assert len(rows) == 50_000  # of 20,000 and 40,000 rows some 40 and 80 are clicks of the rare kind
    assert len(judging(labels, 1000, 0)) in (8000, 16_000)  # ten are wanted
    assert len(judging(labels[:, :1], 1, 0)) <= 16
    assert len(judging(np.zeros((300, 1), np.float32), 100, 0)) == 300


def test_products_packed_for_scoring_change_no_score_and_are_forgotten(monkeypatch):
    score, model, module = scorer("dcnv2", units=(32, 16))
    score.metric = "logloss"
    candidates = [{slot: 1 + (i + j) % 8 for j, slot in enumerate(module.slots)} for i in (0, 3)]
    packed = score(candidates, np.arange(900))
    assert all(m.kept is None for m in model.modules() if isinstance(m, Settling))
    monkeypatch.setattr(Linear, "settle", lambda _: None)
    assert packed == pytest.approx(score(candidates, np.arange(900)), abs=1e-6)
