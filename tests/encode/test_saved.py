"""Encoders as plain files, numbers kept exactly, and the hash written down twice."""

import importlib
import json
import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.hashing import hash64, hashes
from clicksmith.encode.numbers import Adder, Moments
from clicksmith.errors import ArtifactError
from clicksmith.schema import Categorical, Label, Numeric, Schema

NAMES = ("native", "dictionary", "hashing", "numbers", "fitted", "few", "source", "delimited")
MODULES = [importlib.import_module(f"clicksmith.encode.{name}") for name in NAMES]
SCHEMA = Schema(
    fields=(Categorical("a", min_count=2), Numeric("n"), Numeric("q", scale="quantile", bins=2)), label=Label("click")
)
ROWS = pl.DataFrame(
    {"a": ["x", "ä", "x", "ä", "r"], "n": [1, 2, 3, None, 5], "q": [1, 2, 3, 4, None], "click": [0, 1] * 2 + [0]}
)


def test_a_saved_encoder_encodes_merges_and_extends_alike(kernels, tmp_path):
    encoder = Encoder.fit(SCHEMA, ROWS)
    encoder.save(tmp_path / "e")
    loaded = Encoder.load(tmp_path / "e")
    assert loaded.digest == encoder.digest and loaded.schema == SCHEMA and loaded.rows == 5
    assert loaded.encode(ROWS).ids.tolist() == encoder.encode(ROWS).ids.tolist()
    assert loaded.merge(loaded).digest == encoder.merge(encoder).digest
    assert loaded.merge(loaded).values("a") == ["x", "ä", "r"]
    assert loaded.extend(ROWS).values("a") == ["x", "ä", "r"]
    assert loaded.counts("a").tolist() == [0, 1, 2, 2]


def test_with_and_without_the_kernels_everything_is_equal(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    cells = [f"v{i}" for i in rng.zipf(1.5, 4000)]
    rows = pl.DataFrame({"a": cells, "n": rng.normal(size=4000), "q": rng.normal(size=4000), "click": [0, 1] * 2000})
    rows.write_csv(tmp_path / "log.csv")
    compiled, store = Encoder.fit_encode(SCHEMA, tmp_path / "log.csv", tmp_path / "compiled")
    compiled.save(tmp_path / "e")
    for module in MODULES:
        monkeypatch.setattr(module, "LIBRARY", None)
    plain, other = Encoder.fit_encode(SCHEMA, tmp_path / "log.csv", tmp_path / "plain")
    assert plain.digest == compiled.digest and plain.counts("a").tolist() == compiled.counts("a").tolist()
    loaded = Encoder.load(tmp_path / "e").encode(rows)
    for got in (other.slice(0, 4000), loaded):
        np.testing.assert_array_equal(got.ids, store.slice(0, 4000).ids)
        np.testing.assert_array_equal(got.numeric, store.slice(0, 4000).numeric)


def test_without_the_rare_values_ids_and_counts_stay(tmp_path):
    encoder = Encoder.fit(SCHEMA, ROWS)
    encoder.save(tmp_path / "e", rare=False)
    loaded = Encoder.load(tmp_path / "e")
    assert loaded.encode(ROWS).ids.tolist() == encoder.encode(ROWS).ids.tolist()
    assert loaded.counts("a").tolist() == encoder.counts("a").tolist()
    for action in (lambda: loaded.merge(encoder), lambda: encoder.merge(loaded), lambda: loaded.extend(ROWS)):
        with pytest.raises(ArtifactError, match="was saved without its rare values and cannot be merged or extended"):
            action()


def test_a_column_without_any_number_is_saved_and_merged(kernels, tmp_path):
    fields = (Categorical("a"), Numeric("n"), Numeric("s", scale="standard"), Numeric("q", scale="quantile", bins=2))
    empty = pl.DataFrame({"a": ["x", "y"], "n": [None, None], "s": [None, None], "q": [None, None], "click": [0, 1]})
    encoder = Encoder.fit(Schema(fields=fields, label=Label("click")), empty)
    encoder.save(tmp_path / "e")
    loaded = Encoder.load(tmp_path / "e")
    assert loaded.moments == encoder.moments and loaded.moments["n"].low is None
    full = Encoder.fit(encoder.schema, empty.with_columns(n=pl.Series([3.0, -1.0])))
    assert (loaded.merge(full).moments["n"].low, full.merge(loaded).moments["n"].high) == (-1.0, 3.0)


def test_damage_is_found(tmp_path):
    folder = tmp_path / "e"
    Encoder.fit(SCHEMA, ROWS).save(folder)
    manifest = folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"format": 1', '"format": 99'))
    with pytest.raises(
        ArtifactError, match=f"'{folder}' has format 99; this version reads up to 1. Update clicksmith."
    ):
        Encoder.load(folder)
    manifest.write_text(whole.replace('"kind": "encoder"', '"kind": "store"'))
    with pytest.raises(ArtifactError, match="holds a store, not a encoder"):
        Encoder.load(folder)
    manifest.write_text(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"manifest.json' is damaged"):
        Encoder.load(folder)
    manifest.write_text(whole)
    file = folder / json.loads(whole)["arrays"]["vocabulary:text"]["file"]
    text = file.read_bytes()
    file.write_bytes(b"y" + text[1:])
    with pytest.raises(ArtifactError, match=r"is damaged: its checksum differs from the manifest's. Write it again."):
        Encoder.load(folder)
    file.write_bytes(text[:-1])
    with pytest.raises(ArtifactError, match="is missing or truncated: 5 bytes are expected"):
        Encoder.load(folder)
    with pytest.raises(ArtifactError, match=r"is not a finished encoder: 'manifest.json' is missing. Write it again."):
        Encoder.load(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.floats(-1e150, 1e150), st.just(math.nan)), min_size=1, max_size=50), st.integers(0, 50))
