"""Raw rows to a ranking: files of every kind, columns of every kind, what bad rows get, and no torch on the way."""

import gzip
import json
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from stored import store_of

from clicksmith.cli.main import main
from clicksmith.cli.progress import ShownProgress
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, SchemaError, UsageError
from clicksmith.rank import rank, rank_store
from clicksmith.rank.counts import count
from clicksmith.rank.methods import METHODS
from clicksmith.rank.page import ranking_page
from clicksmith.rank.quality import drift
from clicksmith.rank.views import views_of
from clicksmith.schema import Bag, Categorical, Label, Multimodal, Numeric, Schema, Time
from clicksmith.schema.infer import infer

ROWS = 4_000


def clicks(rows=ROWS, seed=0):
    """A log: 'ad' and 'price' matter, the others do not; every kind of odd column."""
    random = np.random.default_rng(seed)
    ad, price = random.integers(0, 40, rows), random.gamma(2.0, 50.0, rows).round(2)
    rate = 0.05 + 0.3 * (ad % 7 == 0) + 0.2 * (price > 150)
    prices = [None if missing else p for p, missing in zip(price.tolist(), random.random(rows) < 0.1, strict=True)]
    return pl.DataFrame(
        {
            "ad": [f"ad{a}" for a in ad],
            "price": pl.Series(prices, dtype=pl.Float64),
            "place": random.choice(["top", "side", "foot"], rows),
            "row_id": [f"r{i}" for i in range(rows)],
            "always": "x",
            "ad_again": [f"ad{a}" for a in ad],
            "tags": ["|".join(t) for t in random.choice(list("abcdefgh"), (rows, 2)).tolist()],
            "time": 1_700_000_000 + 60 * np.arange(rows),
            "click": (random.random(rows) < rate).astype(int),
        }
    )


def test_numbers_with_a_cell_that_is_none_are_told(tmp_path):
    rows = clicks(600).select("click", "ad", pl.col("price").cast(pl.String))
    rows[17, "price"] = "inf"
    rows.write_csv(tmp_path / "log.csv")
    found = rank(tmp_path / "log.csv", label="click")
    assert found["price"].view == "values"
    assert any("'price' holds numbers in all but 1 of" in text and "'inf'" in text for text in found.notes)


@pytest.mark.parametrize("where", ["train", "valid"])
def test_a_cell_that_is_none_of_a_column_that_fit_leaves_out_does_not_end_the_ranking(monkeypatch, where):
    monkeypatch.setattr("clicksmith.rank.asked.LOOKED_AT", 300)
    rows = clicks(2000).select("click", "ad").with_columns(order_id=pl.int_range(2000).cast(pl.String))
    odd = rows.with_columns(order_id=pl.when(pl.int_range(2000) == 999).then(pl.lit("A17")).otherwise("order_id"))
    train, valid = (odd, rows) if where == "train" else (rows, odd)
    found = rank(train, label="click", valid=valid)
    assert found["order_id"].view == "values" and not found["order_id"].in_schema
    assert any("columns which `fit` leaves out are read as names: order_id" in text for text in found.notes)


@pytest.fixture(scope="module")
def log():
    return clicks()


def test_every_column_but_label_and_time_is_ranked_and_what_is_odd_is_said(log):
    found = rank(log, label="click", pairs=4)
    assert {f.field for f in found.fields} == set(log.columns) - {"click", "time"}
    assert {f.field for f in found.fields[:3]} == {"ad", "ad_again", "price"}
    assert found["price"].view == "bins" and found["price"].coverage == pytest.approx(0.9, abs=0.02)
    assert found["ad"].top[0][0].startswith("ad") and found["ad"].values == 40
    assert not found["always"].in_schema and "one value" in found["always"].flags[0]
    assert not found["row_id"].in_schema and abs(found["row_id"].information) < 0.001
    assert "says the same as 'ad'" in found["ad_again"].flags[0]
    assert set(found["tags"].views) == {"set", "one value"} and found["tags"].q > 0.05
    assert found.notes == ("'time' is the time of the row; it orders rows and is not ranked.",)
    assert found.drift is not None and sum(found.drift.rows) == ROWS and len(found.drift.periods) == 4
    assert set(found.drift.information) <= {f.field for f in found.fields}
    page = ranking_page(found, "<log>")
    assert "&lt;log&gt;" in page and "<log>" not in page
    for word in ("price", "Drift", "Pairs", "random of 50,000", "What is odd", "adjusted_mi, nats; lines: ten columns"):
        assert word in page
    assert "chi2, standard deviations of chance" in ranking_page(replace(found, method="chi2"), "log")


