import numpy as np
import polars as pl
import pytest

from clicksmith.embed.embedder import Embed
from clicksmith.evaluate.auc import auc
from clicksmith.fields.senet import SENet
from clicksmith.fitting.asked import only_products, settings_for
from clicksmith.fitting.job import fit
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.copies import PerDomain
from clicksmith.interact.fm import FM, BiInteraction
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models import MODELS
from clicksmith.models.dnn import dnn
from clicksmith.models.fm import fm
from clicksmith.models.spec import ModelSpec
from clicksmith.train.defaults import default_settings

SIZES = [0, 1, 10, 10_000, 202_027, 1_000_000, 33_000_000, 10**9]


@pytest.mark.parametrize("rows", SIZES)
def test_larger_data_take_larger_batches_fewer_epochs_and_less_l2(rows):
    here, more = default_settings(rows), default_settings(4 * rows + 1)
    assert here.batch_size <= more.batch_size
    assert here.epochs >= more.epochs
    assert here.table_l2 >= more.table_l2
    assert default_settings(rows, products=True).table_l2 <= here.table_l2


@pytest.mark.parametrize("rows", SIZES)
def test_fit_starts_from_these_settings_and_keeps_what_the_user_names(rows):
    assert settings_for(None, rows, dnn(), epochs=None, seed=None) == default_settings(rows)
    assert settings_for(None, rows, fm(), epochs=None, seed=None) == default_settings(rows, products=True)
    named = settings_for({"table_l2": 0.0, "batch_size": 7}, rows, dnn(), epochs=2, seed=3)
    assert (named.table_l2, named.batch_size, named.epochs, named.seed) == (0.0, 7, 2, 3)


def test_models_of_products_alone_are_known():
    products = {name for name, function in MODELS.items() if name != "lightgbm" and only_products(function())}
    assert products == {"lr", "fm", "ffm", "fwfm", "afm", "hfm", "hofm", "fmfm", "lorentzfm", "hashed_lr"}


class Deep(FM, frozen=True):
    """Extends FM by what it does not say."""


@pytest.mark.parametrize(
    ("block", "products"),
    [
        (Stacked(first=FM()), True),
        (Parallel(blocks=(FirstOrder(), Stacked(first=BiInteraction()))), True),
        (PerDomain(block=FM()), True),
        (Stacked(first=BiInteraction(), then=(MLP(),)), False),
        (Parallel(blocks=(FM(), Stacked())), False),
        (Deep(), False),
    ],
)
def test_a_block_says_for_itself_whether_it_only_multiplies(block, products):
    assert only_products(ModelSpec(embed=Embed(), interact=block)) == products
    assert not only_products(ModelSpec(embed=Embed(), interact=block, transforms=(SENet(),)))


@pytest.mark.parametrize("model", ["fm", "dnn"])
def test_the_settings_that_nobody_asked_for_learn_a_product(model, tmp_path):
    """A click depends on user x item alone: L2 that suits the dense layers leaves nothing of an FM's vectors."""
    random = np.random.default_rng(0)
    users, items = random.normal(size=(60, 2)), random.normal(size=(60, 2))
    pairs = random.integers(0, 60, (30_000, 2))
    logits = 1.5 * (users[pairs[:, 0]] * items[pairs[:, 1]]).sum(1)
    clicks = (random.random(30_000) < 1 / (1 + np.exp(-logits))).astype(int)
    rows = pl.DataFrame({"user": pairs[:, 0].astype(str), "item": pairs[:, 1].astype(str), "click": clicks})
    test = rows[25_000:]
    run = fit(rows[:20_000], valid=rows[20_000:25_000], label="click", model=model, out=tmp_path / "run")
    reached = auc(test["click"].to_numpy(), run.predictor().predict(test.drop("click")))
    assert reached > auc(clicks[25_000:], logits[25_000:]) - 0.02
