import msgspec
import numpy as np
import polars as pl
import pytest

from clicksmith.datasets.ad_world import (
    AdWorldSettings,
    Communities,
    Domains,
    History,
    Ids,
    Lifetimes,
    Mixed,
    Noise,
    Numbers,
    Pair,
    Truth,
    Vectors,
    ad_world,
)
from clicksmith.datasets.ad_world.rows import BLOCK
from clicksmith.datasets.ad_world.truth import Tally
from clicksmith.datasets.dataset import Dataset
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.errors import UsageError
from clicksmith.schema import Schema

ROWS = 60_000
BARE = AdWorldSettings(
    ids=Ids(users=500, ads=100, categories=5, user_strength=0, ad_strength=0),
    history=None,
    communities=None,
    domains=None,
    vectors=None,
    numbers=None,
    pairs=(),
    mixed=None,
    noise=None,
)


def only(**parts) -> AdWorldSettings:
    return msgspec.structs.replace(BARE, **parts)


@pytest.fixture(scope="module")
def world():
    return ad_world(ROWS, seed=11, settings=AdWorldSettings(ids=Ids(users=2000, ads=400)))


@pytest.fixture(scope="module")
def log(world) -> pl.DataFrame:
    return pl.concat(list(world.frames())).with_columns(pl.Series("p", world.probabilities()))


def residual(log: pl.DataFrame) -> np.ndarray:
    """Clicks minus true probability, in units of the deviation they must have."""
    p = log["p"].to_numpy()
    return (log["click"].to_numpy() - p) / np.sqrt(p * (1 - p))


def test_true_probabilities_are_calibrated_everywhere(log):
    z = residual(log)
    order = np.argsort(log["p"].to_numpy())
    for piece in np.array_split(order, 20):
        assert abs(z[piece].sum() / np.sqrt(len(piece))) < 4.5
    assert abs(z.sum() / np.sqrt(len(z))) < 4.5


def test_reported_bayes_figures_equal_the_metrics_of_the_true_probabilities(world, log):
    from sklearn.metrics import log_loss, roc_auc_score

    click, p = log["click"].to_numpy(), log["p"].to_numpy()
    bayes = world.truth.bayes
    assert bayes["all"].auc == pytest.approx(roc_auc_score(click, p), abs=1e-6)
    assert bayes["all"].logloss == pytest.approx(log_loss(click, p), abs=1e-9)
    first, last = world.part("test")
    assert bayes["test"].auc == pytest.approx(roc_auc_score(click[first:last], p[first:last]), abs=1e-6)
    assert (bayes["test"].rows, bayes["all"].clicks) == (last - first, click.sum())


def test_no_other_score_beats_the_truth(world, log):
    from sklearn.metrics import roc_auc_score

    click = log["click"].to_numpy()
    r = np.random.default_rng(0)
    for noise in (0.2, 0.5, 1.0):
        score = np.log(log["p"].to_numpy()) + noise * r.standard_normal(ROWS)
        assert roc_auc_score(click, score) < world.truth.bayes["all"].auc


def test_the_click_rate_is_the_one_asked_for():
    for rate in (0.03, 0.2, 0.6):
        clicks = pl.concat(list(ad_world(40_000, seed=2, settings=AdWorldSettings(click_rate=rate)).frames()))["click"]
        assert clicks.mean() == pytest.approx(rate, abs=0.02)


def test_same_seed_same_rows_and_another_seed_other_rows():
    one, two, three = (ad_world(3000, seed=seed).frame() for seed in (5, 5, 6))
    assert one.equals(two)
    assert not one.equals(three)


def test_a_row_does_not_depend_on_how_many_are_made():
    long, short = (pl.concat(list(ad_world(n, seed=5).frames())) for n in (BLOCK + 500, 700))
    assert long.head(700).drop("time").equals(short.drop("time"))
    world = ad_world(BLOCK + 500, seed=5)
    parts = pl.concat([pl.concat(list(world.frames(part))) for part in ("train", "valid", "test")])
    assert parts.equals(long)


