"""Slices of the test rows: by the rarest id and by time, from stored predictions; older folders work too."""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from world import bench, copied, finished, make

from clicksmith.bench.data import prepare
from clicksmith.bench.facts import RAREST, TIME, facts_of
from clicksmith.bench.results import read_results
from clicksmith.bench.row import read_row
from clicksmith.bench.site import write_site
from clicksmith.bench.slices import cuts_of, mean_slices
from clicksmith.bench.table import tables
from clicksmith.cli.main import main
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate import auc, logloss
from clicksmith.evaluate.scored import sigmoid
from clicksmith.papers import PAPERS


def quiet(_):
    pass


def test_the_rarest_id_of_a_row_is_counted_in_training_rows_and_their_histories(tmp_path):
    toml = make(tmp_path)
    train, test = (pl.read_csv(tmp_path / f"{part}.csv") for part in ("train", "test"))
    odd = pl.Series("ad", ["a99" if row % 7 == 0 else f"a{row % 25}" for row in range(test.height)])
    test.with_columns(odd, pl.lit("a77|a1").alias("seen_ads")).write_csv(tmp_path / "test.csv")
    train = train.with_columns(pl.when(pl.col("ad") == "a3").then(pl.lit("a4")).otherwise("ad").alias("ad"))
    train.write_csv(tmp_path / "train.csv")
    facts = facts_of(prepare(str(toml), None, None, tmp_path / "cache", quiet))
    seen = Counter(ad for cell in train["seen_ads"] if cell for ad in cell.split("|"))
    counts = {"ad": Counter(train["ad"]) + seen, "user": Counter(train["user"]), "device": Counter(train["device"])}
    whole = zip(odd, test["user"], test["device"], strict=True)
    by_hand = [min(counts["ad"][a], counts["user"][u], counts["device"][d]) for a, u, d in whole]
    assert seen["a3"] and counts["ad"]["a3"] == seen["a3"]
    assert by_hand.count(0) == 58  # a99; what is unseen in a row's own history does not count
    np.testing.assert_array_equal(facts[RAREST], by_hand)
    assert TIME not in facts


def test_rows_that_are_not_cold_are_cut_into_thirds_and_equal_counts_stay_together():
    (cut,) = cuts_of({RAREST: np.array([0, 5, 1, 9, 0, 7, 2, 1200], np.int32)})
    assert cut.titles == ("cold: 0", "tail: 1 to 2", "middle: 5 to 7", "head: 9 to 1,200")
    assert [cut.titles[code][:4] for code in cut.codes] == [
        "cold", "midd", "tail", "head", "cold", "midd", "tail", "head",
    ]  # fmt: skip
    (same,) = cuts_of({RAREST: np.full(6, 3, np.int32)})
    assert len(set(same.codes.tolist())) == 1


def test_time_is_cut_into_fifths_the_earliest_first_and_rows_without_one_stand_apart():
    seconds = np.array([400.0, 0, 100, 300, 200, 0, 100, 200, 300, 400, np.nan]) * 60
    (cut,) = cuts_of({TIME: seconds})
    assert cut.titles[0] == "1 of 5: 1970-01-01 00:00 to 1970-01-01 00:00"
    assert cut.titles[4] == "5 of 5: 1970-01-01 06:40 to 1970-01-01 06:40"
    assert cut.codes.tolist() == [4, 0, 1, 3, 2, 0, 1, 2, 3, 4, 5]
    assert cut.titles[5] == "(no time)"
    (far,) = cuts_of({TIME: np.array([4e15, 5e15])})  # no date that a calendar knows
    assert len(far.titles) == 6


def test_drift_shows_as_metrics_that_fall_over_time():
    random = np.random.default_rng(0)
    rows = 20_000
    time = random.permutation(rows).astype(np.float64)
    logits = random.normal(0, 2, rows)
    labels = (random.random(rows) < sigmoid(logits * (1 - time / rows) - time / rows)).astype(np.uint8)
    found = mean_slices(labels, [logits], cuts_of({TIME: time}), 0.95)
    assert [s.rows for s in found] == [4000] * 5 and [s.value[0] for s in found] == list("12345")
    areas = [s.values["auc"].value for s in found]
    ratios = [s.values["predicted_over_observed"].value for s in found]
    assert areas == sorted(areas, reverse=True) and areas[0] > 0.8 and areas[-1] < 0.6
    assert ratios == sorted(ratios) and ratios[-1] > 1.3


