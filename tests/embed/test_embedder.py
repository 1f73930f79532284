"""The embedder against loops over rows, columns and positions."""

from dataclasses import replace

import msgspec
import pytest
import torch

from clicksmith.batch.batch import History
from clicksmith.embed.embedder import Embed, Embedder, PoolOf, forget
from clicksmith.embed.numbers import Scaled
from clicksmith.embed.pooling import Mean, Sum
from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.embed.shape import Select, View
from clicksmith.encode.layout import HistoryColumn, HistoryLayout, IdColumn, Layout, Slot
from clicksmith.errors import CompositionError, UnknownNameError, UsageError
from clicksmith.testing.layouts import LAYOUTS, random_batch
from toys import ToyBottom

EVERYTHING = LAYOUTS["everything"]


def embedder(embed=None, layout=EVERYTHING, reads=("vectors",)):
    torch.manual_seed(0)
    module = Embedder(embed or Embed(dim=4), layout, reads)
    for store in row_stores(module):
        store.reset(1.0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2 and not any(parameter is s.weight for s in row_stores(module)):
                parameter.normal_()
    return module.double().eval()


def by_hand(columns, layout, inputs, row, name, reduce="mean"):
    """Return the vector of one field of one row."""
    store = columns.table.store

    def vector(slot, i):
        return store.weight[store.starts[slot] + int(i)]

    if (c := {c.name: (i, c) for i, c in enumerate(layout.ids)}.get(name)) is not None:
        return vector(c[1].slot, inputs.ids[row, c[0]])
    if (c := {c.name: i for i, c in enumerate(layout.numeric)}.get(name)) is not None:
        x = inputs.numeric[row, c].double()
        numbers = columns.numbers
        own = [n.name for n in layout.numeric].index(name)
        if x.isnan():
            return numbers.missing[own]
        return x * numbers.weight[own] + (numbers.bias[own] if numbers.bias is not None else 0)
    if (c := {c.name: c for c in layout.bags}.get(name)) is not None:
        found = [vector(c.slot, i) for i in inputs.bags[name][row] if i]
        total = sum(found, torch.zeros(store.dim, dtype=torch.float64))
        return total / max(len(found), 1) if reduce == "mean" else total
    at = [c.name for c in layout.vectors].index(name)
    return columns.vectors[at](inputs.vectors[name][row].double())


def pooled_by_hand(columns, history_layout, history, user, column, reduce="mean"):
    store = columns.table.store
    k = [c.name for c in history_layout.columns].index(column)
    slot = history_layout.columns[k].slot
    found = [
        store.weight[store.starts[slot] + int(history.ids[user, t, k])]
        for t in range(history.ids.shape[1])
        if history.mask[user, t]
    ]
    total = sum(found, torch.zeros(store.dim, dtype=torch.float64))
    return total / max(len(found), 1) if reduce == "mean" else total


@pytest.mark.parametrize("users", [None, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"everything"}))
def test_every_field_equals_the_loops(name, reduce, bias, users):
    compare(LAYOUTS[name], reduce, bias, users)


