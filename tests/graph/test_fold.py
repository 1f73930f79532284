"""New ids fold into the rows of their community: against loops, planted communities, and through a served model."""

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from scipy.sparse import csr_matrix

from clicksmith.cli.main import main
from clicksmith.datasets.blocks import planted_blocks
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.auc import auc
from clicksmith.fitting.job import fit
from clicksmith.graph.edges import graph_of
from clicksmith.graph.fold import fold_new_ids, rows_of_new
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.plan import FoundBy, KeptFeatures, KeptFields, Plan
from clicksmith.plan.apply import apply_plan, numbering
from clicksmith.plan.arrays import Array
from clicksmith.schema import Categorical, Label, Numeric, Schema
from clicksmith.schema.schema import SideTable
from clicksmith.serve.predictor import load

SCHEMA = Schema(fields=(Categorical("user"), Categorical("item"), Numeric("price")), label=Label("click"))
USERS, ITEMS, BLOCKS, ROWS = 600, 240, 6, 30_000


def world() -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray]:
    """Draw rows of a first time and of a later one, in which a tenth of users and items are new; clicks as blocks say.

    Values end in their community: u17.3 is of community 3.
    """
    drawn = planted_blocks(USERS, ITEMS, BLOCKS, ROWS, inside=0.5, power=0.2, seed=3)
    rng = np.random.default_rng(0)
    one, two = drawn.left_blocks[drawn.left], drawn.right_blocks[drawn.right]
    logits = np.linspace(-2, 2, BLOCKS)[one] + np.linspace(-2, 2, BLOCKS)[::-1][two] + 3 * (one == two) - 1
    click = rng.random(ROWS) < 1 / (1 + np.exp(-logits))
    table = pl.DataFrame({
        "user": [f"u{u}.{b}" for u, b in zip(drawn.left, one, strict=True)],
        "item": [f"i{i}.{b}" for i, b in zip(drawn.right, two, strict=True)],
        "price": rng.random(ROWS),
        "click": click.astype(int),
    })  # fmt: skip
    new = (drawn.left % 10 == 7) | (drawn.right % 10 == 7)
    first = np.arange(ROWS) < ROWS // 2
    return table.filter(pl.Series(first & ~new)), table.filter(pl.Series(~first)), new[~first]


TRAIN, DAY, NEW = world()


def plan_of(encoded, **options) -> Plan:
    asked = {"left": "user", "right": "item", "rows": 12, **options}
    return Plan(parts=(graph_hash(*encoded, GraphHash(**asked)),))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    return Encoder.fit_encode(SCHEMA, TRAIN, tmp_path_factory.mktemp("rows") / "train")


def blocks_of_rows(encoder: Encoder, slot: str) -> list[set[str]]:
    """Return the communities of the values in each row."""
    v = encoder.fitted.vocabularies[slot]
    found: list[set[str]] = [set() for _ in range(v.rows)]
    for value, i in zip(v.values.to_list(), v.ids[1:-1].tolist(), strict=True):
        found[i].add(value.partition(".")[2])
    return found


@pytest.mark.parametrize("kind", ["graph", "graph_rate", "hybrid"])
def test_new_ids_land_in_their_community_and_old_ids_stay(encoded, tmp_path, kind):
    plan = plan_of(encoded, kind=kind, **({"rows": 80} if kind == "hybrid" else {}))
    before = apply_plan(plan, encoded[0]).encoder
    folded = fold_new_ids(before, plan, DAY)
    assert folded.new == {"user": 60, "item": 24} and min(folded.joined[s] / folded.new[s] for s in folded.new) > 0.95
    folded.encoder.save(tmp_path / "encoder")
    for after in (folded.encoder, Encoder.load(tmp_path / "encoder")):
        np.testing.assert_array_equal(after.encode(TRAIN).ids, before.encode(TRAIN).ids)
        assert after.layout == before.layout and numbering(after) == numbering(before)
        for slot in ("user", "item"):
            known = before.fitted.vocabularies[slot]
            homes, old = after.fitted.vocabularies[slot], len(known.counts)
            rows = blocks_of_rows(before, slot)
            together = [
                v.partition(".")[2] in rows[i]
                for v, i in zip(homes.values.to_list()[old:], homes.ids[1 + old : -1].tolist(), strict=True)
            ]
            assert len(together) == folded.joined[slot] and np.mean(together) > 0.9  # one in six by chance
            if kind == "hybrid":
                assert np.bincount(known.ids[1:-1])[homes.ids[1 + old : -1]].min() > 1  # no private row was entered


