"""The table of two rows per id against a loop over the ids, and inside models."""

import numpy as np
import pytest
import torch

from clicksmith.embed.sockets import TableShape
from clicksmith.embed.summed import Summed, SummedSlot
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import Layout
from clicksmith.errors import CompositionError
from clicksmith.models import model_spec
from clicksmith.models.planned import fill_maps, spec_under
from clicksmith.models.spec import CTRModel
from clicksmith.plan.apply import Applied
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import IdMap
from clicksmith.testing.layouts import LAYOUTS, random_batch
from clicksmith.train.rows import row_optimizers

SHAPE = TableShape((("user", 50), ("shop", 9), ("item", 30)), 3)
SLOTS = ("item", "user", "shop", "item")


def maps(ids, rows, seed):
    rng = np.random.default_rng(seed)
    one, two = (np.r_[0, 1, rng.integers(2, rows, ids - 2)].astype(np.int32) for _ in range(2))
    return one, two


def filled(shape=SHAPE):
    table = Summed(slots=(SummedSlot("user", 11), SummedSlot("item", 7)), std=1.0).build(shape).double()
    found = {"user": maps(50, 11, 1), "item": maps(30, 7, 2)}
    for slot, both in found.items():
        table.fill(slot, *both)
    return table, found


@pytest.mark.reference("summed")
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("lead", [(6,), (2, 3)])
def test_vectors_are_sums_of_two_rows(lead, dtype):
    table, found = filled()
    ids = torch.randint(0, 9, (*lead, 4), dtype=dtype)
    ids.view(-1, 4)[0] = torch.tensor([0, 0, 0, 29], dtype=dtype)
    out = table(ids, SLOTS).view(-1, 4, 3)
    weight, starts = table.store.weight, table.store.starts
    for n, row in enumerate(ids.view(-1, 4).tolist()):
        for c, (slot, i) in enumerate(zip(SLOTS, row, strict=True)):
            local = [found[slot][k][i] for k in (0, 1)] if slot in found else [i]
            expected = sum(weight[starts[slot] + int(r)] for r in local)
            torch.testing.assert_close(out[n, c], expected, atol=0, rtol=0)
    assert (out[0, :3] == 0).all()  # padding


def test_the_rows_are_as_few_as_asked_and_gradients_add_up():
    table, found = filled()
    assert table.store.weight.shape == (11 + 9 + 7, 3)
    ids = torch.arange(50, dtype=torch.int32).unsqueeze(1)
    table(ids, ("user",)).sum().backward()
    expected = np.bincount(np.concatenate(found["user"]), minlength=11).astype(float)
    expected[0] = 0
    torch.testing.assert_close(table.store.weight.grad[:11, 0], torch.tensor(expected, dtype=torch.float64))


def test_sums_with_padding_are_the_plain_table():
    plain = Plain(std=1.0).build(SHAPE)
    table = Summed(slots=(SummedSlot("item", 30),), std=1.0).build(SHAPE)
    table.fill("item", np.arange(30), np.zeros(30))
    table.store.load_state_dict(plain.store.state_dict())
    ids = torch.randint(0, 9, (20, 4), dtype=torch.int32)
    torch.testing.assert_close(table(ids, SLOTS), plain(ids, SLOTS), atol=0, rtol=0)


def test_a_slot_that_another_table_holds_is_left_out_and_wrong_maps_are_refused():
    table = Summed(slots=(SummedSlot("shop", 4), SummedSlot("other", 3))).build(SHAPE)
    table.fill("other", np.zeros(5), np.zeros(5))
    assert table.maps.shape == (2, 9)
    with pytest.raises(CompositionError, match="the map of 'shop' gives 8 ids rows up to 3; the model's table has 9"):
        table.fill("shop", np.arange(8) % 4, np.zeros(8))
    with pytest.raises(CompositionError, match="9 ids and 4 rows"):
        table.fill("shop", np.arange(9), np.zeros(9))


def doubled(layout: Layout) -> Applied:
    doubles = {}
    for k, slot in enumerate(layout.slots[:2]):
        one, two = maps(slot.rows, 5, k)
        doubles[slot.name] = IdMap(rows=5, ids=Array(one), second=Array(two))
    return Applied(encoder=None, doubles=doubles)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lr", "fm", "deepfm", "ffm", "dcnv2", "din"])
def test_backbones_take_it_and_their_weights_hold_the_maps(name):
    layout = LAYOUTS["everything" if "everything" in LAYOUTS else next(iter(LAYOUTS))]
    applied = doubled(layout)
    spec = spec_under(applied, model_spec(name))
    model, copy = CTRModel(spec, layout).eval(), CTRModel(spec, layout).eval()
    fill_maps(applied, model)
    inputs = random_batch(layout, 12).inputs
    copy.load_state_dict(model.state_dict())
    torch.testing.assert_close(copy(inputs).logits, model(inputs).logits, atol=0, rtol=0)
    whole = CTRModel(model_spec(name), layout).parameter_counts().embedding
    assert model.parameter_counts().embedding < whole


def test_a_table_of_its_own_form_is_refused():
    layout = LAYOUTS["ids"]
    with pytest.raises(CompositionError, match="needs a plain table"):
        spec_under(doubled(layout), model_spec("hashed_lr"))


def test_mini_batch_aware_l2_counts_the_ids_of_both_rows():
    table, found = filled()
    counts = {slot: torch.randint(1, 9, (ids,)).float() for slot, ids in SHAPE.slots}
    (optimizer,) = row_optimizers(table, name="adam", l2=0.1, counts=counts).optimizers
    wanted = []
    for slot, ids in SHAPE.slots:
        rows = {"user": 11, "item": 7}.get(slot, ids)
        each = [0.0] * rows
        for i in range(ids):
            for row in [maps_[i] for maps_ in found[slot]] if slot in found else [i]:
                each[int(row)] += float(counts[slot][i])
        wanted += each
    assert optimizer.decay.counts.tolist() == wanted
