"""LightGBM in the benchmark: features by the book, no label leaks, the same rows as other models get."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from world import SETTINGS, bench, make

from clicks import SCHEMA, clicks
from clicksmith.bench.results import read_results
from clicksmith.bench.settings import contestants, settings_for
from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.auc import auc_of
from clicksmith.evaluate.logloss import logloss
from clicksmith.evaluate.scored import scored
from clicksmith.schema import Schema
from clicksmith.train.progress import Silent
from clicksmith.trees import grow as growing
from clicksmith.trees.features import Features
from clicksmith.trees.grow import grow
from clicksmith.trees.spec import Trees, trees_memory

pytest.importorskip("lightgbm", reason="lightgbm is not installed")


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("trees")
    (folder / "schema.toml").write_text(SCHEMA)
    encoder = Encoder.fit(Schema.load(folder / "schema.toml"), clicks(1200, 1))
    return tuple(
        Store.of(encoder.encode(clicks(rows, seed), labels=True), encoder.layout)
        for rows, seed in ((1200, 1), (500, 2))
    )


def folds(store: Store) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, store.rows, np.uint8)


def test_features_are_those_of_loops_over_rows(stores):
    store, other = stores
    fold = folds(store)
    found = Features(store.layout, few=10, folds=3, prior=20.0)
    found.fit(store, fold)
    assert found.names == [
        "device", "user rows", "user rate", "ad rows", "ad rate", "seen_ads.seen_ads length",
        "seen_ads.seen_ads rate", "price",
    ]  # fmt: skip
    train, label = store.slice(0, store.rows), store.targets["labels"][:, 0]

    def rate(ids_of, id_, rows):
        mean = sum(label[j] for j in rows) / len(rows)
        seen = sum(list(ids_of(j)).count(id_) for j in rows)
        clicked = sum(list(ids_of(j)).count(id_) * label[j] for j in rows)
        return (clicked + 20 * mean) / (seen + 20)

    for rows, own in ((train, fold), (other.slice(0, other.rows), None)):
        table = found.table(rows, own)
        for i in (0, 7, 301):
            used = [j for j in range(store.rows) if own is None or fold[j] != fold[i]]
            user, history = rows.ids[i, 0], [x for x in rows.histories["seen_ads"][i, :, 0] if x]
            rates = [rate(lambda j: [x for x in train.histories["seen_ads"][j, :, 0] if x], x, used) for x in history]
            wanted = [
                rows.ids[i, 2], math.log1p((train.ids[:, 0] == user).sum()), 
                rate(lambda j: train.ids[j, :1], user, used),
                math.log1p((train.ids[:, 1] == rows.ids[i, 1]).sum()),
                rate(lambda j: train.ids[j, 1:2], rows.ids[i, 1], used),
                len(history), np.mean(rates) if rates else math.nan, rows.numeric[i, 0],
            ]  # fmt: skip
            np.testing.assert_allclose(table[i], wanted, rtol=1e-6)


def test_no_training_row_sees_its_own_label(stores):
    store, _ = stores
    rows, fold = store.slice(0, store.rows), folds(store)
    tables = []
    for flipped in (False, True):
        labels = rows.labels.copy()
        labels[5] = 1 - labels[5] if flipped else labels[5]
        changed = Store.of(
            type(rows)(**{n: getattr(rows, n) for n in rows.__slots__} | {"labels": labels}), store.layout
        )
        found = Features(store.layout, few=10, folds=3, prior=20.0)
        found.fit(changed, fold)
        tables.append(found.table(rows, fold))
    same = (tables[0] == tables[1]) | np.isnan(tables[0])
    assert same[fold == fold[5]].all()
    assert not same[fold != fold[5]].all()


def test_trees_find_what_is_planted_and_threads_change_nothing(stores):
    store, valid = stores
    small = Trees(leaves=8, rounds=60, every=5, patience=3, few=10, least_rows=10)
    asked = {"monitor": "auc", "progress": Silent()}
    one, two, again = (grow(small, store, valid, seed=3, threads=n, **asked) for n in (1, 2, 1))
    assert (one.score(valid) == two.score(valid)).all() and (one.score(valid) == again.score(valid)).all()
    labels = valid.targets["labels"][:, 0]
    auc = auc_of(scored(labels, logits=one.score(valid)))
    assert auc == pytest.approx(one.best["valid"]["auc"], abs=1e-6)  # the kept trees are those that validation chose
    loss = logloss(labels, logits=one.score(valid))
    assert loss == pytest.approx(one.best["valid"]["logloss"], abs=1e-6)
    truth = clicks(500, 2)
    ad, user = (truth[name].str.slice(1).cast(int).to_numpy() for name in ("ad", "user"))
    chance = 2.5 * (ad % 3 == 0) + 1.5 * (user % 2) + 0.5 * (truth["price"] > 20).to_numpy()
    assert auc > auc_of(scored(labels, logits=chance.astype(np.float32))) - 0.05
    assert one.reason == "patience" and one.history[-1]["step"] - one.best["step"] == 15
    rows = valid.slice(0, valid.rows)
    same = Store.of(replace(rows, labels=np.zeros_like(rows.labels)), valid.layout)
    with pytest.raises(DataError, match=r"all 500 validation labels are 0, so monitor='auc' is not defined"):
        grow(small, store, same, seed=3, threads=1, **asked)
    seeded = grow(small, store, valid, seed=4, threads=1, **asked)
    assert (seeded.score(valid) != one.score(valid)).any()


def test_lightgbm_is_a_model_of_the_benchmark(tmp_path, capsys):
    make(tmp_path)
    options = "\n[models.LightGBM]\nname = 'LightGBM'\noptions = { leaves = 8, rounds = 40, few = 10 }\n"
    (tmp_path / "settings.toml").write_text(SETTINGS + options)
    assert bench(tmp_path, models=["LightGBM", "LR"], jobs=1).failed == []
    results = read_results(tmp_path / "results")
    row = results.models("shop")["LightGBM"][0]
    assert row.configuration.spec["kind"] == "trees" and row.configuration.spec["leaves"] == 8
    assert row.configuration.settings == {"seed": 0, "device": "cpu", "monitor": "auc"}
    assert row.made_by.packages["lightgbm"] == sys.modules["lightgbm"].__version__
    assert row.done.cost.flops_per_row is None and row.done.cost.dense > 0 and row.done.test_evaluations == 1
    assert row.done.test.values["auc"].value > 0.6
    assert main(["bench", "table", f"{tmp_path}/results", "--pairs"]) == 0
    assert "LightGBM" in capsys.readouterr().out
    assert main(["bench", "page", f"{tmp_path}/results", "--out", f"{tmp_path}/site"]) == 0
    assert (tmp_path / "site" / "shop" / "LightGBM.html").exists()
    verify = ["bench", "verify", f"{tmp_path}/results", "--row", "shop/LightGBM/1", "--data", f"{tmp_path}/shop.toml"]
    assert main([*verify, "--cache", f"{tmp_path}/cache"]) == 0
    assert "every stored logit the same" in capsys.readouterr().out


def test_memory_grows_with_rows_and_large_slots_only(stores):
    layout = stores[0].layout
    ten = trees_memory(Trees(few=10), layout, 10) - trees_memory(Trees(few=10), layout, 0)
    assert ten == 10 * (2 * 8 + 64)
    assert trees_memory(Trees(few=10), layout, 0) > trees_memory(Trees(few=1000), layout, 0)


def test_what_is_missing_or_does_not_fit_is_said_before_anything_is_run(monkeypatch, tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("[models.X]\nname = 'LightGBM'\noptions = { leafs = 3 }\n")
    make(tmp_path)
    with pytest.raises(UsageError, match=r"settings of X: LightGBM: no option named 'leafs'. Did you mean 'leaves'"):
        bench(tmp_path, settings=str(path))
    path.write_text("[models.X]\nname = 'LightGBM'\noptions = { row_share = 1.5 }\n")
    with pytest.raises(UsageError, match=r"trees: row_share is 1.5; at most 1 is needed"):
        bench(tmp_path, settings=str(path))

    def missing(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(growing, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'clicksmith\[baselines\]'"):
        contestants(settings_for("frappe_x1"), ["LightGBM"])
