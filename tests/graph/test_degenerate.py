"""Maps whose model is known: one row is no field, other numbers of rows are the same model, later ids are told."""

import numpy as np
import polars as pl
import pytest

from clicks import clicks
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.vocabulary import FIRST
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.plan import FoundBy, IdMap, IdMaps, Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.job import search
from clicksmith.serve.predictor import load

ROWS, VALID = clicks(600), clicks(200, 1)
SCHEMA = Schema(fields=(Categorical("user"), Categorical("ad"), Categorical("device")), label=Label("click"))


class Told(Quiet):
    """Remembers what is said."""

    def __init__(self):
        self.lines = []

    def said(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    return Encoder.fit_encode(SCHEMA, ROWS, tmp_path_factory.mktemp("rows") / "train")


def map_of(encoder, rows):
    ids = Array(np.concatenate([np.arange(FIRST), rows + FIRST]).astype(np.int32))
    one = IdMap(rows=int(ids.values.max()) + 1, ids=ids)
    at = {"user": numbering(encoder)["user"]}
    return Plan(parts=(IdMaps(slots={"user": one}, numbering=at, found_by=FoundBy(method="hand")),))


def fitted(plan, out, **more):
    given = {
        "valid": VALID,
        "schema": SCHEMA,
        "model": "lr",
        "settings": {"epochs": 3, "learning_rate": 0.05, "table_l2": 0.05},  # rows forget what they began with
        "seed": 0,
    }
    return load(fit(ROWS, plan=plan, out=out, **(given | more)).path)


def test_one_row_for_all_ids_is_the_model_without_the_field_up_to_a_bias(encoded, tmp_path):
    users = encoded[0].layout.rows["user"] - FIRST
    predictor = fitted(map_of(encoded[0], np.zeros(users, np.int32)), tmp_path / "one")
    one, other = (VALID.with_columns(user=pl.lit(user)) for user in ("u1", "u2"))
    np.testing.assert_array_equal(predictor.predict(one), predictor.predict(other))


def test_rows_under_other_numbers_are_the_same_model(encoded, tmp_path):
    users = encoded[0].layout.rows["user"] - FIRST
    rows = np.arange(users) % 7
    renamed = np.array([3, 6, 0, 2, 5, 1, 4])[rows]
    one, two = (fitted(map_of(encoded[0], r), tmp_path / str(i)) for i, r in enumerate((rows, renamed)))
    scores = one.predict(VALID)
    assert scores.std() > 0.01  # it has learned
    np.testing.assert_allclose(scores, two.predict(VALID), atol=1e-3)


def test_clusters_cut_by_rate_lie_within_clusters(encoded):
    def ids(**options):
        return graph_hash(*encoded, GraphHash(left="user", right="ad", edges="all", **options)).slots["user"].ids.values

    cut, clusters = ids(kind="graph_rate", rows=16), ids(rows=4)
    of_row = np.zeros(18, np.int32)
    of_row[cut] = clusters
    np.testing.assert_array_equal(of_row[cut], clusters)
    _, store = encoded
    users, labels = store.slice(0, store.rows).ids[:, 0], store.targets["labels"][:, 0]
    rates = np.array([labels[cut[users] == row].mean() for row in range(FIRST, 18)])
    for cluster in set(clusters[FIRST:].tolist()):
        own = rates[of_row[FIRST:] == cluster]
        assert len(own) == 1 or own.max() - own.min() > 0.1  # the bins of a cluster differ by what they are cut by


def test_search_and_fit_say_that_a_map_is_old(tmp_path):
    later = VALID.with_columns(user=VALID["user"].str.replace("u[12]", "new"))
    told, out = Told(), tmp_path / "plan.json"
    options = {"left": "user", "right": "ad", "rows": 6, "maps": "left"}
    search("graphhash", ROWS, valid=later, schema=SCHEMA, out=out, options=options, progress=told)
    fitted(out, tmp_path / "run", valid=later, progress=told)
    old = [line for line in told.lines if "find the map again" in line]
    assert len(old) == 2 and all(line.startswith("note: valid: user: ") for line in old)