def test_a_map_that_was_asked_for_with_an_option_of_other_kinds_still_folds(encoded):
    plan = plan_of(encoded, kind="graph")
    (part,) = plan.parts
    by = replace(part.found_by, settings=part.found_by.settings | {"smoothing": 3.0})
    before = apply_plan(plan, encoded[0]).encoder
    old = Plan(parts=(replace(part, found_by=by),))
    assert fold_new_ids(before, old, DAY).joined == fold_new_ids(before, plan, DAY).joined


def test_an_id_without_edges_is_unseen_until_it_has_some(encoded):
    plan = plan_of(encoded)
    before = apply_plan(plan, encoded[0]).encoder
    lonely = pl.DataFrame({
        "user": ["never clicked", "own", "own"], "item": ["i0.0", "of its own", "of its own"],
        "price": [0.5, 0.5, 0.5], "click": [0, 1, 1],
    })  # fmt: skip
    folded = fold_new_ids(before, plan, pl.concat([DAY, lonely]))
    assert folded.encoder.encode(lonely).ids[:, 0].tolist() == [UNSEEN] * 3
    assert folded.encoder.encode(lonely).ids[1, 1] == UNSEEN
    assert folded.new["user"] - folded.joined["user"] >= 2
    friend = next(v for v in before.values("item") if v.endswith(".2"))
    later = fold_new_ids(
        folded.encoder, plan, pl.concat([DAY, lonely.with_columns(item=pl.lit(friend), click=pl.lit(1, pl.Int64))])
    )
    row = int(later.encoder.encode(lonely).ids[0, 0])
    assert "2" in blocks_of_rows(before, "user")[row]
    np.testing.assert_array_equal(later.encoder.encode(DAY).ids, folded.encoder.encode(DAY).ids)


def test_ids_that_were_folded_in_stay_when_more_rows_come(encoded):
    plan = plan_of(encoded)
    once = fold_new_ids(apply_plan(plan, encoded[0]).encoder, plan, DAY.head(8000)).encoder
    twice = fold_new_ids(once, plan, DAY).encoder
    known = once.encode(DAY).ids
    np.testing.assert_array_equal(twice.encode(DAY).ids[known > UNSEEN], known[known > UNSEEN])
    grown = twice.extend(DAY)
    np.testing.assert_array_equal(grown.encode(DAY).ids, twice.encode(DAY).ids)


def test_one_side_against_all_other_fields_folds_too(encoded):
    plan = plan_of(encoded, right=None)
    before = apply_plan(plan, encoded[0]).encoder
    folded = fold_new_ids(before, plan, DAY)
    assert list(folded.joined) == ["user"] and folded.joined["user"] > 55
    assert (folded.encoder.encode(DAY).ids[:, 1] == before.encode(DAY).ids[:, 1]).all()  # no other slot grows


def test_rare_new_ids_wait_as_the_schema_says(tmp_path):
    schema = Schema(fields=(Categorical("user", min_count=40), Categorical("item")), label=Label("click"))
    both = Encoder.fit_encode(schema, TRAIN, tmp_path / "rows")
    plan = plan_of(both)
    before = apply_plan(plan, both[0]).encoder
    folded = fold_new_ids(before, plan, DAY)
    met = DAY.filter(~pl.col("user").is_in(TRAIN["user"].unique().to_list())).group_by("user").len()
    frequent = set(met.filter(pl.col("len") >= 40)["user"])
    assert 0 < len(frequent) < 60
    named = set(folded.encoder.values("user")) - set(TRAIN["user"])
    assert named == frequent


