"""Maps whose model is known: one row is no field, other numbers of rows are the same model, later ids are told."""

import numpy as np
import polars as pl
import pytest
import torch

from clicks import clicks
from clicksmith.batch.batch import batch_of
from clicksmith.embed.rows import row_stores
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.vocabulary import FIRST
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.graph.cluster import MODULES
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.models import MODELS
from clicksmith.models.planned import spec_under
from clicksmith.plan import FoundBy, IdMap, IdMaps, Plan
from clicksmith.plan.apply import apply_plan, numbering
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

    def noted(self, text):
        self.said(f"note: {text}")


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


def built(plan, name, encoder=None):
    """Return the model under a plan with large weights, and the encoder that goes with it."""
    applied = apply_plan(plan, encoder or ENCODER)
    model = new_model(spec_under(applied, MODELS[name]()), applied.encoder.layout, 0)
    for store in row_stores(model):
        store.reset(0.5)
    return model.eval(), applied.encoder


def logits(model, encoder):
    with torch.no_grad():
        return model(batch_of(encoder.encode(VALID)).inputs).logits


ENCODER = Encoder.fit(SCHEMA, ROWS)
USERS = ENCODER.layout.rows["user"] - FIRST


def test_one_row_for_all_ids_is_the_model_without_the_field_up_to_a_bias():
    known = VALID.filter(pl.col("user").is_in(ROWS["user"].implode()))
    shared, under = built(map_of(ENCODER, np.zeros(USERS, np.int32)), "lr")
    without, less = built(Plan(), "lr", Encoder.fit(Schema(fields=SCHEMA.fields[1:], label=Label("click")), ROWS))
    (all_of,), (rest,) = row_stores(shared), row_stores(without)
    with torch.no_grad():
        for slot, rows in less.layout.rows.items():
            at, to = all_of.starts[slot], rest.starts[slot]
            rest.weight[to : to + rows] = all_of.weight[at : at + rows]
        bias = all_of.weight[all_of.starts["user"] + FIRST]
        found = [m(batch_of(e.encode(known)).inputs).logits for m, e in ((shared, under), (without, less))]
    assert known.height > 50 and found[0].std() > 0.1
    torch.testing.assert_close(found[0], found[1] + bias)


@pytest.mark.parametrize("name", ["lr", "fm", "deepfm"])
def test_rows_under_other_numbers_are_the_same_model(name):
    rows, order = np.arange(USERS) % 7, np.array([3, 6, 0, 2, 5, 1, 4])
    (one, first), (two, second) = built(map_of(ENCODER, rows), name), built(map_of(ENCODER, order[rows]), name)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        for before, after in zip(row_stores(one), row_stores(two), strict=True):
            at = before.starts["user"] + FIRST
            after.weight[at + torch.from_numpy(order)] = before.weight[at : at + 7]
    found = logits(one, first)
    assert found.std() > 0.1
    assert torch.equal(found, logits(two, second))
    assert not torch.equal(found, logits(one, second))


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


@pytest.mark.parametrize("library", ["scikit-network", "networkit"])
def test_the_library_that_is_asked_for_clusters_and_is_recorded(encoded, library):
    pytest.importorskip(MODULES[library])
    options = {"left": "user", "right": "ad", "kind": "graph", "rows": 4, "edges": "all"}
    made = graph_hash(*encoded, GraphHash(library=library, **options))
    assert made.found_by.settings["library"] == library
    assert {slot: one.rows - FIRST for slot, one in made.slots.items()} == {"user": 4, "ad": 4}


def test_search_and_fit_say_that_a_map_is_old(tmp_path):
    later = VALID.with_columns(user=VALID["user"].str.replace("u[12]", "new"))
    told, out = Told(), tmp_path / "plan.json"
    options = {"left": "user", "right": "ad", "rows": 6, "maps": "left"}
    search("graphhash", ROWS, valid=later, schema=SCHEMA, out=out, options=options, progress=told)
    fitted(out, tmp_path / "run", valid=later, progress=told)
    old = [line for line in told.lines if "find the map again" in line]
    assert len(old) == 2 and all(line.startswith("note: valid: user: ") for line in old)