@pytest.mark.reference("plain", "scaled")
@pytest.mark.parametrize("users", [None, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "reduce",
    [
        pytest.param("mean", marks=pytest.mark.reference("mean")),
        pytest.param("sum", marks=pytest.mark.reference("sum")),
    ],
)
def test_every_field_of_data_of_all_kinds_equals_the_loops(reduce, bias, users):
    compare(EVERYTHING, reduce, bias, users)


def compare(layout, reduce, bias, users):
    embed = Embed(dim=4, numeric=Scaled(bias=bias), bag=reduce, pool=Mean() if reduce == "mean" else Sum())
    module, inputs = embedder(embed, layout), random_batch(layout, 6, users=users).inputs
    vectors = module(inputs).vectors
    assert vectors.shape == (6, len(module.shape.fields), 4)
    for row in range(6):
        user = row if inputs.owner is None else int(inputs.owner[row])
        for f, field in enumerate(module.shape.fields):
            if field.kind == "interest":
                history, column = field.name.split(".")
                declared = next(h for h in layout.histories if h.name == history)
                expected = pooled_by_hand(module.columns, declared, inputs.histories[history], user, column, reduce)
            else:
                expected = by_hand(module.columns, layout, inputs, row, field.name, reduce)
            torch.testing.assert_close(vectors[row, f], expected)


def test_the_field_axis_is_the_layouts_order_then_paired_and_unpaired_interests():
    names = [f.name for f in embedder().shape.fields]
    assert names == [*EVERYTHING.order, "clicks.item", "clicks.category", "clicks.gap", "carts.item"]


@pytest.mark.parametrize("order", [tuple(reversed(EVERYTHING.order)), tuple(sorted(EVERYTHING.order))])
def test_the_order_of_the_fields_moves_positions_and_nothing_else(order):
    moved = msgspec.structs.replace(EVERYTHING, order=order)
    inputs = random_batch(EVERYTHING, 5).inputs
    first, second = embedder(), embedder(layout=moved)
    second.load_state_dict(first.state_dict())
    here = {f.name: first(inputs).vectors[:, i] for i, f in enumerate(first.shape.fields)}
    there = {f.name: second(inputs).vectors[:, i] for i, f in enumerate(second.shape.fields)}
    assert here.keys() == there.keys()
    assert first.shape.digest != second.shape.digest
    for name, vector in here.items():
        assert torch.equal(vector, there[name])


def test_a_history_reads_the_table_of_its_target():
    module, inputs = embedder(), random_batch(EVERYTHING, 3).inputs
    item = inputs.ids[:, 1:2]
    ids = torch.zeros_like(inputs.histories["carts"].ids)
    ids[:, -1] = item
    vectors = module(replace(inputs, histories={**inputs.histories, "carts": History.of(ids)})).vectors
    names = [f.name for f in module.shape.fields]
    assert torch.equal(vectors[:, names.index("carts.item")], vectors[:, names.index("item")])


def test_one_gather_serves_all_fields_and_bags_of_a_step():
    module, calls = embedder(), []
    store = row_stores(module)[0]
    store.register_forward_hook(lambda *a: calls.append(1))
    module(replace(random_batch(EVERYTHING, 4).inputs))
    assert len(row_stores(module)) == 1
    assert len(calls) == 1 + len(EVERYTHING.histories)


def test_nothing_is_built_that_nobody_reads():
    assert not list(embedder(reads=()).parameters())
    only_view = embedder(reads=(View("first_order", 1),))
    assert only_view.columns is None and only_view(random_batch(EVERYTHING, 2).inputs).vectors.shape == (2, 0, 4)
    assert only_view.shape.fields == () and only_view.shape.flat == 0


def test_id_views_repeat_every_column_with_a_table_of_their_own():
    module = embedder(reads=("vectors", View("second", 3)))
    inputs = random_batch(EVERYTHING, 4, users=2).inputs
    view, columns = module(inputs).views["second"], module.views[0].columns
    selected = module.shape.selected(View("second", 3))
    assert view.shape == (4, len(selected), 3)
    for row in range(4):
        for f, field in enumerate(selected):
            if field.kind == "interest":
                history, column = field.name.split(".")
                declared = next(h for h in EVERYTHING.histories if h.name == history)
                user = int(inputs.owner[row])
                expected = pooled_by_hand(columns, declared, inputs.histories[history], user, column)
            else:
                expected = by_hand(columns, EVERYTHING, inputs, row, field.name)
            torch.testing.assert_close(view[row, f], expected)


def test_weights_of_a_history_are_not_those_of_the_candidate():
    module = embedder(reads=("vectors", View("weights", 1)))
    inputs = random_batch(EVERYTHING, 4, users=2).inputs
    view, (held,) = module(inputs).views["weights"], module.views
    for f, field in enumerate(module.shape.selected(View("weights", 1))):
        for row in range(4):
            if field.kind == "interest":
                name, column = field.name.split(".")
                declared = next(h for h in EVERYTHING.histories if h.name == name)
                expected = pooled_by_hand(held.past, declared, inputs.histories[name], int(inputs.owner[row]), column)
            else:
                expected = by_hand(held.columns, EVERYTHING, inputs, row, field.name)
            torch.testing.assert_close(view[row, f], expected)


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (Select(roles=("user",)), ["user", "age", "clicks.item", "clicks.category", "clicks.gap", "carts.item"]),
        (Select(kinds=("numeric", "vector")), ["price", "image", "age"]),
        (Select(names=("item", "tags"), kinds=("bag",)), ["tags"]),
        (Select(names=("nothing",)), []),
        (Select(names=("clicks.gap",)), ["clicks.gap"]),
    ],
)
def test_a_view_covers_what_is_selected(select, names):
    view = View("some", 2, of=select)
    module = embedder(reads=("vectors", view))
    assert [f.name for f in module.shape.selected(view)] == names
    assert module(random_batch(EVERYTHING, 3).inputs).views["some"].shape == (3, len(names), 2)


