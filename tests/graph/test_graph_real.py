"""Real clicks: at few rows clusters beat hashes, private rows for the head help, and the control with labels wins."""

import msgspec
import numpy as np
import polars as pl
import pytest
import zstandard

from clicksmith.embed.table import Plain
from clicksmith.encode.encoder import Encoder
from clicksmith.evaluate.auc import auc
from clicksmith.fitting.job import fit
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.models.fm import fm
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


def visits(file) -> pl.DataFrame:
    """Users and the places where they were, from lines of a user and its places."""
    with zstandard.open(file, "rt") as lines:
        found = [line.split() for line in lines]
    return pl.DataFrame({"user": [f[0] for f in found], "place": [f[1:] for f in found]}).explode("place").drop_nulls()


def beside_as_popular(there: pl.DataFrame, known: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return visits, and as many pairs that are not `known`: the place that a visit by chance went to.

    Popularity says nothing of such a label; only whom a place suits does.
    """
    drawn = known["place"].sample(there.height, with_replacement=True, seed=seed)
    other = there.with_columns(drawn).join(known, on=["user", "place"], how="anti")
    rows = pl.concat([there.with_columns(click=pl.lit(1)), other.with_columns(click=pl.lit(0))])
    return rows.sample(fraction=1, shuffle=True, seed=seed)


@pytest.mark.slow
def test_maps_of_one_size_on_gowalla(shared_data, tmp_path):
    """LightGCN's split with a sixth of the rows, as pairs: what is known of clusters in retrieval holds for clicks."""
    folder = shared_data / "gowalla_m1"
    seen, unseen = visits(folder / "train.sorted.txt.zst"), visits(folder / "test.txt.zst")
    known = pl.concat([seen, unseen])
    seen = seen.sample(fraction=1, shuffle=True, seed=0)
    train, valid = (beside_as_popular(part, known, seed=1) for part in (seen[40_000:], seen[:40_000]))
    test = beside_as_popular(unseen, known, seed=2)
    schema = Schema(fields=(Categorical("user"), Categorical("place")), label=Label("click"))
    encoded = Encoder.fit_encode(schema, train, tmp_path / "rows")
    spec = fm(dim=16)
    model = msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=Plain(std=0.1)))
    found: dict[str, float] = {}
    for name in ("full", "graph", "random", "double", "frequency", "hybrid"):
        small = GraphHash(left="user", right="place", kind=name, rows=0.16) if name != "full" else None
        plan = Plan(parts=(graph_hash(*encoded, small),)) if small else ()
        run = fit(
            train, valid=valid, schema=schema, model=model, plan=plan,
            out=tmp_path / name, settings={"epochs": 8, "batch_size": 4096, "learning_rate": 0.01, "patience": 8,
                      "plateau_factor": 1.0, "table_l2": 1e-5},
        )  # fmt: skip
        found[name] = float(auc(test["click"].to_numpy(), run.predictor().predict(test)))
    error = 0.5 / np.sqrt(int(test["click"].sum()))  # of an AUC, at most
    told = ", ".join(f"{name} {value:.4f}" for name, value in found.items()) + f"; standard error {error:.4f}"
    print(told)
    assert found["graph"] > found["double"] + 3 * error, told
    assert found["double"] > found["random"] + 3 * error, told
    assert found["hybrid"] > max(found["graph"], found["frequency"]), told
    assert found["full"] - 0.01 < found["hybrid"] < found["full"], told