def test_sums_are_exact_whatever_the_order_and_the_parts(kernels, values, cut):
    def moments(part) -> Moments:
        adder = Adder(Numeric("x"))
        for start in range(0, len(part), 7):
            adder.add(np.array(part[start : start + 7], np.float64))
        return adder.moments()

    def square(v: float) -> Fraction:
        return Fraction(v) ** 2 if v * v > 1e-280 else Fraction(v * v)

    there = [v for v in values if not math.isnan(v)]
    whole = moments(values)
    assert int(whole.total, 0) == sum(Fraction(v) for v in there) * 2**1074
    assert int(whole.squares, 0) == sum(square(v) for v in there) * 2**1074
    assert (whole.count, whole.missing) == (len(there), len(values) - len(there))
    assert moments(values[:cut]).merge(moments(values[cut:])) == whole == moments(values[::-1])
    if there:
        assert whole.mean == float(sum(map(Fraction, there)) / len(there))
        assert (whole.low, whole.high) == (min(there), max(there))


def test_a_large_offset_does_not_hide_the_deviation(kernels):
    x = 1.7e9 + np.arange(1000.0)
    adder = Adder(Numeric("x"))
    adder.add(x)
    assert adder.moments().deviation == pytest.approx(x.std(), rel=1e-9)


@given(st.lists(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=30), max_size=20))
def test_the_hash_in_c_is_the_hash_in_python(values):
    assert hashes(pl.Series(values, dtype=pl.String)).tolist() == [hash64(v) for v in values]
    assert hashes([*values, None]).tolist() == [*(hash64(v) for v in values), 0]


def test_the_hash_never_changes():
    """The buckets of saved encoders depend on it."""
    assert [hash64(v) % 1000 for v in ("", "a", "clicksmith")] == [678, 770, 596]


@pytest.mark.parametrize(("dtype", "shape"), [("|O", None), ("nonsense", None), (None, [-1])])
def test_arrays_that_clicksmith_does_not_write_are_not_read(tmp_path, dtype, shape):
    Encoder.fit(SCHEMA, ROWS).save(tmp_path / "e")
    path = tmp_path / "e" / "manifest.json"
    note = json.loads(path.read_text())
    entry = note["arrays"]["vocabulary:counts"]
    entry["dtype"], entry["shape"] = dtype or entry["dtype"], shape or entry["shape"]
    path.write_text(json.dumps(note))
    with pytest.raises(
        ArtifactError, match=r"is damaged: array 'vocabulary:counts' of type .* is none that clicksmith"
    ):
        Encoder.load(tmp_path / "e")