def groups_share(log: pl.DataFrame, names: list[str], bins: int = 0) -> float:
    """Chi-square per degree of freedom of clicks against the plain click rate over groups of rows."""
    if bins:
        keys = [pl.col(n).fill_null(-1e9).qcut(bins, allow_duplicates=True) for n in names]
    else:
        keys = [pl.col(n) for n in names]
    rate = log["click"].mean()
    table = log.group_by(keys).agg(pl.len().alias("n"), pl.col("click").sum()).filter(pl.col("n") >= 20)
    expected = table["n"] * rate
    return float((((table["click"] - expected) ** 2) / (expected * (1 - rate))).sum() / (table.height - 1))


def test_noise_fields_are_independent_of_the_label(world, log):
    for name in world.truth.noise_fields:
        found = groups_share(log, [name], 20 if name.startswith("noise_number") else 0)
        shuffled = [
            groups_share(log.with_columns(pl.col("click").shuffle(seed=i)), [name], 20 if "number" in name else 0)
            for i in range(12)
        ]
        spread = np.std(shuffled) + 1e-9
        assert found < np.mean(shuffled) + 6 * spread, name


def test_useful_fields_move_the_label(world, log):
    for name in world.truth.useful_fields:
        if name in log.columns and not name.startswith("pair_0") and not name.startswith("pair_1"):
            assert groups_share(log, [name], 20 if name.startswith("number") else 0) > 2, name


def test_memorised_and_factorised_pairs_speak_together_and_naive_ones_alone(world, log):
    kinds = {pair.kind: pair.fields for pair in world.truth.pairs}
    cells = {kind: groups_share(log, list(fields)) for kind, fields in kinds.items()}
    alone = {kind: max(groups_share(log, [name]) for name in fields) for kind, fields in kinds.items()}
    assert cells["memorised"] > 2
    assert cells["factorised"] > 2
    assert alone["naive"] > 3 * max(alone["memorised"], 1)


def test_a_naive_pair_has_no_interaction_and_a_factorised_one_has_its_rank():
    pairs = (Pair(kind="memorised"), Pair(kind="factorised", rank=3), Pair(kind="naive"))
    hidden = ad_world(10, seed=1, settings=only(pairs=pairs)).hidden
    logits = [p.cells if p.cells is not None else p.left @ p.right.T for p in hidden.pairs]
    centred = [x - x.mean(0) - x.mean(1, keepdims=True) + x.mean() for x in logits]
    assert np.linalg.matrix_rank(logits[1]) == 3
    assert np.abs(centred[2]).max() < 1e-12
    assert np.linalg.matrix_rank(centred[0]) > 30
    assert set(np.unique(logits[0])) == {-0.7, 0.7}


@pytest.mark.parametrize("kind", ["memorised", "factorised", "naive"])
def test_strength_is_the_deviation_that_a_pair_adds(kind):
    world = ad_world(50_000, seed=4, settings=only(pairs=(Pair(kind=kind, values=200, strength=0.9),)))
    logit = np.concatenate([block.logit for block in world.blocks()])
    assert logit.std() == pytest.approx(0.9, rel=0.15)


@pytest.mark.parametrize(
    ("part", "strength"),
    [
        ({"numbers": Numbers(useful=1, strength=0.7, missing=0.0)}, 0.7),
        ({"mixed": Mixed(values=400, useful=1.0, strength=0.7)}, 0.7),
        ({"vectors": Vectors(strength=0.7)}, 0.7),
        ({"history": History(strength=0.7)}, 0.7),
    ],
)
def test_strengths_are_what_they_say(part, strength):
    settings = only(**part, ids=Ids(users=3000, ads=1000, categories=20, zipf=0.5, user_strength=0, ad_strength=0))
    world = ad_world(40_000, seed=7, settings=settings)
    assert np.concatenate([block.logit for block in world.blocks()]).std() == pytest.approx(strength, rel=0.25)


def test_nothing_planted_means_nothing_to_find():
    bayes = ad_world(20_000, seed=1, settings=BARE).truth.bayes["all"]
    assert bayes.auc == 0.5
    assert bayes.logloss == pytest.approx(-0.2 * np.log(0.2) - 0.8 * np.log(0.8), abs=0.02)


