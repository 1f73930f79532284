"""Plans that cannot be, given to the command: one line that names the file or the field and what to do, status 2."""

import json

import numpy as np
import pytest

from clicks import SCHEMA, clicks
from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.plan import FoundBy, IdMap, IdMaps, PairOp, Pairs, Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import KeptFields
from clicksmith.schema import Schema

ROWS = clicks(300)
MAP = ("parts", 0, "slots", "user")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with rows and schema, and maps.json: users in three rows."""
    at = tmp_path_factory.mktemp("plans")
    ROWS.write_csv(at / "train.csv")
    clicks(100, 1).write_csv(at / "valid.csv")
    (at / "schema.toml").write_text(SCHEMA)
    encoder = Encoder.fit(Schema.load(at / "schema.toml"), ROWS)
    for name, rows in (("maps", 3), ("other", 4)):
        users = np.arange(encoder.layout.rows["user"] - 2)
        ids = Array(np.concatenate([[0, 1], 2 + users % rows]).astype(np.int32))
        part = IdMaps(
            slots={"user": IdMap(rows=2 + rows, ids=ids)},
            numbering={"user": numbering(encoder)["user"]},
            found_by=FoundBy(method="graphhash"),
        )
        Plan(parts=(part,)).save(at / f"{name}.json")
    return at


@pytest.fixture
def refused(home, tmp_path, capsys, monkeypatch):
    """Return a function that gives plans to fit and checks the one line."""
    monkeypatch.chdir(home)

    def check(message: str, *plans: str) -> None:
        words = ["fit", "train.csv", "--valid", "valid.csv", "--schema", "schema.toml", "--model", "dnn", "--quiet"]
        words += ["--model.units", "[4]", "--epochs", "1", "--out", str(tmp_path / "run"), "--plan", *plans]
        assert main(words) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1 and message in told
        assert not (tmp_path / "run" / "model").exists()

    return check


def edited(home, path, value):
    """Write bad.json: maps.json with another value at a path; None removes the key."""
    plain = json.loads((home / "maps.json").read_text())
    *way, last = path
    at = plain
    for key in way:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value(at[last]) if callable(value) else value
    (home / "bad.json").write_text(json.dumps(plain))


def flipped(text: str) -> str:
    return text[:40] + ("A" if text[40] != "A" else "B") + text[41:]


def array(values) -> dict:
    return Array(np.array(values, np.int32)).plain(None)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*MAP, "ids", "base64"), flipped, "part 1, vocabulary 'user': one of its arrays is damaged: its checksum"),
        ((*MAP, "ids", "base64"), lambda b: b[:32], "vocabulary 'user': one of its arrays is damaged: 24 bytes"),
        ((*MAP, "ids", "kind"), "float32", "part 1, vocabulary 'user': one of its arrays is damaged: it has no kind"),
        ((*MAP, "ids", "kind"), "bits", "vocabulary 'user': one of its arrays is damaged: 168 bytes instead of 6"),
        ((*MAP, "ids"), array([0, 1, 2, 3, 4]), "its map of 'user' has 5 ids, there are 42; search again"),
        ((*MAP, "ids"), array([0, 1, 2, 3, 9]), "slot 'user': the map names row 9 of 5"),
        ((*MAP, "ids"), array([0, 2, 3, 4]), "slot 'user': padding stays row 0, unseen stays row 1"),
        ((*MAP, "rows"), 7, "slot 'user': 2 of 7 rows belong to no id; number them closely"),
        (("parts", 0, "numbering", "user"), "0" * 64, "was found on another numbering of 'user' than these training"),
        (("parts", 0, "numbering", "user"), None, "speaks of the ids of 'user' and does not say their numbering"),
        (("parts", 0, "kind"), "map", "known are fields, maps, features, columns, ranks, pairs. Correct it there"),
        (("version",), 9, "the Plan 'bad.json' is of version 9; this installation reads version 1. Upgrade"),
        (("parts", 0, "frobs"), 1, "the Plan 'bad.json' does not fit: Object contains unknown field `frobs`"),
    ],
)  # fmt: skip
def test_a_map_that_is_none(home, refused, path, value, message):
    edited(home, path, value)
    refused(message, "bad.json")


def test_a_map_whose_file_is_missing(home, refused):
    edited(home, (*MAP, "ids"), {"kind": "int32", "length": 42, "sha256": "", "file": "gone.bin"})
    refused("part 1, vocabulary 'user': cannot read its array 'bad.json.arrays/gone.bin': No such file", "bad.json")
    edited(home, (*MAP, "ids"), {"kind": "int32", "length": 42, "sha256": "", "file": "../maps.json"})
    refused("has no content. Copy the Plan's folder of arrays together with it", "bad.json")


def test_a_name_that_is_there_twice(home, refused):
    text = (home / "maps.json").read_text()
    (home / "bad.json").write_text(text.replace('"rows": 5', '"rows": 5, "rows": 6'))
    refused("the Plan 'bad.json' says 'rows' twice in one place; leave one of the two.", "bad.json")


def test_two_plans_that_contradict_each_other_are_named_by_file(home, refused, capsys):
    message = "'maps.json' and 'other.json': the Plan's part 'maps' (found by graphhash) and "
    refused(message, "maps.json", "other.json")
    assert main(["plan", "merge", "maps.json", "other.json", "--out", "both.json"]) == 2
    assert message in (told := capsys.readouterr().err) and "both give the vocabulary 'user' its map" in told
    assert not (home / "both.json").exists()
    Plan(parts=(KeptFields(drop={"device": "weak"}, found_by=FoundBy(method="outrank")),)).save(home / "less.json")
    pair = Pairs(pairs=(PairOp(fields=("device", "ad"), op="factorise", dim=2),), found_by=FoundBy(method="optinter"))
    Plan(parts=(pair,)).save(home / "pairs.json")
    for plans in (("pairs.json", "less.json"), ("less.json", "pairs.json")):
        refused("'less.json' and 'pairs.json': the Plan's part 'fields' (found by outrank) and ", *plans)


@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        (("user", "adv"), {}, "the pair user x adv: no id field named 'adv'. Did you mean 'ad'?"),
        (("user", "seen_ads"), {}, "the pair user x seen_ads: 'seen_ads' is no field with one id per row"),
        (("user", "price"), {}, "'price' is no field with one id per row (a number gets ids with scale='quantile'"),
        (("user", "user"), {}, "the Plan 'pair.json': the Plan's part 'pairs' (found by hand): the pair user x user"),
        (("user", "ad"), {"op": "multiply"}, "'multiply' - at `$.parts[0].pairs[0].op`; known are memorise"),
        (("user", "ad"), {"op": "naive"}, "and a naive pair is not named. Correct it there, or write the Plan again."),
        (("user", "ad"), {"dim": 0}, "pair user x ad: dim 0 and min_count 2 are from 1"),
        (("user", "ad"), {"index": "hash", "buckets": 1}, "the cross user x ad has 1 buckets; give 2 to "),
        (("user",), {}, "Expected `array` of length 2, got 1 - at `$.parts[0].pairs[0].fields`"),
    ],
)  # fmt: skip
def test_a_pair_that_cannot_be(home, refused, fields, change, message):
    pair = {"fields": fields, "op": "memorise", "dim": 3, **change}
    part = {"kind": "pairs", "pairs": [pair], "found_by": {"method": "hand"}}
    (home / "pair.json").write_text(json.dumps({"parts": [part]}))
    refused(message, "pair.json")
