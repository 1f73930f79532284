"""Rows taken off a text file are encoded as the same rows of a frame, whatever their columns."""

import numpy as np
import polars as pl

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.fitting.chosen import Chosen
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Numeric, Schema, Side

SCHEMA = Schema(
    fields=(Categorical("user"), Categorical("ad"), Categorical("kind"), Numeric("price"), Bag("tags")),
    behaviours=(Behaviour("past", of="ad", sides=(Side("past_kinds", of="kind"), Side("gaps")), max_length=4),),
    label=Label("click"),
)


def test_chosen_rows_of_text_equal_chosen_rows_of_a_frame(tmp_path):
    random = np.random.default_rng(0)
    lists = [random.integers(1, 9, random.integers(0, 7)).tolist() for _ in range(400)]
    frame = pl.DataFrame(
        {
            "user": [f"u{n}" for n in random.integers(0, 50, 400)],
            "ad": [str(n) for n in random.integers(1, 9, 400)],
            "kind": [str(n) for n in random.integers(1, 9, 400)],
            "price": random.random(400).round(3),
            "tags": ["|".join(map(str, random.integers(1, 5, n))) for n in random.integers(1, 4, 400)],
            "past": ["|".join(map(str, item)) for item in lists],
            "past_kinds": ["|".join(map(str, item)) for item in lists],
            "gaps": ["|".join(map(str, item)) for item in lists],
            "click": random.integers(0, 2, 400),
        }
    )
    path = tmp_path / "log.csv"
    frame.write_csv(path)
    rows = np.sort(random.permutation(400)[:137])
    chosen = Chosen(open_source(path), rows, "some")
    encoder, store = Encoder.fit_encode(SCHEMA, chosen, tmp_path / "store")
    wanted = Encoder.fit(SCHEMA, frame[rows]).encode(frame[rows], labels=True)
    found = store.slice(0, 137)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_allclose(found.numeric, wanted.numeric)
    np.testing.assert_array_equal(found.bags["tags"], wanted.bags["tags"])
    np.testing.assert_array_equal(found.histories["past"], wanted.histories["past"])
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert encoder.layout == store.layout
