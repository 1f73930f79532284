"""The hashed table against its formula, id by id, in Python's whole numbers."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from clicksmith.batch.batch import Inputs
from clicksmith.embed.hashed import PRIME, Hashed
from clicksmith.embed.sockets import TableShape
from clicksmith.embed.views import CrossView
from clicksmith.encode.hashing import hash64
from clicksmith.encode.layout import ZERO, IdColumn, Layout, Slot
from clicksmith.errors import CompositionError
from clicksmith.interact.linear import CrossedWeights
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.testing.layouts import LAYOUTS, random_batch

SHAPE = TableShape((("user", 2_000_000_000), ("item", 50)), 3)
SLOTS = ("item", "user", "item")


def bucket(slot, number, bits):
    if number == 0:
        return 0
    a, b = 1 + hash64(f"{slot} *") % (PRIME - 1), hash64(f"{slot} +") % PRIME
    return 1 + (a * number + b) % PRIME % 2**bits


@pytest.mark.reference("hashed")
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("bits", [1, 4, 12])
def test_ids_share_the_rows_of_their_buckets(bits, dtype):
    table = Hashed(bits=bits).build(SHAPE).double()
    table.store.reset(1.0)
    ids = torch.tensor([[1, 1, 0], [49, 0, 7], [7, 1_999_999_999, 7]], dtype=dtype)
    expected = torch.stack(
        [torch.stack([table.store.weight[bucket(s, i, bits)] for s, i in zip(SLOTS, row, strict=True)])
         for row in ids.tolist()]
    )  # fmt: skip
    torch.testing.assert_close(table(ids, SLOTS), expected, atol=0, rtol=0)


def test_the_gradient_of_a_bucket_is_the_sum_over_all_that_share_it():
    table = Hashed(bits=2).build(SHAPE)
    ids = torch.randint(0, 50, (200, 3), dtype=torch.int32)
    table(ids, SLOTS).sum().backward()
    expected = torch.zeros(5)
    for row in ids.tolist():
        for slot, number in zip(SLOTS, row, strict=True):
            expected[bucket(slot, number, 2)] += 1
    expected[0] = 0  # padding
    torch.testing.assert_close(table.store.weight.grad, expected.unsqueeze(1).expand(5, 3))


def test_buckets_are_those_of_every_machine_and_fill_evenly():
    assert [bucket("user", i, 18) for i in (1, 2, 3)] == [169775, 147790, 125806]
    counts = torch.bincount(torch.tensor([bucket("item", i, 6) for i in range(1, 64_001)]), minlength=65)[1:]
    assert counts.min() > 850 and counts.max() < 1150


def test_the_model_adds_one_shared_weight_for_each_feature():
    layout = LAYOUTS["ids"]
    model = CTRModel(model_spec("hashed_lr", bits=4), layout).double().eval()
    (store,) = (m for m in model.modules() if hasattr(m, "reset"))
    store.reset(1.0)
    assert model.parameter_counts().embedding == 2**4 + 1
    inputs = random_batch(layout, 20).inputs
    weights = store.weight.flatten()
    logits = [
        sum(weights[bucket(c.slot, i, 4)] for c, i in zip(layout.ids, row, strict=True)) + model.head.bias.squeeze()
        for row in inputs.ids.tolist()
    ]
    torch.testing.assert_close(model(inputs).logits.squeeze(1), torch.stack(logits))


@pytest.mark.reference("crossed_weights")
def test_crosses_add_one_weight_for_each_pair_of_ids_and_none_where_one_is_missing():
    layout = LAYOUTS["ids"]
    model = CTRModel(model_spec("hashed_lr", bits=5, crosses=True), layout).double().eval()
    single, crossed = (m for m in model.modules() if hasattr(m, "reset"))
    for store in (single, crossed):
        store.reset(1.0)
    inputs = random_batch(layout, 40).inputs
    inputs.ids[::7, 0] = 0
    inputs.ids[1::7, -1] = 1
    logits = []
    for row in inputs.ids.tolist():
        total = model.head.bias.squeeze().clone()
        for c, i in zip(layout.ids, row, strict=True):
            total += single.weight[bucket(c.slot, i, 5)].squeeze()
        for x, (a, i) in enumerate(zip(layout.ids, row, strict=True)):
            for b, j in list(zip(layout.ids, row, strict=True))[x + 1 :]:
                if i and j:
                    number = 1 + (i * layout.rows[b.slot] + j) % (PRIME - 1)
                    total += crossed.weight[bucket(f"{a.name} x {b.name}", number, 5)].squeeze()
        logits.append(total)
    torch.testing.assert_close(model(inputs).logits.squeeze(1), torch.stack(logits))
    assert model.parameter_counts().embedding == 2 * (2**5 + 1)


def test_a_value_that_a_plan_drops_to_zero_is_in_no_cross_and_needs_no_gate():
    layout = LAYOUTS["ids"]
    model = CTRModel(model_spec("hashed_lr", bits=5, crosses=True), layout)
    for store in (m for m in model.modules() if hasattr(m, "reset")):
        store.reset(1.0)
    (view,) = (module for module in model.modules() if isinstance(module, CrossView))
    inputs = random_batch(layout, 12).inputs
    inputs.ids.clamp_(min=2)
    inputs.ids[:, 0] = ZERO
    gates = []

    def gate(ids, _):
        gates.append(ids)
        return torch.ones(*ids.shape, 1)

    vectors = view(inputs, gate)
    with_first = (view.pairs == 0).any(0)
    assert with_first.any() and not vectors[:, with_first].any() and vectors[:, ~with_first].any()
    assert int(gates[0].min()) == 0


def test_crosses_find_what_only_a_pair_says():
    layout = Layout(slots=(Slot("a", 8), Slot("b", 8)), ids=(IdColumn("a", "a"), IdColumn("b", "b")), order=("a", "b"))
    a, b = (x.flatten() for x in torch.meshgrid(torch.arange(2, 8), torch.arange(2, 8), indexing="ij"))
    inputs, labels = Inputs(torch.stack([a, b], 1).int(), torch.zeros(36, 0)), ((a + b) % 2).float()
    for crosses, right in ((False, False), (True, True)):
        torch.manual_seed(0)
        model = CTRModel(model_spec("hashed_lr", bits=12, crosses=crosses), layout)
        adam = torch.optim.Adam(model.parameters(), 0.1)
        for _ in range(60):
            adam.zero_grad()
            binary_cross_entropy_with_logits(model(inputs).logits.squeeze(1), labels).backward()
            adam.step()
        found = (model(inputs).logits.squeeze(1) > 0) == labels.bool()
        assert found.all().item() is right


def test_crosses_without_a_hashed_table_are_refused():
    spec = ModelSpec(interact=CrossedWeights())
    with pytest.raises(CompositionError, match=r"the view 'crosses' .* use view_table=Hashed\(bits=18\)"):
        CTRModel(spec, LAYOUTS["ids"])


@pytest.mark.parametrize("bits", [0, 31])
def test_a_size_that_cannot_be_is_refused(bits):
    with pytest.raises(CompositionError, match=rf"^hashed bits={bits}: give 1 to 30, as in bits=18"):
        Hashed(bits=bits)