@pytest.mark.parametrize(
    ("part", "silent"),
    [
        ({"numbers": Numbers(strength=0)}, {"number_0", "number_1", "number_2"}),
        ({"mixed": Mixed(strength=0)}, {"mixed_code_0"}),
        ({"domains": Domains(strength=0)}, {"domain", "style"}),
        ({"history": History(strength=0)}, {"past_ads", "category"}),
        ({"vectors": Vectors(strength=0)}, {"image"}),
    ],
)
def test_a_part_of_no_strength_is_told_as_noise(part, silent):
    part |= {"ids": Ids(users=500, ads=100, categories=5)}
    truth = ad_world(10, settings=only(**part)).truth
    assert silent <= set(truth.noise_fields) and {"user_id", "ad_id"} <= set(truth.useful_fields)
    strong = {name: p if name == "ids" else msgspec.structs.replace(p, strength=0.5) for name, p in part.items()}
    assert silent <= set(ad_world(10, settings=only(**strong)).truth.useful_fields)
    assert set(ad_world(10, settings=BARE).truth.useful_fields) == set()


def test_how_long_ads_live_does_not_depend_on_what_their_vectors_add_to_a_click():
    days = [
        ad_world(10, settings=only(vectors=Vectors(strength=strength), lifetimes=Lifetimes())).hidden.lifetime
        for strength in (0.0, 0.4)
    ]
    np.testing.assert_array_equal(*days)


def test_useless_values_of_a_mixed_field_add_nothing():
    world = ad_world(40_000, seed=3, settings=only(mixed=Mixed(values=50, useful=0.4)))
    useful = set(world.truth.useful_values["mixed_code_0"])
    logit = np.concatenate([block.logit for block in world.blocks()])
    value = pl.concat(list(world.frames()))["mixed_code_0"].to_numpy()
    plain = ~np.isin(value, list(useful))
    assert 5 < len(useful) < 40
    assert np.ptp(logit[plain]) == 0
    assert np.ptp(logit[~plain]) > 0.5


def test_frequent_values_can_be_the_useful_ones():
    world = ad_world(10, seed=3, settings=only(mixed=Mixed(values=50, useful=0.2, which="frequent")))
    assert world.truth.useful_values["mixed_code_0"] == tuple(range(10))


def test_domains_of_two_clusters_turn_the_sign_of_style():
    world = ad_world(60_000, seed=8, settings=only(domains=Domains(count=4, clusters=2, strength=1.2)))
    log = pl.concat(list(world.frames()))
    rates = log.group_by("domain", "style").agg(pl.col("click").mean()).sort("domain", "style")
    by_domain = rates["click"].to_numpy().reshape(4, -1)
    correlation = np.corrcoef(by_domain)
    clusters = np.array(world.truth.domain_clusters)
    for i in range(4):
        for j in range(i):
            assert (correlation[i, j] > 0.5) if clusters[i] == clusters[j] else (correlation[i, j] < -0.5)


def test_users_see_the_ads_of_their_community():
    settings = only(
        ids=Ids(users=1000, ads=400, categories=5, zipf=0.5), communities=Communities(count=8, inside=0.7, strength=0)
    )
    world = ad_world(30_000, seed=9, settings=settings)
    hidden = world.hidden_tables()
    log = pl.concat(list(world.frames()))
    log = log.join(hidden["users"].select("user_id", pl.col("community").alias("of_user")), on="user_id")
    log = log.join(hidden["ads"].select("ad_id", pl.col("community").alias("of_ad")), on="ad_id")
    same = (log["of_user"] == log["of_ad"]).mean()
    assert same == pytest.approx(0.7 + 0.3 / 8, abs=0.03)
    assert world.truth.communities == 8


