"""GraphHash from encoded rows to a fitted model: a planted graph, every kind of map, and what is refused."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from clicksmith.datasets.blocks import planted_blocks
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.fitting.job import fit
from clicksmith.graph.maps import CLUSTERED, GraphHash, Kind, graph_hash
from clicksmith.plan import FoundBy, IdMap, IdMaps, KeptFeatures, Plan
from clicksmith.plan.apply import apply_plan, numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.merge import merge
from clicksmith.schema import Categorical, Label, Numeric, Schema
from clicksmith.serve.artifact import load as load_artifact
from clicksmith.serve.predictor import load

KINDS: tuple[Kind, ...] = Kind.__args__
SCHEMA = Schema(fields=(Categorical("user"), Categorical("item"), Numeric("price")), label=Label("click"))
ROWS, BLOCKS = 24_000, 8


def rows_of(seed: int) -> pl.DataFrame:
    """Draw rows: communities differ in their click rate, and a click is likely where user and item are of one."""
    drawn = planted_blocks(800, 300, BLOCKS, ROWS, inside=0.5, power=0.3, seed=7 if seed < 2 else seed)
    rng = np.random.default_rng(seed)
    together = drawn.left_blocks[drawn.left] == drawn.right_blocks[drawn.right]
    own = np.random.default_rng(5).normal(0, 1.5, (2, BLOCKS))
    logits = own[0][drawn.left_blocks[drawn.left]] + own[1][drawn.right_blocks[drawn.right]] + 3 * together - 2
    click = rng.random(ROWS) < 1 / (1 + np.exp(-logits))
    columns = {"user": drawn.left, "item": drawn.right, "price": rng.random(ROWS), "click": click.astype(int)}
    return pl.DataFrame(columns).with_columns(
        pl.format("u{}", "user").alias("user"), pl.format("i{}", "item").alias("item")
    )


TABLE = rows_of(0)
TRAIN, VALID, TEST = TABLE[: ROWS // 2], TABLE[ROWS // 2 : 3 * ROWS // 4], TABLE[3 * ROWS // 4 :]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    return Encoder.fit_encode(SCHEMA, TRAIN, tmp_path_factory.mktemp("rows") / "train")


def plan_of(encoded, seed=0, **options) -> Plan:
    return Plan(parts=(graph_hash(*encoded, GraphHash(left="user", right="item", **options), seed=seed),))


@pytest.mark.parametrize("kind", KINDS)
def test_every_map_has_exactly_the_rows_asked(encoded, kind):
    (part,) = plan_of(encoded, kind=kind, rows=60).parts
    for slot in ("user", "item"):
        one, ids = part.slots[slot], encoded[0].layout.rows[slot]
        assert one.rows == 62 and len(one.ids) == ids
        used = {*one.ids.values.tolist(), *([] if one.second is None else one.second.values.tolist())}
        assert used == set(range(62))
        assert one.ids.values[:FIRST].tolist() == [0, 1] and one.ids.values[FIRST:].min() >= FIRST
    (shares,) = plan_of(encoded, kind=kind, rows=0.25).parts
    assert shares.slots["user"].rows == 2 + round((encoded[0].layout.rows["user"] - 2) / 4)


def test_the_same_seed_gives_the_same_bytes_and_it_is_saved_whole(encoded, tmp_path):
    one, two, other = (plan_of(encoded, seed=s, kind="double_graph", rows=40) for s in (1, 1, 2))
    assert one.digest == two.digest != other.digest
    one.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == one
    told = one.parts[0].found_by
    assert told.method == "graphhash" and told.settings["kind"] == "double_graph" and told.data["train"]
    assert told.scores["rows.user"] == 40 and 0 < told.scores["modularity.user"] < 1


def test_the_paper_form_has_as_many_rows_as_clusters(encoded):
    (part,) = plan_of(encoded, rows=None, resolution=1.0, edges="all").parts
    assert part.slots["item"].rows <= 2 + 2 * BLOCKS
    assert part.found_by.scores["clusters.user"] == part.slots["user"].rows - 2


def test_a_damaged_map_is_refused(encoded, tmp_path):
    plan = plan_of(encoded, kind="random", rows=60)
    plan.save(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    at = text.index('"base64": "') + 200
    (tmp_path / "plan.json").write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    with pytest.raises(ArtifactError, match="damaged"):
        Plan.load(tmp_path / "plan.json")


def test_one_side_against_the_rest_needs_no_right_field(encoded):
    part = graph_hash(*encoded, GraphHash(left="item", rows=30))
    assert list(part.slots) == ["item"] and part.slots["item"].rows == 32
    left = graph_hash(*encoded, GraphHash(left="item", right="user", maps="left", rows=30))
    assert left.slots == part.slots  # the rest is the user alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 5000}, "field 'user': a map to 5,000 rows for .* ids: with as many rows as ids no map is needed"),
        ({"rows": 1.5}, "rows is 1.5; give a share of the ids below 1, or a whole number from 2"),
        ({"rows": None}, "rows is not given, and graph without a resolution"),
        ({"rows": None, "kind": "random", "resolution": 1.0}, "rows is not given, and random"),
        ({"rows": None, "kind": "hybrid", "resolution": 1.0}, "rows is not given, and hybrid"),
        ({"resolution": -1.0}, "the resolution is -1.0; it must be above 0"),
        ({"kind": "quotient", "rows": 10}, "field 'user': 10 rows cannot tell"),
        ({"smoothing": 0.0}, "smoothing is 0.0"),
    ],
)
def test_what_cannot_be_is_refused(encoded, options, message):
    with pytest.raises(UsageError, match=message):
        plan_of(encoded, **options)


def test_rows_of_other_training_data_are_refused_by_name(encoded):
    plan = plan_of(encoded, kind="random", rows=60)
    with pytest.raises(UsageError, match="another numbering of 'user'"):
        apply_plan(plan, Encoder.fit(SCHEMA, VALID))


@pytest.fixture(scope="module")
def auc(encoded, tmp_path_factory):
    """Fit FM under a Plan, and return its test AUC; run folders are kept by name."""
    home = tmp_path_factory.mktemp("runs")

    def measured(name, plan=()):
        run = fit(
            TRAIN, valid=VALID, test=TEST, schema=SCHEMA, model="fm", options={"dim": 8}, plan=plan, out=home / name,
            settings={"epochs": 3, "batch_size": 256, "learning_rate": 0.02}, cache=home / "cache",
        )  # fmt: skip
        return run.metrics["test"]["auc"], run

    return measured


def test_shared_communities_beat_shared_rows_by_chance(encoded, auc):
    graph, _ = auc("graph", plan_of(encoded, rows=40))
    chance, _ = auc("random", plan_of(encoded, kind="random", rows=40))
    assert graph > chance + 0.1


def test_a_graph_whose_edges_were_shuffled_is_worth_no_more_than_chance(encoded, auc, tmp_path):
    """Users and items keep their clicks; who met whom is drawn anew. The numbering stays, so that fit takes the map."""
    random = np.random.default_rng(0)
    order = np.arange(TRAIN.height)
    for click in (0, 1):
        rows = np.flatnonzero(TRAIN["click"].to_numpy() == click)
        order[rows] = random.permutation(rows)
    shuffled = Encoder.fit_encode(SCHEMA, TRAIN.with_columns(item=TRAIN["item"][order]), tmp_path / "rows")
    graph, _ = auc("graph of 40", plan_of(encoded, rows=40))
    nothing = [auc(f"shuffled {s}", plan_of(shuffled, rows=40, seed=s))[0] for s in range(3)]
    chance = [auc(f"chance {s}", plan_of(encoded, kind="random", rows=40, seed=s))[0] for s in range(3)]
    error = np.sqrt((np.var(nothing, ddof=1) + np.var(chance, ddof=1)) / 3)
    print(nothing, chance, error, graph)
    assert np.mean(nothing) - np.mean(chance) < 3 * error + 0.01, (nothing, chance, graph)
    assert graph > np.mean(chance) + 0.1


@pytest.mark.parametrize("kind", ["hybrid", "double_graph"])
def test_raw_rows_are_scored_as_training_saw_them(encoded, auc, kind):
    plan = plan_of(encoded, kind=kind, rows=70)
    run = auc(kind, plan)[1]
    artifact = load_artifact(run.path)
    tables = [len(p) for name, p in artifact.model.named_parameters() if name.endswith("store.weight")]
    assert tables and set(tables) == {72 * 2}
    before, after = encoded[0].encode(TEST).ids, artifact.encoder.encode(TEST).ids
    for c, slot in enumerate(("user", "item")):
        one = plan.parts[0].slots[slot]
        np.testing.assert_array_equal(one.ids.values[before[:, c]] if one.second is None else before[:, c], after[:, c])
    unknown = load(run.path).predict(pl.DataFrame({"user": ["new"], "item": ["new"], "price": [0.1]}))
    assert np.isfinite(unknown).all()


def test_each_to_its_own_row_is_no_map_at_all(encoded, auc):
    users = encoded[0].layout.rows["user"]
    same = IdMaps(
        slots={"user": IdMap(rows=users, ids=Array(np.arange(users, dtype=np.int32)))},
        numbering={"user": numbering(encoded[0])["user"]},
        found_by=FoundBy(method="test"),
    )
    one, two = auc("identity", Plan(parts=(same,)))[1], auc("plain")[1]
    rows = TEST.head(50)
    np.testing.assert_array_equal(load(one.path).predict(rows), load(two.path).predict(rows))


@pytest.mark.parametrize("dropped_to", ["zero", "unseen"])
def test_features_may_be_dropped_beside_a_map_to_two_rows(encoded, dropped_to):
    (double,) = plan_of(encoded, kind="double", rows=60).parts
    users = encoded[0].layout.rows["user"]
    kept = np.arange(users) % 3 != 2
    kept[:FIRST] = True
    found_by, at = FoundBy(method="test"), {"user": numbering(encoded[0])["user"]}
    mask = KeptFeatures(slots={"user": Array(kept)}, dropped_to=dropped_to, numbering=at, found_by=found_by)
    applied = apply_plan(merge(Plan(parts=(mask,)), Plan(parts=(double,))), encoded[0])
    before, after = encoded[0].encode(TEST).ids[:, 0], applied.encoder.encode(TEST).ids[:, 0]
    one, there = applied.doubles["user"], kept[before]
    assert len(one.ids) == applied.encoder.layout.rows["user"] == kept.sum()
    for old, new in ((double.slots["user"].ids, one.ids), (double.slots["user"].second, one.second)):
        np.testing.assert_array_equal(new.values[after[there]], old.values[before[there]])
    assert set(after[~there]) == {-1 if dropped_to == "zero" else 1}


def test_it_needs_no_torch():
    code = "import sys; import clicksmith.graph.maps; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hashes_need_no_clustering_library(encoded, monkeypatch):
    from clicksmith.graph import cluster

    monkeypatch.setitem(cluster.MODULES, "scikit-network", "sknetwork_that_is_not_there")
    plan_of(encoded, kind="rate", rows=30)
    for kind in CLUSTERED:
        with pytest.raises(UsageError, match="needs scikit-network, which is not installed"):
            plan_of(encoded, kind=kind, rows=30)


@pytest.mark.parametrize("kind", ["random", "modulo", "frequency", "double", "double_frequency", "quotient", "rate"])
def test_maps_that_need_no_graph_take_one_id_field_and_rows_in_which_nothing_meets(kind):
    rows = pl.DataFrame({"user": [f"u{i % 50}" for i in range(400)], "click": [int(i % 7 == 0) for i in range(400)]})
    schema = Schema(fields=(Categorical("user"),), label=Label("click"))
    with tempfile.TemporaryDirectory() as folder:
        encoder, store = Encoder.fit_encode(schema, rows, Path(folder) / "rows")
        part = graph_hash(encoder, store, GraphHash(left="user", kind=kind, rows=20))
        assert part.slots["user"].rows == 20 + FIRST and "edges" not in part.found_by.scores
        with pytest.raises(UsageError, match="'user' is the only id field; a graph needs ids to meet"):
            graph_hash(encoder, store, GraphHash(left="user", rows=10))


def test_rows_without_a_user_are_no_community():
    """Half the users are missing: what is left of the graph is found as well as without these rows."""
    drawn = planted_blocks(400, 200, BLOCKS, 20_000, inside=0.7, power=0.3, seed=3)
    rows = pl.DataFrame({"user": drawn.left, "item": drawn.right, "click": 1}).with_columns(
        click=(pl.int_range(20_000) > 5).cast(int),
        user=pl.when(pl.int_range(20_000) % 2 == 0).then(pl.format("u{}", "user")).otherwise(pl.lit("")),
        item=pl.format("i{}", "item"),
    )
    schema = Schema(fields=(Categorical("user"), Categorical("item")), label=Label("click"))
    options = GraphHash(left="user", right="item", rows=None, resolution=1.0)
    found = {}
    for name, some in (("blank", rows), ("left out", rows.filter(pl.col("user") != ""))):
        with tempfile.TemporaryDirectory() as folder:
            encoder, store = Encoder.fit_encode(schema, some, Path(folder) / "rows")
            part = graph_hash(encoder, store, options)
        values = encoder.fitted.vocabularies["item"].values.to_list()
        blocks = [int(drawn.right_blocks[int(value[1:])]) for value in values]
        found[name] = adjusted_mutual_info_score(blocks, part.slots["item"].ids.values[FIRST:])
        assert part.found_by.scores["edges"] == len(
            rows.filter((pl.col("user") != "") & (pl.col("click") == 1)).unique(["user", "item"])
        )
    assert found["blank"] == pytest.approx(found["left out"], abs=0.02) and found["blank"] > 0.75


def test_clicks_of_no_one_are_no_graph(tmp_path):
    rows = TABLE.with_columns(user=pl.when(pl.col("click") == 1).then(pl.lit("")).otherwise("user"))
    encoded = Encoder.fit_encode(SCHEMA, rows, tmp_path / "rows")
    with pytest.raises(DataError, match="there are no edges: no clicked row has known ids of both 'user' and 'item'"):
        plan_of(encoded, rows=40)


@pytest.mark.parametrize(
    ("options", "slots"),
    [({"weighted": False}, {"user", "item"}), ({"maps": "right"}, {"item"}), ({"edges": "all"}, {"user", "item"})],
)
def test_an_option_changes_the_map_and_only_what_it_names(encoded, options, slots):
    (plain,), (part,) = plan_of(encoded, rows=40).parts, plan_of(encoded, rows=40, **options).parts
    assert set(part.slots) == slots
    same = {s: part.slots[s].ids.values.tolist() == plain.slots[s].ids.values.tolist() for s in slots}
    assert same == dict.fromkeys(slots, "maps" in options)
    if options == {"weighted": False}:
        assert part.found_by.scores["edges"] == plain.found_by.scores["edges"]


@pytest.mark.parametrize("kind", ["graph", "graph_rate", "lsh"])
def test_ids_without_edges_get_no_more_rows_where_many_users_are_empty(tmp_path, kind):
    """Nobody's rows are no traffic of the ids that share rows with nobody."""
    alone = pl.DataFrame({"user": [f"alone{i}" for i in range(400)], "item": "i0", "price": 0.5, "click": 0})
    some = TABLE.filter(pl.int_range(ROWS) < 4000)
    rows = pl.concat(
        [some, alone.cast(dict(some.schema)), some.with_columns(user=pl.lit(""), click=pl.lit(0, some["click"].dtype))]
    )
    encoder, store = Encoder.fit_encode(SCHEMA, rows, tmp_path / "rows")
    found = graph_hash(encoder, store, GraphHash(left="user", right="item", maps="left", rows=100, kind=kind))
    values = np.array(encoder.fitted.vocabularies["user"].values.to_list())
    own = found.slots["user"].ids.values[FIRST:][np.char.startswith(values, "alone")]
    assert len(set(own.tolist())) <= 25  # their share of the rows with a user is a tenth