def test_all_kinds_of_files_give_one_ranking(log, tmp_path):
    text = log.drop("tags").write_csv()
    (tmp_path / "log.csv").write_text(text)
    (tmp_path / "log.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    log.drop("tags").write_parquet(tmp_path / "log.parquet")
    (tmp_path / "part1.csv").write_text("\n".join(text.split("\n")[:1_001]) + "\n")
    (tmp_path / "part2.csv").write_text("\n".join([text.split("\n")[0], *text.split("\n")[1_001:]]))
    wanted = [(f.field, pytest.approx(f.score)) for f in rank(log.drop("tags"), label="click").fields]
    for name in ("log.csv", "log.tsv", "log.csv.gz", "log.parquet", "part?.csv"):
        assert [(f.field, f.score) for f in rank(tmp_path / name, label="click").fields] == wanted, name


def test_the_command_leaves_a_list_best_first_and_a_page_and_needs_no_torch(log, tmp_path):
    log.write_csv(tmp_path / "log.csv")
    out = tmp_path / "ranked"
    program = (
        "import sys; from clicksmith.cli.main import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'scipy', 'sklearn', 'numba', 'xxhash'} & set(sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", program, "rank", str(tmp_path / "log.csv"), "--label", "click", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ad" in done.stdout.split("\n")[3] and "odd: 'always'" in done.stdout
    entries = json.loads((out / "ranking.json").read_text())
    assert all(set(e) > {"field", "score"} for e in entries) and len(entries) == 7
    scores = [e["score"] for e in entries]
    assert scores == sorted(scores, reverse=True)
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_file_without_header_is_ranked_with_the_names_given(log, tmp_path, capsys):
    log.select("click", "ad", "place").write_csv(tmp_path / "bare.csv", include_header=False)
    assert main(["rank", str(tmp_path / "bare.csv"), "--label", "C0", "--columns", "C0..C2", "--json"]) == 0
    assert [entry["field"] for entry in json.loads(capsys.readouterr().out)["fields"]] == ["C1", "C2"]


def test_pairs_and_notes_are_told_in_the_table_and_as_json(log, tmp_path, capsys):
    """Also where no pair is sure: silence would be taken for pairs that were not looked at."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (900, 2))
    rows = pl.DataFrame({"one": bits[:, 0], "two": bits[:, 1], "noise": random.integers(0, 5, 900)})
    rows.with_columns(click=pl.Series(bits.sum(1) % 2)).write_csv(tmp_path / "both.csv")
    rows.with_columns(click=pl.Series(random.integers(0, 2, 900))).write_csv(tmp_path / "none.csv")
    for name, sure in (("both", 1), ("none", 0)):
        words = ["rank", str(tmp_path / f"{name}.csv"), "--label", "click", "--pairs", "3"]
        assert main(words) == 0
        told = capsys.readouterr().out
        assert f"pairs: {sure} of 3 surely say more together than apart" in told
        assert ("pair: one and two say more together" in told or "pair: two and one" in told) == bool(sure)
        assert main([*words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(found["fields"]) == len(found["pairs"]) == 3 and "900 rows are few" in found["notes"][0]


def test_a_schema_says_what_is_ranked_and_how(log, tmp_path):
    schema = Schema(fields=(Categorical("ad"), Numeric("price", scale="log")), label=Label("click"))
    schema.save(tmp_path / "schema.json")
    found = rank(log, schema=tmp_path / "schema.json", valid=clicks(500, seed=1))
    assert {f.field: f.view for f in found.fields} == {"ad": "values", "price": "bins"}
    assert found.schema == schema and found["ad"].unseen == 0.0
    with pytest.raises(UsageError, match="Did you mean 'click'"):
        rank(log, label="clik", schema=schema)


def test_validation_rows_tell_how_many_values_are_new(log):
    fresh = clicks(500, seed=1).with_columns(pl.lit("new").alias("place"))
    found = rank(log, label="click", valid=fresh)
    assert found["place"].unseen == 1.0 and found["ad"].unseen == 0.0


def test_hashed_values_that_training_never_saw_are_new():
    def rows(start):
        number = np.arange(start, start + ROWS)
        texts = [f"r{i}" for i in number]
        return pl.DataFrame({"serial": number, "text": texts, "ad": number % 7, "click": number % 2})

    found = rank(rows(0), label="click", valid=rows(ROWS))
    assert 0.98 < found["text"].unseen <= 1 and 0.98 < found["serial"].unseen <= 1 and found["ad"].unseen == 0
    found = rank(rows(0), label="click", valid=rows(ROWS // 2))
    assert found["text"].unseen == pytest.approx(0.5, abs=0.01) == found["serial"].unseen
    found = rank(rows(0), label="click", valid=rows(0))
    assert found["text"].unseen == found["serial"].unseen == 0


def test_drift_counts_weights_and_their_chance():
    """A row of weight 3 counts as three rows of its period; noise says nothing, however uneven the weights."""
    random = np.random.default_rng(0)
    rows, weight = 4_000, random.choice([1.0, 3.0, 9.0], 4_000)
    click = (random.random(rows) < 0.3).astype(np.int64)
    times = np.arange(rows) * 86_400.0 * 4 / rows
    codes = random.integers(0, 20, (rows, 30))
    store = store_of(codes, click, weight=weight.astype(np.float32), time=times)
    found = drift(store, views_of(store), 0)
    day = (times // 86_400).astype(int)
    assert found.rate == pytest.approx([np.average(click[day == d], weights=weight[day == d]) for d in range(4)])
    chance = 19 / (2 * 1_000)  # of unweighted rows, about; it is 1.6 times that here
    assert abs(np.mean(list(found.information.values()))) < 0.1 * chance
    even = store_of(codes, click, weight=np.full(rows, 3, np.float32), time=times)
    plain = drift(store_of(codes, click, time=times), views_of(store), 0)
    assert drift(even, views_of(store), 0).information["f0"] == pytest.approx(plain.information["f0"])


def test_drift_of_hashed_values_and_of_sets_is_that_of_the_values():
    random = np.random.default_rng(0)
    group, day = random.integers(0, 4, 4_000), np.sort(random.integers(0, 4, 4_000))
    rate = np.where(day < 2, 0.2, 0.1 + 0.2 * (group % 2))  # says nothing at first
    rows = pl.DataFrame(
        {
            "plain": [f"v{g}" for g in group], "hashed": [f"v{g}" for g in group],
            "tags": [f"v{g}|w{g}" for g in group],
            "time": 1_700_000_000 + 86_400 * day, "click": (random.random(4_000) < rate).astype(int),
        }
    )  # fmt: skip
    fields = (Categorical("plain"), Categorical("hashed", buckets=1 << 20), Bag("tags"))
    schema = Schema(fields=fields, label=Label("click"), time=Time("time"))
    found = rank(rows, schema=schema).drift.information
    assert found["plain"][0] < 0.002 < 0.01 < found["plain"][3]
    assert found["hashed"] == pytest.approx(found["plain"], abs=1e-9)
    assert found["tags"] == pytest.approx(found["plain"], abs=1e-9)


def test_records_and_lists_that_fit_leaves_out_are_left_out_and_it_is_said(log):
    odd = log.with_columns(
        record=pl.struct(x=pl.int_range(pl.len()) % 3), lists=pl.col("tags").str.split("|"),
        nothing=pl.lit([], pl.List(pl.String)),
    ).with_columns(again=pl.col("lists"))  # fmt: skip
    found = rank(odd, label="click")
    assert {f.field for f in found.fields} >= {"ad", "lists"} and not {"record", "nothing", "again"} & {
        f.field for f in found.fields
    }
    for name, why in (
        ("record", "a record in every cell"),
        ("nothing", "every cell is empty"),
        ("again", "same cells"),
    ):
        assert any(f"'{name}' is not ranked" in note and why in note for note in found.notes)


def test_values_of_a_bag_are_counted_and_not_its_sets():
    random = np.random.default_rng(0)
    letters = random.permuted(np.tile(list("abcdefghij"), (4_000, 1)), axis=1)[:, :4]
    odd = random.integers(0, 2, 4_000)
    rows = pl.DataFrame({
        "tags": ["|".join(cells) for cells in letters], "sometimes": pl.Series(["x", None]).gather(odd),
        "always": ["y"] * 4_000, "click": ((letters == "a").any(1) & (letters == "b").any(1)).astype(int),
    })  # fmt: skip
    fields = (Bag("tags"), Bag("sometimes"), Bag("always"))
    found = rank(rows, schema=Schema(fields=fields, label=Label("click")))
    tags = found["tags"]
    assert max(tags.views, key=tags.views.get) == "set"  # two together click
    assert tags.values == 10 and tags.singletons == 0 and {value for value, _ in tags.top} <= set("abcdefghij")
    assert not found["sometimes"].flags and found["sometimes"].coverage < 0.6
    assert "one value in all rows" in found["always"].flags


def test_empty_cells_of_hashed_text_are_no_values():
    names = [f"r{i}" if i % 2 else None for i in range(4_000)]
    rows = pl.DataFrame({"text": names, "ad": ["a", "b"] * 2_000, "click": [0, 0, 1, 1] * 1_000})
    assert rank(rows, label="click")["text"].coverage == pytest.approx(0.5)


def test_ranking_encoded_rows_equals_ranking_raw_ones_also_from_merged_counts(log, tmp_path):
    schema = Schema(fields=(Categorical("ad"), Categorical("place"), Numeric("price")), label=Label("click"))
    encoder, store = Encoder.fit_encode(schema, log, tmp_path / "rows")
    found, raw = rank_store(store, encoder), rank(log, schema=schema)
    assert [f.field for f in found.fields] == [f.field for f in raw.fields]
    assert found["ad"] == raw["ad"]
    assert found["price"] == raw["price"]
    views = views_of(store, encoder)
    parts = [count(store, views, start=0, stop=999), count(store, views, start=999)]
    assert rank_store(store, encoder, counts=parts[1].merge(parts[0])).fields == found.fields


def test_nan_in_numbers_is_a_bin_of_its_own(log):
    empty_means_click = log.with_columns(pl.when(pl.col("click") == 0).then(pl.col("price")).alias("price"))
    found = rank(empty_means_click.with_columns(pl.col("price").fill_null(float("nan"))), label="click")
    assert found.fields[0].field == "price" and np.isfinite([f.score for f in found.fields]).all()


def test_whole_numbers_are_names_or_quantities_whichever_says_more():
    random = np.random.default_rng(0)
    number = random.integers(0, 2_000, (20_000, 2))
    name_effect = random.normal(0, 0.8, 2_000)
    logit = -1.5 + name_effect[number[:, 0]] + 2.0 * (number[:, 1] > 1_500)
    labels = random.random(20_000) < 1 / (1 + np.exp(-logit))
    frame = pl.DataFrame({"amount_name": number[:, 0], "amount": number[:, 1], "click": labels.astype(int)})
    found = rank(frame, label="click")
    assert found["amount_name"].view == "values" and found["amount"].view == "bins"
    assert set(found["amount"].views) == {"values", "bins"}
    assert all(found[name].values == frame[name].n_unique() and found[name].top for name in ("amount", "amount_name"))


def test_whole_numbers_that_fit_takes_as_names_are_read_in_bins_too():
    random = np.random.default_rng(0)
    level = random.integers(0, 300, 3_000)
    rows = pl.DataFrame({"level": level, "click": (random.random(3_000) < 0.05 + 0.3 * level / 300).astype(int)})
    assert isinstance(infer(rows, label="click").schema.fields[0], Categorical)
    found = rank(rows, label="click")["level"]
    assert set(found.views) == {"values", "bins"}
    names = rank(rows.with_columns(level=pl.format("v{}", "level")), label="click")["level"]
    assert set(names.views) == {"values"} and found.z > names.z + 1


def test_numbers_that_fit_leaves_out_are_read_in_bins():
    """A serial number of rows that are sorted by the label, from a start that float32 cannot tell from the next."""
    random = np.random.default_rng(0)
    price = random.normal(size=ROWS)
    frame = pl.DataFrame({
        "serial": 1_700_000_000_000 + np.arange(ROWS),
        "text": [f"r{i}" for i in range(ROWS)],
        "drawn_id": random.permutation(ROWS * 10)[:ROWS],
        "price": price,
        "price_again": price,
        "click": (np.arange(ROWS) >= 0.75 * ROWS).astype(int),
    })[random.permutation(ROWS)]  # fmt: skip
    found = rank(frame, label="click")
    assert found.fields[0].field == "serial" and not found["serial"].in_schema
    assert found["serial"].view == "bins" and found["serial"].information > 0.95 * found.entropy
    assert any(flag.startswith("leak?") for flag in found["serial"].flags)
    for name in ("serial", "drawn_id", "text"):
        assert "nearly every row has a value of its own" in found[name].flags
        assert found[name].values == pytest.approx(ROWS, rel=0.005)
        assert found[name].singletons == pytest.approx(1, abs=0.005)
    assert found["drawn_id"].q > 0.05 and set(found["text"].views) == {"values"}
    again = found["price_again"]
    assert again.view == "bins" and again.score == found["price"].score and again.values == 20
    assert again.singletons is None and "says the same as 'price'" in again.flags[0]


def test_whole_numbers_that_repeat_in_the_rows_but_not_in_those_looked_at_say_as_names_what_they_say(monkeypatch):
    monkeypatch.setattr("clicksmith.rank.asked.LOOKED_AT", 120)
    random = np.random.default_rng(0)
    user = random.permutation(100_000)[random.integers(0, 100_000, 200_000)]
    labels = (random.random(200_000) < random.random(100_000)[user]).astype(int)
    frame = pl.DataFrame({"ad": random.integers(0, 9, 200_000), "user_id": user, "click": labels})
    found = rank(frame, label="click")
    assert not found["user_id"].in_schema and found["user_id"].view == "values" and found["user_id"].z > 20
    assert found["user_id"].values == pytest.approx(len(set(user.tolist())), rel=0.01)


def test_distinct_values_singletons_and_the_most_frequent_are_those_of_a_loop_also_where_values_are_hashed():
    random = np.random.default_rng(0)
    frame = pl.DataFrame({
        "rare": [f"v{i}" for i in (random.pareto(0.8, 30_000) * 20).astype(int)],
        "again": [f"w{i}" for i in random.integers(0, 40_000, 30_000)],
        "row": [f"r{i}" for i in range(30_000)],
        "click": random.integers(0, 2, 30_000),
    })  # fmt: skip
    found = rank(frame, label="click")
    for name in ("rare", "again", "row"):
        met = Counter(frame[name].to_list())
        near = 0.002 if name == "row" else 0  # its values are hashed: the schema leaves it out
        assert found[name].values == pytest.approx(len(met), rel=near)
        assert found[name].singletons == pytest.approx(sum(n == 1 for n in met.values()) / len(met), abs=near)
    often = Counter(frame["rare"].to_list()).most_common(3)
    assert {(value, round(share * 30_000)) for value, share in found["rare"].top} == set(often)


def test_what_validation_rows_hold_but_for_unseen_values_moves_nothing(log):
    turned = clicks(800, seed=1).with_columns(click=1 - pl.col("click"))
    one, two = (rank(log, label="click", valid=rows, pairs=3) for rows in (clicks(500, seed=2), turned))
    assert [(f.field, f.score, f.z) for f in one.fields] == [(f.field, f.score, f.z) for f in two.fields]
    assert one.pairs == two.pairs and one.controls == two.controls


def test_a_score_does_not_depend_on_the_fields_beside_it(log):
    few = rank(log.select("ad", "place", "click"), label="click")
    many = rank(log, label="click")
    assert all(few[name].score == many[name].score and few[name].z == many[name].z for name in ("ad", "place"))


def test_vectors_are_not_ranked_and_it_is_said(log):
    frame = log.select("ad", "click").with_columns(pl.Series("image", np.ones((ROWS, 3)).tolist()))
    schema = Schema(fields=(Categorical("ad"), Multimodal("image", dim=3)), label=Label("click"))
    for found in (rank(frame, schema=schema), rank(frame, label="click")):
        assert [f.field for f in found.fields] == ["ad"] and "'image' holds vectors" in found.notes[-1]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop("ad"), "'ad'"),
        (lambda f: f.with_columns(ad=pl.lit(None, pl.String)), "field 'ad' is empty in all 4,000 rows.*schema"),
        (
            lambda f: f.with_columns(ad=pl.int_range(pl.len()).cast(pl.String)),
            "every value of field 'ad' is rarer than",
        ),
        (lambda f: f.with_columns(click=pl.lit(1)), "'click' is 1 in every row"),
        (lambda f: f.with_columns(click=pl.when(pl.col("place") == "top").then(pl.col("click"))), "'click' is empty"),
        (lambda f: f.with_columns(click=pl.col("click") + 1), "label 'click' is '[12]'; a label is 0 or 1"),
        (lambda f: f.with_columns(price=pl.lit("much")), "'price'.*much"),
        (lambda f: f.head(0), "no rows"),
    ],
)
def test_bad_rows_are_refused_naming_the_column(log, change, match):
    schema = Schema(fields=(Categorical("ad", min_count=2), Numeric("price")), label=Label("click"))
    with pytest.raises(DataError, match=match):
        rank(change(log), schema=schema)


def test_the_coverage_of_a_bag_is_the_share_of_rows_with_a_value(log):
    schema = Schema(fields=(Bag("tags"), Categorical("ad")), label=Label("click"))
    every = pl.int_range(pl.len())
    tagged = log.with_columns(tags=pl.when(every % 10 >= 3).then(pl.format("t{}|u{}", every % 7, every % 4)))
    found = {field.field: field for field in rank(tagged, schema=schema).fields}
    assert found["tags"].coverage == pytest.approx(0.7)
    with pytest.raises(DataError, match="field 'tags' is empty in all 4,000 rows"):
        rank(log.with_columns(tags=pl.lit(None, pl.String)), schema=schema)


def test_pairs_of_weighted_rows_are_told_to_count_rows(log):
    schema = Schema(fields=(Categorical("ad"), Categorical("place")), label=Label("click"), weight="worth")
    weighed = log.with_columns(worth=pl.lit(2.0))
    assert any("weights count for single fields only" in note for note in rank(weighed, schema=schema, pairs=2).notes)
    assert not any("weights" in note for note in rank(weighed, schema=schema).notes)


def test_of_weighted_rows_it_is_not_said_how_many_values_one_row_has(tmp_path):
    random = np.random.default_rng(0)
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"))
    plain = pl.DataFrame({"ad": random.integers(0, 3_000, ROWS), "click": random.integers(0, 2, ROWS)})
    met = Counter(plain["ad"].to_list())
    once = sum(n == 1 for n in met.values()) / len(met)
    assert rank(plain, schema=schema)["ad"].singletons == pytest.approx(once)
    for weight in (1.0, 2.0):
        weighed = schema.__class__(fields=schema.fields, label=Label("click"), weight="worth")
        found = rank(plain.with_columns(worth=pl.lit(weight)), schema=weighed)
        assert found["ad"].singletons is None and found["ad"].values == len(met)
        found.save(tmp_path / "ranking.json")
        assert json.loads((tmp_path / "ranking.json").read_text())[0]["singletons"] is None
        assert "ad" in ranking_page(found, "weighed")


def test_numbers_are_copies_if_their_values_correspond_and_not_only_their_bins():
    random = np.random.default_rng(0)
    price = random.gamma(2.0, 50.0, ROWS).round(2)
    order, inside = np.argsort(price, kind="stable"), np.arange(ROWS)
    for start in range(0, ROWS, 200):
        random.shuffle(inside[start : start + 200])
    mixed = np.empty(ROWS)
    mixed[order] = np.sort(random.gamma(2.0, 50.0, ROWS))[inside]  # the bins of price, and nothing else of it
    frame = pl.DataFrame({
        "price": price, "cents": 100 * price, "left": 2_000 - price, "root": np.sqrt(price), "mixed": mixed,
        "other": random.normal(size=ROWS), "part": np.where(price > 150, price, np.nan),
        "click": (random.random(ROWS) < 0.1 + 0.2 * (price > 150)).astype(int),
    })  # fmt: skip
    names = [name for name in frame.columns if name != "click"]
    schema = Schema(fields=tuple(Numeric(name) for name in names), label=Label("click"))
    found = rank(frame, schema=schema)
    said = {f.field: [flag for flag in f.flags if "says the same" in flag] for f in found.fields}
    assert {name for name, flags in said.items() if flags} == {"cents", "left", "root"}
    assert all(said[name] == ["says the same as 'price', value by value"] for name in ("cents", "left", "root"))


def test_the_command_ends_with_status_2_and_no_file_where_there_is_no_ranking(log, tmp_path, capsys):
    bad = tmp_path / "bad.csv"
    bad.write_text("ad,click\na,1\nb,0,7\nc,1\n")
    log.write_csv(good := tmp_path / "good.csv")
    for arguments, match in (
        ([str(bad), "--label", "click"], "bad.csv"),
        ([str(tmp_path / "no.csv"), "--label", "click"], "no.csv"),
        ([str(good), "--label", "clik"], "clik"),
        ([str(good), "--label", "click", "--top", "3"], "--top says what a plan keeps; add --plan FILE"),
        ([str(good), "--label", "click", "--score", "gini"], "gini"),
        ([str(good), "--label", "click", "--json", "False"], "'False' is one argument too many"),
        ([str(good), "--label", "click", "--seed", "-1", "--pairs", "3"], "seed is -1; it must be at least 0"),
        ([str(good), "--label", "click", "--plan", "p.json", "--top", "0"], "top is 0; a plan keeps at least 1 field"),
        ([str(good), "--label", "click", "--plan", "p.json", "--top", "2", "--min-z", "3"], "top and min_z say twice"),
        ([str(good), "--label", "click", "--plan", "p.json", "--cumulative", "2"], "cumulative is 2; it is a share"),
    ):
        assert main(["rank", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert match in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_times_beyond_every_calendar_are_told_with_what_to_do(log):
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"), time=Time("time"))
    micro = log.with_columns(pl.col("time") * 1_000_000)
    with pytest.raises(DataError, match=r"a row's time is 1\.7e\+15 seconds after 1970.* its unit"):
        rank(micro, schema=schema)


def test_rows_that_cannot_be_counted_are_named_with_their_file(log, tmp_path, capsys):
    Schema(fields=(Categorical("ad"),), label=Label("click"), weight="worth").save(tmp_path / "weight.json")
    Schema(fields=(Categorical("ad"),), label=Label("click"), time=Time("time")).save(tmp_path / "time.json")
    worth = pl.when(pl.int_range(ROWS) == 6).then(0.0).otherwise(1.0)
    late = pl.when(pl.int_range(ROWS) == 6).then(0).otherwise("time")
    log.with_columns(worth=worth, time=late).write_csv(tmp_path / "log.csv")
    for words, message in (
        (
            ["weight.json"],
            "error: log.csv: row 7: the weight is 0; a row that counts has a weight above 0. Drop the row",
        ),
        (["time.json", "--score", "holdout"], "error: log.csv: row 7: its time is before that of row 6; "),
    ):
        at = tmp_path / words[0]
        assert main(["rank", str(tmp_path / "log.csv"), "--schema", str(at), *words[1:], "--out", "none"]) == 2
        told = capsys.readouterr()
        assert told.err.startswith(message) and not told.out


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--plan", "plan.json", "--top", "0"], ["--pairs", "1"]])
def test_what_cannot_be_asked_is_refused_before_a_row_is_read(log, tmp_path, capsys, monkeypatch, words):
    def never(*_, **__):
        raise AssertionError("rows were read")

    log.head(200).write_csv(tmp_path / "log.csv")
    monkeypatch.setattr("clicksmith.rank.job.asked", never)
    assert main(["rank", str(tmp_path / "log.csv"), "--label", "click", *words]) == 2
    assert f"{words[-2].removeprefix('--')} is {words[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize("score", METHODS)
def test_any_seed_that_fit_takes_is_taken(log, score):
    rows = log.head(300).select("ad", "place", "click")
    seeded = [rank(rows, label="click", score=score, seed=5_000_000_000, pairs=2).fields for _ in range(2)]
    assert seeded[0] == seeded[1]
    with pytest.raises(UsageError, match="seed is -3; it must be at least 0"):
        rank(rows, label="click", score=score, seed=-3)


def test_the_command_shows_how_far_it_has_read(log, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(ShownProgress, "encoding", lambda _, part, done, expected: shown.append((part, done)))
    log.write_csv(tmp_path / "log.csv")
    assert main(["rank", str(tmp_path / "log.csv"), "--label", "click", "--quiet"]) == 0
    assert shown[-1] == ("rows", ROWS)


def test_pairs_of_a_ranking_before_do_not_stay_beside_one_without(log, tmp_path):
    log.select("ad", "place", "tags", "click").write_csv(tmp_path / "log.csv")
    words = ["rank", str(tmp_path / "log.csv"), "--label", "click", "--out", str(tmp_path / "out")]
    assert main([*words, "--pairs", "3"]) == 0 and (tmp_path / "out" / "pairs.json").exists()
    assert main(words) == 0 and not (tmp_path / "out" / "pairs.json").exists()
    assert (tmp_path / "out" / "ranking.json").exists()


@pytest.mark.parametrize("score", METHODS)
def test_few_rows_are_ranked_by_the_command_whatever_the_score(log, tmp_path, capsys, score):
    log.head(900).select("ad", "place", "click").write_csv(tmp_path / "few.csv")
    assert main(["rank", str(tmp_path / "few.csv"), "--label", "click", "--score", score]) == 0
    told = capsys.readouterr().out
    assert "note: 900 rows are few" in told
    assert {line.split()[1] for line in told.splitlines() if line[:1].isdigit()} == {"ad", "place"}


def test_a_label_may_be_named_as_it_likes_and_what_comes_next_says_how_rows_were_read(log, tmp_path, capsys):
    """The package's summary breaks on a label with a hyphen."""
    named = log.select("ad", "place", pl.col("click").alias("is-click, really"))
    named.write_csv(tmp_path / "log.csv", include_header=False, separator="^")
    names = "ad,place,is-click"
    words = ["rank", str(tmp_path / "log.csv"), "--label", "is-click", "--columns", names, "--delimiter", "^"]
    assert main([*words, "--plan", str(tmp_path / "plan.json"), "--top", "1"]) == 0
    told = capsys.readouterr().err
    (command,) = (line.removeprefix("next:  clicksmith ") for line in told.splitlines() if line.startswith("next:"))
    assert (
        main([*shlex.split(command), "--model", "lr", "--epochs", "1", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    )


def test_a_label_alone_and_few_rows(log):
    with pytest.raises(SchemaError, match="no column is left"):
        rank(log.select("click"), label="click")
    assert any("few" in note for note in rank(log.head(200), label="click").notes)