def test_histories_show_the_interests_but_for_strays():
    settings = only(
        ids=Ids(users=800, ads=400, categories=20), history=History(shortest=30, longest=60, newest_empty=10)
    )
    world = ad_world(100, seed=2, settings=settings)
    users = world.users.join(world.hidden_tables()["users"], on="user_id").sort("user_id")
    inside, newest = [], []
    for past, likes in zip(users["past_categories"].to_list(), users["likes"].to_list(), strict=True):
        liked = np.isin(past, likes)
        inside.append(liked[:-10].mean())
        newest.append(liked[-10:].mean())
    assert np.mean(inside) == pytest.approx(0.8 + 0.2 * 3 / 20, abs=0.03)
    assert np.mean(newest) == pytest.approx(3 / 20, abs=0.05)
    lengths = users["past_ads"].list.len()
    assert (lengths.min(), lengths.max()) == (30, 60)
    assert (users["past_ads"].list.len() == users["past_gaps"].list.len()).all()


def test_clicks_follow_the_interests():
    world = ad_world(
        40_000, seed=2, settings=only(ids=Ids(users=800, ads=400, categories=20), history=History(strength=1.0))
    )
    log = pl.concat(list(world.frames())).join(world.hidden_tables()["users"], on="user_id")
    match = pl.col("category").is_in(pl.col("likes"))
    assert log.filter(match)["click"].mean() > 2 * log.filter(~match)["click"].mean()


def test_drift_turns_the_categories_from_the_first_row_to_the_last():
    world = ad_world(3 * BLOCK, seed=2, settings=only(drift=2.0))
    log = pl.concat(list(world.frames())).with_columns(pl.Series("p", world.probabilities()))
    third = log.height // 5
    rates = [
        piece.group_by("category").agg(pl.col("p").mean()).sort("category")["p"]
        for piece in (log[:third], log[-third:])
    ]
    assert np.corrcoef(rates)[0, 1] < -0.5


def test_lifetimes_have_two_kinds_and_are_censored():
    settings = only(
        ids=Ids(users=10, ads=4000, categories=5), vectors=Vectors(), lifetimes=Lifetimes(horizon=80, strength=0.3)
    )
    world = ad_world(10, seed=6, settings=settings)
    ads = world.ads.join(world.hidden_tables()["ads"], on="ad_id")
    assert ads["lifetime_days"].max() == 80
    assert (ads.filter(pl.col("stopped") == 0)["lifetime_days"] == 80).all()
    early, late = (ads.filter(pl.col("worn_out") == kind)["lifetime_days"].median() for kind in (False, True))
    assert early < 15 < 30 < late
    assert "lifetime_days" not in world.frame().columns


def test_numbers_are_missing_as_often_as_asked_and_popularity_is_zipf(world, log):
    for name in ("number_0", "number_1", "noise_number_0"):
        assert log[name].null_count() / ROWS == pytest.approx(0.1, abs=0.01)
    counts = log["user_id"].value_counts(sort=True)["count"].to_numpy()
    expected = ROWS * np.arange(1, 2001) ** -1.1 / (np.arange(1, 2001) ** -1.1).sum()
    assert counts[0] == pytest.approx(expected[0], rel=0.1)
    assert counts[9] == pytest.approx(expected[9], rel=0.2)


def test_a_written_world_is_the_same_rows_with_its_truth(tmp_path):
    world = ad_world(2000, seed=3, settings=AdWorldSettings(ids=Ids(users=200, ads=50)))
    folder = world.write(tmp_path / "world")
    for part in ("train", "valid", "test"):
        assert pl.read_parquet(folder / f"{part}.parquet").equals(pl.concat(list(world.frames(part))))
    truth = msgspec.json.decode((folder / "truth" / "truth.json").read_bytes(), type=Truth)
    assert truth == world.truth
    assert Schema.load(folder / "schema.json") == world.table_schema
    wide = world.write(tmp_path / "wide", wide=True)
    assert pl.read_parquet(wide / "test.parquet").equals(world.frame("test"))
    declared = Dataset.from_toml(wide / "world.toml")
    assert declared.name == "world" and declared.schema == world.schema
    assert all(declared.frame(part).equals(world.frame(part)) for part in ("train", "valid", "test"))


