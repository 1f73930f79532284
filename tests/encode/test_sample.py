"""A sample is spread over the whole of a file, whatever its format."""

import gzip

import polars as pl
import pytest

from clicksmith.encode import sample as sampling
from clicksmith.encode.source import open_source
from clicksmith.errors import DataError
from clicksmith.fitting.propose import propose

ROWS = 400_000


@pytest.fixture(scope="module")
def late() -> pl.DataFrame:
    """A log whose head is all one site and all "no"."""
    n = pl.int_range(ROWS, eager=True)
    return pl.DataFrame(
        {
            "click": pl.select(pl.when((n >= 310_000) & (n % 3 == 0)).then(pl.lit("yes")).otherwise(pl.lit("no")))
            .to_series()
            .alias("click"),
            "site": pl.select(pl.when(n < 300_000).then(pl.lit("one")).otherwise(pl.concat_str(pl.lit("s"), n % 7)))
            .to_series()
            .alias("site"),
            "ad": (n % 50).cast(pl.String) + "a",
        }
    )


def _write(frame: pl.DataFrame, path):
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=50_000)
    elif path.suffix == ".arrow":
        frame.write_ipc(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode(), 1))
    else:
        frame.write_csv(path)
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.arrow", "log.csv.gz", "frame"])
def test_what_changes_late_in_a_file_is_seen(late, tmp_path, name):
    """A column that is constant in the head is kept, and the label's other word is found."""
    data = late if name == "frame" else _write(late, tmp_path / name)
    proposal = propose(data, "click")
    assert "site" in proposal.schema.field_names
    assert proposal.schema.labels[0].positive == "yes"
    assert 40_000 <= proposal.rows <= 100_000


def test_a_sample_holds_rows_of_the_file_in_order_first_and_last_included(late, tmp_path):
    """Rows are whole, from all parts, and in order, with a missing line end too."""
    path = tmp_path / "log.csv"
    path.write_text(late.with_row_index("row").write_csv().rstrip("\n"))
    found = open_source(path).sample(["row", "site"], 5_000)
    row = found["row"].cast(pl.Int64)
    assert row.is_sorted()
    assert row.n_unique() == len(row)
    assert row[0] == 0
    assert row[-1] == ROWS - 1
    assert row.diff().max() < ROWS / 16
    assert found["site"].to_list() == late["site"].gather(row).to_list()


def test_no_row_of_a_short_file_of_long_rows_is_taken_twice(tmp_path):
    """Places that would overlap are not used: a file of few rows is read whole."""
    path = tmp_path / "log.csv"
    path.write_text("row,words\n" + "".join(f"{i},{'w' * 500}\n" for i in range(9_000)))
    assert path.stat().st_size > sampling.WHOLE
    assert open_source(path).sample()["row"].to_list() == [str(i) for i in range(9_000)]


def test_line_ends_within_quotes_are_never_taken_for_rows(tmp_path, monkeypatch):
    """A file with quoted line ends is gone through from its beginning."""
    monkeypatch.setattr(sampling, "WHOLE", 0)
    path = tmp_path / "log.csv"
    path.write_text("row,words\n" + "".join(f'{i},"a\n{i},b"\n' for i in range(20_000)))
    found = open_source(path).sample(None, 1_000)
    assert set(found["words"]) == {f"a\n{i},b" for i in found["row"]}
    assert found["row"].cast(pl.Int64).max() > 19_000


def test_odd_rows_are_refused_as_in_reading(tmp_path, monkeypatch):
    """A row with too many cells is named, with empty cells as null elsewhere."""
    monkeypatch.setattr(sampling, "WHOLE", 0)
    path = tmp_path / "log.csv"
    path.write_text("a,b\n" + "1,\n" * 1_000)
    assert open_source(path).sample(None, 100)["b"].null_count() == 100
    path.write_text("a,b\n" + "1,2\n" * 500 + "1,2,3\n" + "1,2\n" * 500)
    with pytest.raises(DataError, match=r"row 501 \(line 502\) has 3 cells where 2 are expected"):
        open_source(path).sample(None, 2_000)


def test_several_files_give_some_rows_each(tmp_path):
    """Every file has its share."""
    for part in range(3):
        pl.DataFrame({"part": [part] * 1000, "x": range(1000)}).write_csv(tmp_path / f"{part}.csv")
    found = open_source([tmp_path / f"{part}.csv" for part in range(3)]).sample(None, 300)
    assert found["part"].value_counts().sort("part")["count"].to_list() == pytest.approx([100] * 3, abs=15)