@pytest.mark.parametrize(("per", "several"), [("pair", 3), ("other", 2)])
def test_a_pair_view_holds_a_vector_per_field_and_field_or_other_field(per, several):
    view = View("aware", 2, of=Select(kinds=("id",)), per=per)
    module = embedder(reads=(view,))
    inputs = random_batch(EVERYTHING, 3).inputs
    out, store = module(inputs).views["aware"], module.views[0].columns.table.store
    assert out.shape == (3, 3, several, 2)
    row = store.weight[store.starts["item"] + int(inputs.ids[2, 1])]
    assert torch.equal(out[2, 1].flatten(), row)


def test_a_raw_view_gives_the_numbers_with_zero_for_missing():
    module = embedder(reads=(View("raw", 1, of=Select(names=("age",)), per="raw"),))
    inputs = random_batch(EVERYTHING, 8).inputs
    expected = [0.0 if x != x else x for x in inputs.numeric[:, 1].tolist()]
    assert module(inputs).views["raw"].flatten().tolist() == pytest.approx(expected)


def test_a_domain_view_is_a_vector_of_the_rows_domain():
    module = embedder(reads=(View("who", 3, per="domain"),))
    inputs = random_batch(EVERYTHING, 8).inputs
    out, weight = module(inputs).views["who"], module.views[0].table.store.weight
    for row in range(8):
        assert torch.equal(out[row, 0], weight[int(inputs.domain[row])])


def test_two_different_views_of_one_name_are_refused():
    with pytest.raises(CompositionError, match=r"two parts read different views named 'first_order' .*; rename one\."):
        embedder(reads=(View("first_order", 1), View("first_order", 2)))


def test_a_pool_can_be_chosen_per_history():
    embed = Embed(dim=4, pools=(PoolOf(history="carts", pool=Sum()),))
    kinds = [reader.pool.reduce for reader in embedder(embed).readers]
    assert kinds == ["mean", "sum"]
    with pytest.raises(UnknownNameError, match=r"no history named 'cart'\. Did you mean 'carts'\?"):
        embedder(Embed(pools=(PoolOf(history="cart", pool=Sum()),)))


def test_a_second_pool_for_a_history_is_refused():
    with pytest.raises(UsageError, match=r"^Embed has 2 pools for history 'carts'; keep one\.$"):
        Embed(pools=(PoolOf(history="carts", pool=Sum()), PoolOf(history="carts", pool=Mean())))


def test_a_history_paired_with_no_id_field_is_refused():
    layout = Layout(
        slots=(Slot("a", 3),),
        ids=(IdColumn("a", "a"),),
        histories=(HistoryLayout("h", (HistoryColumn("x", "a", "b"),), 2),),
    )
    with pytest.raises(CompositionError) as error:
        Embedder(Embed(), layout)
    assert str(error.value) == (
        "column 'x' of history 'h' is paired with 'b', which is no id field; pair it with one of: a."
    )