def test_the_slices_of_a_table_are_the_metrics_of_those_rows_averaged_over_seeds():
    results = read_results(finished() / "results")
    rarest, labels = results.facts["shop"][RAREST], results.labels("shop")
    (table,) = tables(results)
    fm = next(line for line in table.lines if line.standing.model == "FM")
    assert {s.column for s in fm.slices} == {"rarest id"} and sum(s.rows for s in fm.slices) == 400
    tail = next(s for s in fm.slices if s.value.startswith("tail"))
    low, high = (int(word) for word in tail.value.removeprefix("tail: ").split(" to "))
    inside = (rarest >= low) & (rarest <= high)
    assert tail.rows == inside.sum() and tail.clicks == labels[inside].sum()
    seeds = [results.predictions(row).astype(np.float32)[inside] for row in results.models("shop")["FM"]]
    for name, function in (("auc", auc), ("logloss", lambda y, z: logloss(y, logits=z))):
        expected = np.mean([function(labels[inside], one) for one in seeds])
        assert tail.values[name].value == pytest.approx(expected, abs=1e-6)
        assert tail.values[name].low < expected < tail.values[name].high


def test_results_of_an_older_clicksmith_have_no_slices_until_the_benchmark_is_given_again(tmp_path, capsys):
    folder = copied(tmp_path)
    facts, results = folder / "results" / "shop" / RAREST, folder / "results"
    facts.unlink()
    old = read_results(results)
    assert old.strange == [] and len(old.rows) == 4
    assert all(line.slices == () for line in tables(old)[0].lines)
    write_site(old, tmp_path / "site", PAPERS)
    assert "give their `bench run` again to add slices" in (tmp_path / "site" / "shop" / "FM.html").read_text()
    assert main(["bench", "table", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["lines"][0]["slices"] == []
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    report = bench(folder)
    assert (report.finished, report.skipped) == (0, 4) and facts.exists()
    assert {path: path.read_bytes() for path in results.rglob("*.json")} == before
    assert tables(read_results(results))[0] == tables(read_results(finished() / "results"))[0]


def test_a_models_page_shows_its_slices_and_says_where_there_is_no_time(tmp_path):
    folder = copied(tmp_path)
    write_site(read_results(folder / "results"), tmp_path / "site", PAPERS)
    page = (tmp_path / "site" / "shop" / "FM.html").read_text()
    assert "<h3>rarest id</h3>" in page and "<td>tail: " in page
    assert "<h3>time</h3>" not in page and "there is nothing to say of drift" in page
    np.save(folder / "results" / "shop" / TIME, np.arange(400.0))
    write_site(read_results(folder / "results"), tmp_path / "site", PAPERS)
    page = (tmp_path / "site" / "shop" / "FM.html").read_text()
    assert "<h3>time</h3>" in page and "<td>1 of 5: 1970-01-01 00:00" in page and "nothing to say" not in page


def test_the_time_column_of_the_data_is_kept_in_seconds(tmp_path):
    toml = make(tmp_path)
    toml.write_text(toml.read_text() + '[schema.time]\nname = "when"\nunit = "ms"\n')
    for part in ("train", "valid", "test"):
        rows = pl.read_csv(tmp_path / f"{part}.csv")
        rows.with_columns((pl.int_range(pl.len()) * 500).alias("when")).write_csv(tmp_path / f"{part}.csv")
    facts = facts_of(prepare(str(toml), None, None, tmp_path / "cache", quiet))
    np.testing.assert_array_equal(facts[TIME], np.arange(400) / 2)


def test_damaged_facts_are_named_and_left_out(tmp_path):
    folder = copied(tmp_path)
    (folder / "results" / "shop" / RAREST).write_bytes(b"nothing")
    np.save(folder / "results" / "shop" / TIME, np.arange(7.0))
    found = read_results(folder / "results")
    assert len(found.rows) == 4 and len(found.strange) == 2
    assert (
        f"{RAREST}' is damaged" in found.strange[0] and "holds (7,) values where the rows say 400" in found.strange[1]
    )
    assert all(line.slices == () for line in tables(found)[0].lines)


def test_facts_that_the_data_do_not_say_are_refused(tmp_path):
    folder = copied(tmp_path)
    np.save(folder / "results" / "shop" / RAREST, np.arange(400, dtype=np.int32))
    with pytest.raises(UsageError, match=f"{RAREST}' was written for other test rows .* or other training rows"):
        bench(folder)
    from clicksmith.bench.verify import recompute

    results = read_results(folder / "results")
    row = read_row(folder / "results" / "shop" / "FM" / "0.json")
    with pytest.raises(DataError, match=f"{RAREST}' is not what the data say of the test rows; remove it"):
        recompute(results, [row], folder=str(folder / "shop.toml"), cache=folder / "cache", say=quiet)
