"""Reading files and frames, and the sentence for each kind of bad input."""

import gzip
import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard

from clicksmith.encode import delimited
from clicksmith.encode import source as source_module
from clicksmith.encode.chunk import FrameChunk, RowsChunk
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.encode.where import Where
from clicksmith.errors import DataError, StorageError
from clicksmith.fitting.chosen import Chosen
from clicksmith.schema import Categorical, Label, Numeric, Schema

SCHEMA = Schema(fields=(Categorical("ad"), Numeric("price")), label=Label("click"))
GOOD = "ad,price,click\na,1,0\nb,,1\na,2.5,1\n"


def file(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def encoded(data, **options) -> tuple[list, list, list]:
    source = open_source(data, **options)
    encoder = Encoder.fit(SCHEMA, source)
    rows = list(encoder.stream(source, labels=True))
    ids = [encoder.values("ad")[i - 2] for part in rows for i in part.ids[:, 0]]
    return ids, [x for part in rows for x in part.labels[:, 0].tolist()], encoder.fitted.scales["price"].mean


def sentence(data, **options) -> str:
    with pytest.raises((DataError, StorageError)) as error:
        encoded(data, **options)
    return str(error.value)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimited_text_in_every_packing(kernels, tmp_path, delimiter, kind, end):
    raw = GOOD.replace(",", delimiter).replace("\n", end).encode()
    if kind == "gz":
        path = file(tmp_path, gzip.compress(raw), "log.csv.gz")
    elif kind == "zst":
        path = file(tmp_path, pytest.importorskip("zstandard").compress(raw), "log.csv.zst")
    else:
        path = file(tmp_path, raw)
    assert encoded(path) == (["a", "b", "a"], [0, 1, 1], 1.75)


def test_parquet_arrow_frames_and_globs_give_what_the_text_gives(kernels, tmp_path):
    frame = pl.read_csv(file(tmp_path, GOOD))
    frame.write_parquet(tmp_path / "log.parquet")
    frame.write_ipc(tmp_path / "log.arrow")
    for i in range(3):
        frame[i : i + 1].select(reversed(frame.columns)).write_csv(tmp_path / f"part{i}.csv")
    everything = [frame, frame.lazy(), frame.to_pandas(), frame.to_arrow(), frame.to_dicts(), tmp_path / "log.parquet"]
    everything += [tmp_path / "log.arrow", str(tmp_path / "part*.csv"), [tmp_path / f"part{i}.csv" for i in range(3)]]
    for data in everything:
        assert encoded(data) == (["a", "b", "a"], [0, 1, 1], 1.75)


def test_quotes_newlines_in_cells_a_byte_order_mark_and_no_last_newline(kernels, tmp_path):
    text = '\ufeffad,price,click\n"a, ""big"" one\nof two lines",1,0\n"b",2,1\nö,"3",1'
    ids, labels, mean = encoded(file(tmp_path, text))
    assert ids == ['a, "big" one\nof two lines', "b", "ö"] and labels == [0, 1, 1] and mean == 2.0


def test_a_file_without_header_takes_the_names_given(kernels, tmp_path):
    path = file(tmp_path, GOOD.partition("\n")[2], "log.tsv")
    assert encoded(path, columns=["ad", "price", "click"]) == (["a", "b", "a"], [0, 1, 1], 1.75)
    assert encoded(file(tmp_path, GOOD), columns=["ad", "price", "click"])[0] == ["a", "b", "a"]


def test_rows_are_the_same_however_small_the_blocks(tmp_path, monkeypatch):
    lines = "".join(f'"v{i % 7}\n{"x" * (i % 50)}",{i},{i % 2}\n' for i in range(300))
    path = file(tmp_path, "ad,price,click\n" + lines)
    whole = encoded(path)
    assert len(whole[0]) == 300
    for size in (70, 97, 1000):
        monkeypatch.setattr(delimited, "BLOCK", size)
        assert encoded(path) == whole


def test_batches_give_frames_of_text_for_text_and_types_for_parquet(tmp_path):
    source = open_source(file(tmp_path, GOOD))
    frames = list(source.batches(["price", "ad"], 2))
    assert [f.height for f in frames] == [2, 1] and frames[0].schema == {"price": pl.String, "ad": pl.String}
    assert pl.concat(frames)["price"].to_list() == ["1", None, "2.5"] and source.columns == ["ad", "price", "click"]
    pl.read_csv(tmp_path / "log.csv").write_parquet(tmp_path / "log.parquet")
    parquet = open_source(tmp_path / "log.parquet")
    assert parquet.rows_hint == 3 and next(parquet.batches(["price"]))["price"].dtype == pl.Float64


def test_the_fingerprint_follows_the_content_and_not_the_date(tmp_path):
    import os

    path = file(tmp_path, GOOD)
    first = open_source(path).fingerprint()
    os.utime(path, (0, 0))
    assert open_source(path).fingerprint() == first
    stamp = path.stat().st_mtime
    file(tmp_path, GOOD.replace("2.5", "2.6"))
    os.utime(path, (stamp, stamp))
    assert open_source(path).fingerprint() != first
    frame = pl.read_csv(path)
    assert open_source(frame).fingerprint() == open_source(frame.clone()).fingerprint()
    assert open_source(frame).fingerprint() != open_source(frame.reverse()).fingerprint()


def test_empty_files_and_folders(tmp_path):
    empty = file(tmp_path, "")
    assert sentence(empty) == f"'{empty}' is empty: it has neither header nor rows."
    for name, packed in (("no.csv.gz", gzip.compress(b"")), ("no.csv.zst", zstandard.compress(b""))):
        assert (
            sentence(file(tmp_path, packed, name)) == f"'{tmp_path / name}' is empty: it has neither header nor rows."
        )
    only = file(tmp_path, "ad,price,click\n")
    assert sentence(only) == f"'{only}' has a header but no rows."
    assert (
        sentence(tmp_path)
        == f"'{tmp_path}' is a folder, not a file. Name the file in it, or several as '{tmp_path}/*.csv'."
    )
    assert sentence(tmp_path / "no.csv").startswith(f"there is no file '{tmp_path}/no.csv'. Check the path;")
    assert sentence(str(tmp_path / "*.tsv")).startswith(f"no file matches '{tmp_path}/*.tsv'.")
    assert sentence(pl.DataFrame({"ad": []})) == "the frame has no rows."
    fake = file(tmp_path, "no parquet", "log.parquet")
    assert sentence(fake).startswith(f"'{fake}' is not a .parquet file")
    assert "cannot be decompressed" in sentence(file(tmp_path, gzip.compress(GOOD.encode())[:-12], "cut.csv.gz"))


def test_a_wrong_delimiter_says_which_was_found(kernels, tmp_path):
    path = file(tmp_path, GOOD.replace(",", "^"))
    assert sentence(path) == (
        "log.csv: 3 columns are missing: ad, price, click. The columns there are: ad^price^click. The schema declares "
        "the missing ones: rename the columns, add them (with empty cells where they are not known, but for 'click'), "
        "or change the schema. A single column was found: if cells are separated by something else than a tab , ; or "
        "|, name it, on the command line with --delimiter."
    )
    assert encoded(path, delimiter="^")[0] == ["a", "b", "a"]


def test_a_ragged_row_is_named(kernels, tmp_path):
    expected = (
        "log.csv row 2 (line 3) has {} cells where 3 are expected (delimiter ','). Mend the row, quote cells that hold "
        "the delimiter, or name the right one."
    )
    assert sentence(file(tmp_path, GOOD.replace("b,,1", "b,,1,9"))) == expected.format(4)
    packed = pytest.importorskip("zstandard").compress(GOOD.replace("b,,1", "b,1").encode())
    assert sentence(file(tmp_path, packed, "log.csv.zst")).startswith("log.csv.zst row 2 (line 3) has 2 cells")
    short = file(tmp_path, GOOD.replace("b,,1", "b,1"))
    assert sentence(short) == expected.format(2)
    with pytest.raises(DataError) as error:
        list(open_source(short).batches(["ad"]))
    assert str(error.value) == expected.format(2)


def test_the_line_of_a_row_counts_header_blank_lines_and_lines_within_quotes(kernels, tmp_path):
    text = '\n"ad",price,click\na,1,0\n\n"b,\n\n""2",1,1\r\n\r\nc,2,0\nd,cheap,1\n'
    for name, raw in (("log.csv", text.encode()), ("log.csv.gz", gzip.compress(text.encode()))):
        assert sentence(file(tmp_path, raw, name)).startswith(f"{name} row 4 (line 10): column 'price' holds 'cheap'")
    assert sentence(file(tmp_path, text.replace("cheap", "1,2"))).startswith("log.csv row 4 (line 10) has 4 cells")
    assert sentence(file(tmp_path, text.encode().replace(b"che", b"\xe9"))).startswith("log.csv line 10: byte 0xe9")
    bare = open_source(file(tmp_path, "a,1,0\n\nb,x,1\n"), columns=["ad", "price", "click"])
    with pytest.raises(DataError, match=r"log.csv row 2 \(line 3\): column 'price' holds 'x'"):
        Encoder.fit(SCHEMA, bare)


@pytest.mark.parametrize("text", ['b,1,1\n"5 inch,1,0\nc,1,1\n', 'b,1,1\nc,1,"0\nd,1,1\n', 'b,1,1\nc,1,"0'])
def test_a_quote_that_is_never_closed_is_named(kernels, tmp_path, text):
    assert sentence(file(tmp_path, "ad,price,click\n" + text)) == (
        "log.csv row 2 (line 3): a cell begins with a quote that is never closed, so that the rest of the file would "
        "be one cell. Close the quote, or double the quotes within a quoted cell."
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_without_anything_are_no_rows_however_they_are_read(kernels, tmp_path, end):
    path = file(tmp_path, "\n" + GOOD.replace("b,", "\n\n,,0\nb,").replace("\n", end) + 2 * end)
    source = open_source(path)
    frame = pl.concat(source.batches(["click", "ad"], 2))
    assert frame.rows() == [("0", "a"), ("0", None), ("1", "b"), ("1", "a")]
    pieces = [chunk for group in source.chunks([], ["ad"]) for chunk in group]
    assert [text for chunk in pieces for text in texts_in(chunk)] == ["a", "", "b", "a"]


def texts_in(chunk) -> list[str]:
    cells = chunk.texts("ad")
    return [cells[i] for i in range(chunk.rows)]


def test_batches_are_the_same_with_and_without_the_kernels(tmp_path, monkeypatch):
    lines = "".join(f'"v{i % 7}\nö{"x" * (i % 50)}",{i or ""},{i % 2}\n' for i in range(300))
    path = file(tmp_path, "ad,price,click\n" + lines)
    compiled = pl.concat(open_source(path).batches(size=64))
    monkeypatch.setattr(source_module, "LIBRARY", None)
    plain = list(open_source(path).batches(size=64))
    assert pl.concat(plain).equals(compiled) and compiled["ad"][8] == f"v1\nö{'x' * 8}" and compiled["price"][0] is None
    assert [frame.height for frame in plain] == [64, 64, 64, 64, 44]


def test_a_file_of_one_column_may_have_empty_cells(kernels, tmp_path):
    path = file(tmp_path, "ad\na\n\nb\n")
    assert pl.concat(open_source(path).batches())["ad"].to_list() == ["a", None, "b"]


def test_one_bad_label_does_not_spoil_the_encoder(kernels):
    rows = pl.DataFrame({"ad": ["a", "b"], "price": [1.0, 2.0], "click": ["0", "1"]})
    encoder = Encoder.fit(SCHEMA, rows)
    bad = rows.with_columns(click=pl.Series(["0", "2"]))
    for _ in range(2):
        with pytest.raises(DataError, match=r"row 2: the label 'click' is '2'; a label is 0 or 1\."):
            encoder.encode(bad, labels=True)
    labels = encoder.encode(rows.with_columns(click=pl.Series(["1.0", "0"])), labels=True).labels
    assert labels is not None and labels[:, 0].tolist() == [1.0, 0.0]
    with pytest.raises(DataError, match="is '2'"):
        encoder.encode(bad, labels=True)


def test_bytes_that_are_not_utf8_are_named(kernels, tmp_path):
    expected = "log.csv line 3: byte 0xe9 is not UTF-8 text. Convert the file, for example "
    expected += "with 'iconv -f latin1 -t utf8 log.csv'."
    assert sentence(file(tmp_path, GOOD.replace("b,", "é,").encode("latin1"))) == expected
    far = GOOD.encode() + b"a,1,0\n" * 100_000 + "é,1,1\n".encode("latin1")
    assert sentence(file(tmp_path, far)).startswith("log.csv line 100005: byte 0xe9 is not UTF-8 text.")


def test_headers_that_are_none(tmp_path):
    assert sentence(file(tmp_path, "1,0,2\n3,1,4\n")) == (
        "log.csv: the first line holds '1', a number, where a column name is expected. If the file has no header, give "
        "the names of its columns."
    )
    assert sentence(file(tmp_path, "ad,price,ad\na,1,b\n")) == (
        "log.csv: column 'ad' appears 2 times in the header (delimiter ','). Give each column its own name."
    )
    assert sentence(file(tmp_path, GOOD), columns=["ad", "price"]) == (
        "log.csv: 2 column names were given, but the first row has 3 cells (delimiter ','). Give one name per cell, "
        "or name the right delimiter."
    )


def test_duplicate_columns_of_a_pandas_frame_are_refused():
    import pandas as pd

    frame = pd.DataFrame([[1, 2, 0]], columns=["ad", "ad", "click"])
    assert sentence(frame) == "the frame has 2 columns named 'ad'. Give each column its own name."


def test_a_column_in_one_file_only_is_named(tmp_path):
    file(tmp_path, GOOD, "a.csv")
    file(tmp_path, GOOD.replace("price", "cost"), "b.csv")
    assert "have different columns: cost, price is in one of them only" in sentence(str(tmp_path / "*.csv"))


@pytest.mark.parametrize(
    ("one", "other"), [([1], [[1]]), (["a|b"], [["a", "b"]]), ([[1]], [[[1]]]), ([timedelta(1)], ["1"])]
)
def test_a_column_of_other_kinds_in_two_files_is_named_with_both(tmp_path, one, other):
    for name, cells in (("a", one), ("b", other)):
        pl.DataFrame({"ad": ["x"], "odd": cells}).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(
        DataError, match=r"column 'odd' is .* in '.*b\.parquet' and .* in '.*a\.parquet'\. Files read tog"
    ):
        open_source(str(tmp_path / "*.parquet")).sample()
    assert open_source(str(tmp_path / "*.parquet")).sample(["ad"])["ad"].to_list() == ["x", "x"]  # it is not read


def test_kinds_that_go_together_are_read_from_several_files(tmp_path):
    parts = ([1], [1.5], ["x"], [None], [date(2024, 1, 1)])
    for i, cells in enumerate(parts):
        pl.DataFrame({"odd": cells}).write_parquet(tmp_path / f"{i}.parquet")
    assert open_source(str(tmp_path / "*.parquet")).sample()["odd"].to_list() == ["1", "1.5", "x", None, "2024-01-01"]


def test_a_pipe_is_refused_and_not_said_to_be_empty(tmp_path):
    os.mkfifo(tmp_path / "rows")
    assert sentence(tmp_path / "rows").endswith(
        "is a pipe or a device, which cannot be read twice. Write the rows to a file first."
    )


def test_a_source_without_rows_is_not_encoded(tmp_path):
    frame = pl.DataFrame({"ad": ["a", "b"], "price": [1, 2], "click": [0, 1]})
    encoder = Encoder.fit(SCHEMA, frame)
    with pytest.raises(DataError, match="the frame has columns but no rows"):
        encoder.encode_to(Chosen(open_source(frame), np.zeros(0, np.int64), "none"), tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


def test_text_in_a_number_names_file_row_and_value(kernels, tmp_path):
    expected = (
        "log.csv row 3 (line 4): column 'price' holds 'N/A', which is not a finite number. Clean the file, leave the "
        'cell empty if the number is missing, or declare Categorical("price").'
    )
    assert sentence(file(tmp_path, GOOD.replace("2.5", "N/A"))) == expected
    assert "row 3 (line 4): column 'price' holds 'inf'" in sentence(file(tmp_path, GOOD.replace("2.5", "inf")))
    assert encoded(file(tmp_path, GOOD.replace("2.5", " 25e-1 ")))[2] == 1.75


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("", "the label 'click' is empty. Rows to learn from or to measure need a label: "),
        ("nan", "the label 'click' is 'nan'; a label is 0 or 1. Correct it, or name the word that means 1: "),
        ("inf", "the label 'click' is 'inf'; a label is 0 or 1. "),
        ("2", "the label 'click' is '2'; a label is 0 or 1. "),
        ("yes", "the label 'click' is 'yes'; a label is 0 or 1. "),
    ],
)
def test_bad_labels_name_file_and_row(kernels, tmp_path, label, words):
    assert sentence(file(tmp_path, GOOD.replace("2.5,1", f"2.5,{label}"))).startswith(
        f"log.csv row 3 (line 4): {words}"
    )


def test_one_class_only_is_refused_for_fitting_and_not_for_encoding(kernels, tmp_path):
    assert sentence(file(tmp_path, GOOD.replace(",1\n", ",0\n"))) == (
        "log.csv: the label 'click' is 0 in every row; a model needs both 0 and 1 to learn from. Check the label "
        "column and how the rows were chosen."
    )
    encoder = Encoder.fit(SCHEMA, pl.DataFrame({"ad": ["a", "b"], "price": [1, 2], "click": [True, False]}))
    assert encoder.encode([{"ad": "a", "price": 1, "click": 1}], labels=True).labels.tolist() == [[1.0]]


def test_something_that_is_no_table():
    assert sentence(3) == "a int is not a table. Give a path, a polars, pandas or Arrow table, or a list of dicts."


def test_chosen_rows_of_a_chunk_are_read_alike(tmp_path):
    path = file(tmp_path, "ad,price,click\n" + "".join(f"a{i},{i},0\n" for i in range(20)))
    source, rows = open_source(path), np.array([3, 4, 11])
    frame = pl.read_csv(path)
    lists = RowsChunk(frame.to_dict(as_series=False), 20, Where("rows"))
    for chunk in (next(source.chunks(["price"], ["ad"]))[0], FrameChunk(frame, Where("frame")), lists):
        taken = chunk.take(rows, 3)
        texts = taken.texts("ad")
        assert [texts[i] for i in range(taken.rows)] == ["a3", "a4", "a11"] and taken.first == 3
        assert taken.numbers("price").tolist() == [3, 4, 11]


@pytest.mark.parametrize("first", ['7" tab', "x"])
def test_an_odd_quote_in_the_header_loses_no_row(tmp_path, first):
    path = file(tmp_path, f'screen 5",ad,price,click\n{first},a,1,0\ny,b,2,1\n')
    assert encoded(path)[:2] == (["a", "b"], [0.0, 1.0])


def test_a_header_that_spans_lines_is_skipped_whole(tmp_path):
    assert encoded(file(tmp_path, '"a\nnote",ad,price,click\n1,a,1,0\n2,b,2,1\n'))[:2] == (["a", "b"], [0.0, 1.0])


def test_numbers_among_column_names_are_names_when_they_are_given(tmp_path):
    path = file(tmp_path, "ad,price,click,0,1\na,1,0,.5,.5\nb,2,1,.5,.5\n")
    assert "where a column name is expected" in sentence(path)
    assert encoded(path, columns=["ad", "price", "click", "0", "1"])[0] == ["a", "b"]


def test_long_lines_are_read_or_told(tmp_path):
    wide = ",".join(f"column{i:05d}" for i in range(15_000))  # 165 KB, in one cell for every other delimiter
    cells = "," * 14_999
    assert encoded(file(tmp_path, f"ad,price,click,{wide}\na,1,0,{cells}\nb,2,1,{cells}\n"))[0] == ["a", "b"]
    beyond = ",".join(f"column{i:05d}" for i in range(30_000))
    assert "the first line is longer than 262,144 bytes" in sentence(
        file(tmp_path, f"ad,price,click,{beyond}\na,1,0\n")
    )


def test_a_damaged_gzip_file_is_told(tmp_path):
    whole = bytearray(gzip.compress((GOOD * 1).encode() + b"".join(b"a,%d,1\n" % (i * i) for i in range(2000))))
    whole[40] ^= 0xFF
    assert "cannot be decompressed" in sentence(file(tmp_path, bytes(whole), "log.csv.gz"))


def test_a_column_without_a_name_does_not_take_that_of_another(tmp_path):
    assert open_source(file(tmp_path, "click,,b\n1,2,3\n")).columns == ["click", "column_2", "b"]
    assert sentence(file(tmp_path, "click,,column_2\n1,2,3\n")) == (
        "log.csv: cell 2 of the header is empty, so its column would be called 'column_2', as another is. "
        "Give each column its own name."
    )


def test_a_first_row_longer_than_the_head_is_a_row(kernels, tmp_path):
    long = "w " * 200_000
    path = file(tmp_path, f"ad,price,click,note\na,1,0,{long}\nb,2,1,q\n")
    assert encoded(path)[:2] == (["a", "b"], [0.0, 1.0])
    assert [len(text) for part in open_source(path).batches(["note"]) for text in part.to_series()] == [400_000, 1]
    assert "has a header but no rows" in sentence(file(tmp_path, "ad,price,click\n" + "\n" * 300_000))


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "json"])
def test_files_without_rows_are_nothing_beside_others(kernels, tmp_path, ending):
    frame = pl.read_csv(file(tmp_path, GOOD))
    write = {"csv": "write_csv", "parquet": "write_parquet", "arrow": "write_ipc", "json": "write_json"}[ending]
    for i, part in enumerate((frame.head(0), frame, frame.head(0))):
        getattr(part, write)(tmp_path / f"part{i}.{ending}")
    assert encoded(str(tmp_path / f"part*.{ending}")) == (["a", "b", "a"], [0, 1, 1], 1.75)
    none = [tmp_path / f"part{i}.{ending}" for i in (0, 2)]
    assert sentence(none).startswith(f"'{none[0]}' has ") and sentence(none).endswith("no rows.")