def test_unseen_rate_replaces_known_ids_in_training_only_and_by_torchs_generator():
    embed = Embed(dim=4, unseen_rate=0.4)
    module, inputs = embedder(embed), random_batch(EVERYTHING, 64).inputs
    assert torch.equal(module(inputs).vectors, module(inputs).vectors)
    module.train()
    torch.manual_seed(5)
    first = module(inputs).vectors
    torch.manual_seed(5)
    assert torch.equal(first, module(inputs).vectors)
    assert not torch.equal(first, module(inputs).vectors)


def test_forgetting_keeps_padding_unseen_ids_and_masks():
    inputs = random_batch(EVERYTHING, 2000).inputs
    forgotten = forget(inputs, 0.25)
    known = inputs.ids > 1
    share = (forgotten.ids[known] == 1).float().mean()
    assert 0.2 < share < 0.3
    assert torch.equal(forgotten.ids[~known], inputs.ids[~known])
    for name, history in forgotten.histories.items():
        assert torch.equal(history.ids == 0, inputs.histories[name].ids == 0)
        assert torch.equal(history.mask, inputs.histories[name].mask)
    assert torch.equal(forgotten.bags["tags"] == 0, inputs.bags["tags"] == 0)


def test_merged_numbers_stand_where_the_first_number_stood_and_views_keep_every_number():
    module = embedder(Embed(dim=4, numeric=ToyBottom()), reads=("vectors", View("first_order", 1)))
    names = [f.name for f in module.shape.fields]
    assert names[: len(EVERYTHING.order) - 1] == ["user", "bottom", "tags", "item", "category", "image", "genres"]
    inputs = random_batch(EVERYTHING, 3).inputs
    fields = module(inputs)
    merged = module.columns.numbers.linear(inputs.numeric.double().nan_to_num())
    torch.testing.assert_close(fields.vectors[:, 1], merged)
    assert fields.views["first_order"].shape == (3, len(EVERYTHING.order) + 4, 1)


@pytest.mark.parametrize("kept", ["ids", "numeric", "bags", "vectors", "histories"])
def test_one_kind_of_column_alone_is_enough(kept):
    empty = dict.fromkeys(("ids", "numeric", "bags", "vectors", "histories"), ())
    layout = msgspec.structs.replace(EVERYTHING, **{**empty, kept: getattr(EVERYTHING, kept)}, order=())
    if kept == "histories":
        columns = tuple(msgspec.structs.replace(c, of=None) for c in EVERYTHING.histories[0].columns)
        layout = msgspec.structs.replace(
            layout, histories=(msgspec.structs.replace(EVERYTHING.histories[0], columns=columns),)
        )
    module = embedder(layout=layout, reads=("vectors", View("first_order", 1)))
    fields = module(random_batch(layout, 3).inputs)
    assert fields.vectors.shape == (3, len(module.shape.fields), 4)
    assert fields.views["first_order"].shape == (3, len(module.shape.fields), 1)


def test_scoring_first_does_not_spoil_training():
    module, inputs = embedder(), random_batch(EVERYTHING, 3).inputs
    with torch.inference_mode():
        module(inputs)
    module(inputs).vectors.sum().backward()


def test_a_table_of_many_columns_is_one_store():
    slots = tuple(Slot(f"s{i}", 5) for i in range(20))
    layout = Layout(slots=slots, ids=tuple(IdColumn(s.name, s.name) for s in slots))
    module = Embedder(Embed(dim=2), layout)
    assert [type(m) for m in module.modules()].count(RowStore) == 1
    assert module(random_batch(layout, 3).inputs).vectors.shape == (3, 20, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "the embedding dim is 0; it must be at least 1."),
        ({"unseen_rate": 1.0}, "unseen_rate is 1.0; it must be at least 0 and below 1."),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Embed(**options)
    assert str(caught.value) == message