def test_side_tables_of_the_day_name_new_ids(tmp_path):
    schema = Schema(
        fields=(Categorical("user"), Categorical("item"), Categorical("brand")),
        label=Label("click"),
        tables=(SideTable("items", "items.csv", "item"),),
    )
    every = pl.concat([TRAIN, DAY]).select("item").unique(maintain_order=True)
    brands = every.with_columns(brand=pl.col("item").str.split(".").list.last())
    known = brands.filter(pl.col("item").is_in(TRAIN["item"].unique().to_list()))
    log, day = TRAIN.drop("price"), DAY.drop("price")
    both = Encoder.fit_encode(schema, log, tmp_path / "rows", tables={"items": known})
    plan = plan_of(both)
    before = apply_plan(plan, both[0]).encoder
    after = fold_new_ids(before, plan, day, tables={"items": brands}).encoder
    brand = [c.name for c in after.layout.ids].index("brand")
    fresh = ~day["item"].is_in(known["item"].to_list()).to_numpy()
    assert (before.encode(day).ids[fresh, brand] <= UNSEEN).all() and (after.encode(day).ids[:, brand] >= FIRST).all()
    np.testing.assert_array_equal(after.encode(log).ids, before.encode(log).ids)


def by_loops(matrix, rows, new):
    """Return where each new node goes: partners first, one at a time, then the nodes, by the gain of modularity."""
    size, total = rows.max() + 1, matrix.sum()
    weight = [sum(matrix[n].sum() for n in range(len(rows)) if rows[n] == r) for r in range(size)]

    def best(met, labels, expected):
        gains = {}
        for other, w in enumerate(met):
            if w and labels[other] >= 0:
                gains[labels[other]] = gains.get(labels[other], 0) + w
        scored = [(-(g - met.sum() * expected[r] / total), r) for r, g in gains.items()]
        return min(scored)[1] if scored else -1

    homes = [best(matrix[:, p], rows, weight) for p in range(matrix.shape[1])]
    theirs = [sum(matrix[:, p].sum() for p in range(matrix.shape[1]) if homes[p] == r) for r in range(size)]
    return [best(matrix[n], homes, theirs) for n in range(len(rows) - new, len(rows))]


def test_folding_is_the_local_move_by_loops():
    rng = np.random.default_rng(1)
    for _ in range(20):
        matrix = rng.integers(0, 4, (12, 7)) * (rng.random((12, 7)) < 0.4)
        rows = np.r_[rng.integers(-1, 4, 8), [-1] * 4].astype(np.int32)
        rows[0] = 3
        found = rows_of_new(csr_matrix(matrix.astype(float)), rows, 4)
        assert found.tolist() == by_loops(matrix, rows, 4)


def test_ids_of_training_fold_back_into_the_row_they_had(encoded):
    plan = plan_of(encoded, rows=None, resolution=1.0)
    matrix = graph_of(encoded[1], "user", "item").edges.matrix()
    rows = plan.parts[0].slots["user"].ids.values[FIRST:] - FIRST
    back = []
    for tenth in range(10):  # each is taken out in turn
        taken = np.arange(len(rows)) % 10 == tenth
        order = np.r_[np.flatnonzero(~taken), np.flatnonzero(taken)]
        known = np.r_[rows[~taken], np.full(taken.sum(), -1)].astype(np.int32)
        back += (rows_of_new(matrix[order], known, int(taken.sum())) == rows[taken]).tolist()
    assert np.mean(back) >= 0.95


@pytest.fixture(scope="module")
def run(tmp_path_factory, encoded):
    home = tmp_path_factory.mktemp("run")
    return fit(
        TRAIN, valid=DAY.filter(pl.Series(~NEW)).head(2000), schema=SCHEMA, model="fm", options={"dim": 8},
        plan=plan_of(encoded), out=home / "run",
        settings={"epochs": 4, "batch_size": 256, "learning_rate": 0.02},
    )  # fmt: skip


