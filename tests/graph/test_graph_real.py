"""Real clicks: at few rows clusters beat hashes, private rows for the head help, and the control with labels wins."""

import numpy as np
import polars as pl
import pytest
import zstandard

from clicksmith.encode.encoder import Encoder
from clicksmith.evaluate.auc import auc
from clicksmith.fitting.job import fit
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.plan import Plan
from clicksmith.schema import Categorical, Label, Schema

SCHEMA = Schema(fields=(Categorical("user"), Categorical("movie")), label=Label("click"))
KINDS = ("graph", "random", "double", "frequency", "hybrid", "rate")


def ratings(file) -> pl.DataFrame:
    """Users, movies and whether the rating is above 3; ratings of 3 say neither."""
    with zstandard.open(file, "rt") as lines:
        cells = [line.split("::") for line in lines]
    found = [(user, movie, int(stars > "3")) for user, movie, stars, _ in cells if stars != "3"]
    return pl.DataFrame(found, schema=["user", "movie", "click"], orient="row")


@pytest.mark.slow
def test_maps_of_one_size_on_movielens_of_users_and_movies_alone(shared_data, tmp_path):
    """Four epochs at one setting: they do not train a whole table out, which is why there is none beside."""
    rows = ratings(shared_data / "movielens_1m" / "ratings.dat.zst").sample(fraction=1, shuffle=True, seed=0)
    test, valid, train = rows[:70_000], rows[70_000:110_000], rows[110_000:410_000]
    encoded = Encoder.fit_encode(SCHEMA, train, tmp_path / "rows")
    found: dict[str, float] = {}
    for name in KINDS:
        plan = Plan(parts=(graph_hash(*encoded, GraphHash(left="user", right="movie", kind=name, rows=0.07)),))
        run = fit(
            train, valid=valid, schema=SCHEMA, model="fm", options={"dim": 8}, plan=plan,
            out=tmp_path / name, settings={"epochs": 4, "batch_size": 1024, "learning_rate": 0.01},
        )  # fmt: skip
        found[name] = float(auc(test["click"].to_numpy(), run.predictor().predict(test)))
    clicks = int(test["click"].sum())
    error = np.sqrt(0.25 / min(clicks, 70_000 - clicks))  # of an AUC, at most
    told = ", ".join(f"{name} {value:.4f}" for name, value in found.items()) + f"; standard error {error:.4f}"
    print(told)
    assert found["graph"] > max(found["random"], found["double"]) + 3 * error, told
    assert found["hybrid"] > found["frequency"], told
    assert found["rate"] > found["graph"], told
