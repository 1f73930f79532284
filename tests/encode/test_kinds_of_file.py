"""JSON is read; what is neither text nor a known format is named in one line."""

import gzip
import json

import polars as pl
import pytest
import zstandard

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.frames import stacked
from clicksmith.encode.source import open_source
from clicksmith.errors import DataError
from clicksmith.fitting.propose import propose
from clicksmith.schema.columns import Bag, Categorical, Label, Numeric
from clicksmith.schema.schema import Schema

ROWS = [{"user": 204, "tags": ["a", "b"], "x": 1.5, "click": 1}, {"user": 7, "tags": [], "x": None, "click": 0}]


def test_json_in_each_form_gives_the_ids_of_the_rows(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "rows.ndjson").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "row.json").write_text(json.dumps(ROWS[0]))
    schema = Schema(fields=(Categorical("user"), Bag("tags"), Numeric("x")), label=Label("click"))
    encoder = Encoder.fit(schema, pl.DataFrame(ROWS))
    want = encoder.encode(ROWS)
    for name in ("rows.jsonl", "rows.ndjson", "rows.json", "row.json"):
        (found,) = encoder.stream(open_source(tmp_path / name))
        assert found.ids.tolist() == want.ids[: len(found)].tolist()
        assert found.bags["tags"].tolist() == want.bags["tags"][: len(found)].tolist()
    assert open_source([tmp_path / "rows.jsonl", tmp_path / "rows.json"]).rows_hint == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{1", "is not JSON: "),
        ("a.json", b"3", "holds neither an object (a row) nor a list of objects. Give rows."),
        ("a.json", b"[]", "has no rows."),
        ("a.jsonl", b"user,ad\n1,2\n", "is not JSON with one object per line: "),
        (
            "schema.json",
            b'{"fields": [{"kind": "categorical", "name": "ad"}], "label": {"kind": "label", "name": "click"}}',
            "schema.json' is a schema and holds no rows. Give rows, and the schema with --schema.",
        ),
        (
            "plan.json",
            b'{"parts": [{"kind": "fields"}], "version": 1}',
            "is a Plan and holds no rows. Give rows, and the Plan with --pl",
        ),
        (
            "shop.toml",
            b'train = "log.csv"\n',
            "shop.toml' is TOML and holds no rows. Name a file of rows; a schema is g",
        ),
        (
            "a.csv",
            "user,ad\n1,2\n".encode("utf-16"),
            "a.csv is UTF-16 text, not UTF-8. Convert it, for example with 'ic",
        ),
        ("a.csv", b"user,ad\n\x00\x01,2\n", "a.csv is not text: it holds zero bytes. Give CSV or TSV text, Parquet, "),
        (
            "a.csv",
            b"user,ad\n1,2\r,3\n",
            "a.csv line 2: a carriage return inside the line. Take them out, for example with "
            "'tr -d \"\\r\" < a.csv > clean.csv'.",
        ),
        (
            "a.csv",
            b"user,ad\r1,2\r3,4\r",
            "a.csv: its lines end with a carriage return alone. Make them line feeds, for example with "
            '\'tr "\\r" "\\n" < a.csv > clean.csv\'.',
        ),
        (
            "a.csv.zst",
            zstandard.compress(b"user,ad\n1\x01,2\n"),
            "a.csv.zst: its text holds the byte 0x01, which no .zst file may. Take it out, or compress the file as .gz",
        ),
        (
            "a.csv.zst",
            zstandard.compress(b"us\x01er,ad\n1,2\n"),
            "a.csv.zst: its text holds the byte 0x01, which no .zst file may. Take it out, or compress the file as .gz",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        open_source(tmp_path / name)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_records_in_json_are_left_out_as_in_parquet(tmp_path, ending):
    where = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}, None] * 30
    frame = pl.DataFrame({"ad": [f"a{i % 7}" for i in range(90)], "where": where, "click": [0, 1] * 45})
    getattr(frame, {"json": "write_json", "jsonl": "write_ndjson"}[ending])(tmp_path / f"log.{ending}")
    proposal = propose(tmp_path / f"log.{ending}")
    assert proposal.reasons["where"] == "ignored: a record in every cell; make a column of each of its parts"
    Encoder.fit(proposal.schema, tmp_path / f"log.{ending}")
    with pytest.raises(DataError, match=r"row 1: column 'where' holds \{.*\}, where one value is expected"):
        Encoder.fit(Schema(fields=(Categorical("where"),), label=Label("click")), tmp_path / f"log.{ending}")


