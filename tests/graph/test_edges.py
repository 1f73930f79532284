"""Edges: counted like a dictionary would, the same however rows are cut, and what cannot be a graph is refused."""

import numpy as np
import pytest

from clicksmith.encode.layout import IdColumn, Layout, NumericColumn, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.graph import edges as module
from clicksmith.graph.edges import Edges, graph_of

LAYOUT = Layout(
    slots=(Slot("user", 12), Slot("item", 7), Slot("shop", 5), Slot("one", 3)),
    ids=(
        IdColumn("user", "user"),
        IdColumn("item", "item"),
        IdColumn("shop", "shop"),
        IdColumn("friend", "user"),
        IdColumn("one", "one"),
    ),
    numeric=(NumericColumn("price"),),
)


def store_of(rows: int = 300, seed: int = 0, click: float = 0.4) -> Store:
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(-1 if i == 1 else 0, LAYOUT.rows[c.slot], rows) for i, c in enumerate(LAYOUT.ids)], 1)
    return Store.of(
        EncodedRows(
            ids=ids.astype(np.int32),
            numeric=np.zeros((rows, 1), np.float32),
            labels=(rng.random((rows, 1)) < click).astype(np.float32),
        ),
        LAYOUT,
    )


def counted(store, right, clicks):
    """Count edges in a dictionary."""
    found, rows = {}, store.slice(0, store.rows)
    names = [c.name for c in LAYOUT.ids]
    starts = {"item": 0} if right == "item" else {"item": 0, "shop": 5, "one": 8}
    for ids, label in zip(rows.ids.tolist(), rows.labels[:, 0].tolist(), strict=True):
        for name, start in starts.items():
            u, v = ids[0] - 2, ids[names.index(name)] - 2
            if u >= 0 and v >= 0 and (label or not clicks):
                found[u, v + start] = found.get((u, v + start), 0) + 1
    return found


@pytest.mark.parametrize("clicks", [True, False])
@pytest.mark.parametrize("right", ["item", None])
@pytest.mark.parametrize("piece", [7, 1000])
def test_edges_are_counted(monkeypatch, piece, right, clicks):
    monkeypatch.setattr(module, "PIECE", piece)
    store = store_of()
    graph = graph_of(store, "user", right, clicks=clicks)
    e = graph.edges
    found = dict(zip(zip(e.left.tolist(), e.right.tolist(), strict=True), e.weight.tolist(), strict=True))
    assert found == counted(store, right, clicks)
    assert (np.diff(e.left.astype(np.int64) * e.shape[1] + e.right) > 0).all()
    users, labels = store.slice(0, 300).ids[:, 0], store.slice(0, 300).labels[:, 0]
    assert graph.met[0].tolist() == [int((users == u).sum()) for u in range(2, 12)]
    assert graph.clicked[0].tolist() == [int(labels[users == u].sum()) for u in range(2, 12)]


@pytest.mark.parametrize("right", ["item", None])
def test_empty_cells_make_no_edges_and_are_counted(right):
    store, no_one = store_of(), {"user": 4, "item": 3, "one": 2}
    graph, whole = (graph_of(store, "user", right, clicks=False, empty=empty) for empty in (no_one, {}))
    at = {"item": 3 - 2} if right else {"item": 3 - 2, "one": 8 + 2 - 2}
    expected = {k: w for k, w in counted(store, right, clicks=False).items() if k[0] != 2 and k[1] not in at.values()}
    e = graph.edges
    assert dict(zip(zip(e.left.tolist(), e.right.tolist(), strict=True), e.weight.tolist(), strict=True)) == expected
    assert [nodes.tolist() for nodes in graph.empty] == [[2], list(at.values())]
    for side in (0, 1):
        np.testing.assert_array_equal(graph.met[side], whole.met[side])


def test_merged_parts_are_the_whole():
    one, two = (graph_of(store_of(seed=s), "user", "item").edges for s in (1, 2))
    both = one.merge(two)
    assert both.weight.sum() == one.weight.sum() + two.weight.sum()
    again = two.merge(one)
    for name in ("left", "right", "weight"):
        np.testing.assert_array_equal(getattr(both, name), getattr(again, name))
    np.testing.assert_array_equal(both.matrix().toarray(), one.matrix().toarray() + two.matrix().toarray())
    assert set(both.unweighted().weight) == {1.0}
    with pytest.raises(DataError, match=r"edges of \(10, 5\) and of \(3, 3\) nodes"):
        one.merge(Edges.of([0], [0], [1], (3, 3)))


@pytest.mark.parametrize(
    ("left", "right", "error", "message"),
    [
        ("price", "item", UsageError, "'price' is numeric; a graph is made of fields with one id per row"),
        ("user", "usr", UsageError, "usr"),
        ("user", "user", UsageError, "left 'user' and right 'user' are the same ids"),
        ("user", "friend", UsageError, "left 'user' and right 'friend' are the same ids"),
        ("user", "one", DataError, "'one' has 1 id in the training rows"),
    ],
)
def test_what_is_no_graph_is_refused(left, right, error, message):
    with pytest.raises(error, match=message):
        graph_of(store_of(), left, right)


def test_a_graph_without_edges_is_refused():
    with pytest.raises(
        DataError, match=r"no clicked row has known ids of both 'user' and 'item'\. Give rows in which they meet"
    ):
        graph_of(store_of(click=0.0), "user", "item")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight):
    with pytest.raises(DataError, match=f"edge 1 has weight {weight}"):
        Edges.of([0, 1], [0, 1], [1.0, weight], (2, 2))
    with pytest.raises(DataError, match="an edge names right node 2; there are 2"):
        Edges.of([0, 1], [0, 2], [1.0, 1.0], (2, 2))