def test_a_written_world_replaces_nothing_but_a_world(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds what is no part of a synthetic log \(for example 'notes.txt'\)"):
        ad_world(100).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    for rows in (100, 200):
        assert pl.read_parquet(ad_world(rows).write(tmp_path / "world") / "train.parquet").height == 0.8 * rows
    (tmp_path / "world" / "run").mkdir()
    with pytest.raises(UsageError, match="for example 'run'"):
        ad_world(100).write(tmp_path / "world")
    assert (tmp_path / "world" / "run").exists()


def test_the_same_seed_gives_the_same_rows_on_every_processor(tmp_path):
    folder = ad_world(2000, seed=1).write(tmp_path / "world", form="csv", wide=True)
    known = "80f32d70d5e313dcdc877d72ba3e2396c25a0663477bed30901f6b061b30515e"
    assert open_source(folder / "train.csv").fingerprint() == known  # committed rows of the benchmark rest on it


def test_side_tables_and_the_wide_table_encode_to_the_same_rows(tmp_path):
    world = ad_world(500, seed=3, settings=AdWorldSettings(ids=Ids(users=40, ads=30)))
    narrow = world.write(tmp_path / "narrow")
    text = world.write(tmp_path / "text", form="csv", wide=True)
    wide = Encoder.fit(world.schema, world.frame("train"))
    sides = Encoder.fit(world.table_schema, narrow / "train.parquet", root=narrow)
    cells = Encoder.fit(world.schema, text / "train.csv")
    assert {s.name: s.rows for s in wide.layout.slots} == {s.name: s.rows for s in cells.layout.slots}
    assert sides.layout.histories[0].columns == wide.layout.histories[0].columns
    assert len(wide.encode(world.frame("test")).ids) == world.part("test")[1] - world.part("test")[0]


def test_the_tally_gives_half_a_point_for_ties():
    tally = Tally()
    tally.add(np.zeros(4), np.array([True, False, True, False]))
    assert tally.bayes().auc == 0.5
    assert tally.bayes().logloss == pytest.approx(np.log(2))


def test_impossible_worlds_are_refused():
    with pytest.raises(UsageError, match="rows is 0; an ad world needs at least 1"):
        ad_world(0)
    with pytest.raises(UsageError, match="seed is -1; it must be 0 or more"):
        ad_world(10, seed=-1)
    with pytest.raises(UsageError, match=r"click_rate is 1.0; it must lie between 0 and 1"):
        AdWorldSettings(click_rate=1.0)
    with pytest.raises(UsageError, match="10 ads are fewer than the categories or communities"):
        AdWorldSettings(ids=Ids(ads=10))
    with pytest.raises(UsageError, match="histories of 9 to 3 behaviours are impossible"):
        AdWorldSettings(history=History(shortest=9, longest=3))
    for parts, said in (
        ({"domains": Domains(clusters=6)}, "domains.clusters is 6; it must be between 1 and 4"),
        ({"history": History(strays=5)}, "history.strays is 5; it must be between 0 and 1"),
        ({"history": History(interests=0)}, "history.interests is 0; it must be at least 1"),
        ({"numbers": Numbers(missing=2)}, "numbers.missing is 2; it must be between 0 and 1"),
        ({"days": -3.0}, "days is -3.0; it must be at least 0"),
        ({"pairs": (Pair(kind="naive", values=0),)}, r"pairs\[0\].values is 0"),
        ({"noise": Noise(values=0)}, "noise.values is 0"),
        ({"ids": Ids(users=0)}, "ids.users is 0"),
    ):
        with pytest.raises(UsageError, match=said):
            AdWorldSettings(**parts)
    with pytest.raises(UsageError, match="lifetimes depend on the ads' vectors"):
        AdWorldSettings(vectors=None, lifetimes=Lifetimes())


def test_many_noise_fields_can_be_planted():
    world = ad_world(100, seed=1, settings=only(noise=Noise(fields=7, values=30)))
    assert [name for name in world.truth.noise_fields if name.startswith("noise_code")] == [
        f"noise_code_{i}" for i in range(7)
    ]