def test_the_command_writes_a_model_that_ranks_new_users_better(run, tmp_path, capsys):
    DAY.head(9000).write_csv(tmp_path / "day.csv")
    out = tmp_path / "model"
    assert main(["plan", "fold-in", str(run.path), str(tmp_path / "day.csv"), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "user: 60 of 60 new ids share rows now" in told and "item: 24 of 24" in told
    rest = DAY.tail(DAY.height - 9000)
    fresh = rest.filter(pl.Series(NEW[9000:]))
    before, after = load(run.path), load(out)
    old = rest.filter(pl.Series(~NEW[9000:]))
    np.testing.assert_array_equal(before.predict(old), after.predict(old))
    labels = fresh["click"].to_numpy()
    assert auc(labels, after.predict(fresh)) > auc(labels, before.predict(fresh)) + 0.1
    assert main(["plan", "fold-in", str(run.path), str(tmp_path / "day.csv"), "--out", str(out)]) == 2
    assert "is there already; choose another --out" in capsys.readouterr().err


def test_side_tables_are_looked_for_in_the_folder_that_is_named(tmp_path, capsys, monkeypatch):
    users = TRAIN.select("user").unique(maintain_order=True)
    (tmp_path / "data").mkdir()
    users.with_columns(age=pl.int_range(pl.len()) % 5).write_csv(tmp_path / "data" / "users.csv")
    DAY.head(900).write_csv(tmp_path / "day.csv")
    table = SideTable("users", "users.csv", key="user")
    schema = replace(SCHEMA, fields=(*SCHEMA.fields, Categorical("age")), tables=(table,))
    schema.save(tmp_path / "data" / "schema.json")
    plan = plan_of(Encoder.fit_encode(schema, TRAIN, tmp_path / "rows", root=tmp_path / "data"))
    run = fit(
        TRAIN, valid=DAY.filter(pl.Series(~NEW)).head(500), schema=tmp_path / "data" / "schema.json", model="lr",
        plan=plan, out=tmp_path / "run", settings={"epochs": 1},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["plan", "fold-in", str(run.path), "day.csv", "--out", "model"]
    assert main(words) == 2
    told = "there is no file 'users.csv' of 'users'; name the folder of the side tables with --root"
    assert told in capsys.readouterr().err
    assert main([*words, "--root", "data"]) == 0
    assert (tmp_path / "model").exists()


def test_what_cannot_be_folded_is_refused(encoded, run, tmp_path, capsys):
    under = apply_plan(plan_of(encoded), encoded[0]).encoder
    drop = Plan(parts=(KeptFields(drop={"price": "weak"}, found_by=FoundBy(method="test")),))
    with pytest.raises(UsageError, match="the Plan maps no ids, so there are no rows to join"):
        fold_new_ids(under, drop, DAY)
    for kind in ("random", "double_graph", "frequency"):
        with pytest.raises(UsageError, match=rf"no map of the Plan has rows .*: user \({kind}\), item \({kind}\)"):
            fold_new_ids(encoded[0], plan_of(encoded, kind=kind), DAY)
    maps = plan_of(encoded)
    kept = np.arange(encoded[0].layout.rows["user"]) % 3 != 2
    kept[:FIRST] = True
    mask = KeptFeatures(
        slots={"user": Array(kept)}, dropped_to="unseen", found_by=FoundBy(method="test"),
        numbering={"user": numbering(encoded[0])["user"]},
    )  # fmt: skip
    both = Plan(parts=(*maps.parts, mask))
    with pytest.raises(UsageError, match="forgot values of user, which cannot be told from new ones"):
        fold_new_ids(apply_plan(both, encoded[0]).encoder, both, DAY)
    without = Plan(parts=(KeptFields(drop={"item": "weak"}, found_by=FoundBy(method="rank")), *maps.parts))
    with pytest.raises(UsageError, match=r"follows the edges of 'user' and 'item', and .* drops 'item', so that new"):
        fold_new_ids(under, without, DAY)
    with pytest.raises(DataError, match="there are no edges: no clicked row has"):
        fold_new_ids(under, maps, DAY.with_columns(click=pl.lit(0)))
    DAY.head(50).drop("click").write_csv(tmp_path / "bare.csv")
    for words, message in (
        ([str(run.path), str(tmp_path / "bare.csv"), "--out", str(tmp_path / "m")], "'click'"),
        ([str(run.path), str(tmp_path / "bare.csv")], "--out MODEL is missing"),
        ([str(tmp_path), str(tmp_path / "bare.csv"), "--out", str(tmp_path / "m")], "manifest.json"),
    ):
        assert main(["plan", "fold-in", *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_dropped_features_stay_dropped_while_new_ones_join(encoded):
    maps = plan_of(encoded)
    kept = np.arange(encoded[0].layout.rows["user"]) % 3 != 2
    kept[:FIRST] = True
    mask = KeptFeatures(
        slots={"user": Array(kept)}, numbering={"user": numbering(encoded[0])["user"]}, found_by=FoundBy(method="test")
    )
    both = Plan(parts=(*maps.parts, mask))
    before = apply_plan(both, encoded[0]).encoder
    after = fold_new_ids(before, both, DAY).encoder
    np.testing.assert_array_equal(after.encode(TRAIN).ids, before.encode(TRAIN).ids)
    assert (after.encode(TRAIN).ids[:, 0] < 0).any() and after.layout == before.layout
