"""Real files: published vocabulary sizes, and Criteo's lines against a loop over them."""

import math
from collections import Counter

import numpy as np
import polars as pl

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.schema import Categorical, Label, Numeric, Schema


def test_frappe_has_the_5379_values_of_bars(shared_data, kernels):
    source = open_source(shared_data / "frappe" / "train.rebuilt.csv.zst")
    names = [name for name in source.columns if name != "label"]
    encoder = Encoder.fit(Schema(fields=tuple(Categorical(n) for n in names), label=Label("label")), source)
    assert sum(slot.rows - 2 for slot in encoder.layout.slots) == 5379 and encoder.rows == 202_027
    valid = [rows.ids for rows in encoder.stream(shared_data / "frappe" / "valid.csv.zst")]
    assert sum(map(len, valid)) == 57_722 and min(ids.min() for ids in valid) >= 1


def test_criteo_equals_a_loop_over_its_lines(shared_data, kernels, tmp_path):
    numbers, tokens = [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
    fields = (
        *(Numeric(n, scale="log_square", missing="zero", min_count=10) for n in numbers),
        *(Categorical(n, min_count=10) for n in tokens),
    )
    path = shared_data / "criteo_kaggle_10k" / "train_first10000.tsv.zst"
    source = open_source(path, columns=["label", *numbers, *tokens])
    encoder, store = Encoder.fit_encode(Schema(fields=fields, label=Label("label")), source, tmp_path / "rows")
    lines = pl.read_csv(path, separator="\t", has_header=False, infer_schema=False, new_columns=source.columns)
    got = store.slice(0, 10_000)
    for c, name in enumerate([*numbers, *tokens]):
        cells = [cell or "" for cell in lines[name]]
        if name in numbers:
            values = [int(cell or 0) for cell in cells]
            cells = [str(math.floor(math.log(v) ** 2) if v > 2 else v) for v in values]
        counts = Counter(cells)
        kept = sorted((v for v, n in counts.items() if n >= 10), key=lambda v, counts=counts: (-counts[v], v))
        ids = {v: i + 2 for i, v in enumerate(kept)}
        np.testing.assert_array_equal(got.ids[:, c], [ids.get(cell, 1) for cell in cells])
    assert got.labels[:, 0].tolist() == [float(label) for label in lines["label"]]
    assert encoder.rows == 10_000


def test_a_vocabulary_of_one_value_is_one():
    frame = pl.DataFrame({"a": ["x", "x"], "n": [7.0, 7.0], "click": [0, 1]})
    encoder = Encoder.fit(Schema(fields=(Categorical("a"), Numeric("n")), label=Label("click")), frame)
    got = encoder.encode([{"a": "x", "n": 7}, {"a": "y", "n": 8}])
    assert got.ids.tolist() == [[2], [1]] and got.numeric.tolist() == [[0.0], [1.0]]