@pytest.mark.parametrize("form", ["lines", "list", "files", "parquet"])
def test_whole_numbers_beyond_floats_stay_apart_beside_fractions(tmp_path, form):
    ids = [2**53, 2**53 + 1, 0.5, None]
    if form == "parquet":
        pl.DataFrame({"id": ids[:2]}).write_parquet(tmp_path / "a.parquet")
        pl.DataFrame({"id": ids[2:]}).write_parquet(tmp_path / "b.parquet")
    else:
        cells = [json.dumps({"id": one}) for one in ids]
        texts = {
            "lines": ["\n".join(cells)],
            "list": [f"[{','.join(cells)}]"],
            "files": ["\n".join(cells[:2]), "\n".join(cells[2:])],
        }
        for name, text in zip("ab", texts[form], strict=False):
            (tmp_path / f"{name}.{'json' if form == 'list' else 'jsonl'}").write_text(text)
    found = stacked(list(open_source(sorted(tmp_path.iterdir())).batches()))
    assert found["id"].replace("", None).to_list() == [str(2**53), str(2**53 + 1), "0.5", None]


def test_lists_of_numbers_beyond_floats_stay_apart_beside_fractions(tmp_path):
    (tmp_path / "a.jsonl").write_text(f'{{"ids": [{2**53 + 1}]}}\n{{"ids": [0.5]}}\n')
    assert open_source(tmp_path / "a.jsonl").sample()["ids"].to_list() == [[str(2**53 + 1)], ["0.5"]]


def test_standard_input_is_refused():
    with pytest.raises(DataError, match=r"standard input is not read\. Write the rows to a file and name that"):
        open_source("-")


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".csv.zst", ".csv.gz", ".jsonl", ".json"])
def test_brackets_in_the_name_of_a_file_that_is_there_are_letters(tmp_path, ending):
    for name, rows in (("d1", [{"wrong": 1}]), ("d[1]", [{"ad": "a", "x": 1}, {"ad": "b", "x": 2}])):
        frame, path = pl.DataFrame(rows), tmp_path / f"{name}{ending}"
        kind = ending.split(".")[1]
        if ending in (".parquet", ".arrow"):
            (frame.write_parquet if kind == "parquet" else frame.write_ipc)(path)
        else:
            text = {"csv": frame.write_csv(), "jsonl": frame.write_ndjson(), "json": frame.write_json()}[kind].encode()
            packed = {".csv.gz": gzip.compress, ".csv.zst": zstandard.compress}
            path.write_bytes(packed.get(ending, bytes)(text))
    source = open_source(tmp_path / f"d[1]{ending}")
    assert source.columns == ["ad", "x"]
    assert pl.concat(source.batches(["ad"])).to_series().to_list() == ["a", "b"]
    assert source.sample(["ad"]).to_series().to_list() == ["a", "b"]
    assert ending.startswith(".csv") or source.rows_hint == 2


def test_json_files_may_name_their_columns_in_any_order_and_begin_with_a_mark(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"ad": "a", "x": 1}\n')
    (tmp_path / "b.jsonl").write_bytes(b'{"x": 2, "ad": "b"}\n')
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf[{"x": 3, "ad": "c"}]')
    source = open_source([tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.json"])
    assert source.sample().rows() == [("a", 1), ("b", 2), ("c", 3)]
