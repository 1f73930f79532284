"""DIN's pool against its formula, written as loops (specification of DIN, acceptance tests 1 to 4)."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from clicksmith.embed.sockets import HistoryShape
from clicksmith.encode.layout import HistoryColumn, HistoryLayout, Layout, Slot
from clicksmith.errors import CompositionError
from clicksmith.models.din import din
from clicksmith.models.spec import shapes_of
from clicksmith.sequence import DIN, Mean, Sum
from clicksmith.sequence.din import SHORT

SHAPE = HistoryShape(("item", "category"), ("gap",), 3, 5)


def history(users=4, time=5, seed=0):
    random = torch.Generator().manual_seed(seed)
    keys = torch.randn(users, time, 2, 3, generator=random, dtype=torch.float64)
    only = torch.randn(users, time, 1, 3, generator=random, dtype=torch.float64)
    query = torch.randn(users, 2, 3, generator=random, dtype=torch.float64)
    lengths = torch.randint(1, time + 1, (users, 1), generator=random)
    return keys, only, torch.arange(time).flip(0) < lengths, query


def unit(shape=SHAPE, **options):
    torch.manual_seed(0)
    return DIN(units=(6, 4), **options).build(shape).double().eval()


def by_hand(pool, keys, only, mask, query, softmax):
    """Return the interests of one row, position by position, from the unfolded first layer."""
    q = query.flatten()
    scores = []
    for t in range(keys.shape[0]):
        e = keys[t].flatten()
        x = torch.cat([q, e, q - e, q * e, only[t].flatten()])
        for layer in pool.layers:
            x = torch.relu(layer(x))
        scores.append(pool.out(x)[0])
    if softmax:
        weights = [torch.exp(s / len(q) ** 0.5) * m for s, m in zip(scores, mask, strict=True)]
        weights = [w / sum(weights) for w in weights]
    else:
        weights = [s * m for s, m in zip(scores, mask, strict=True)]
    return sum(w * keys[t] for t, w in enumerate(weights))


@pytest.mark.reference("din")
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("time", [5, SHORT - 1, SHORT])
def test_folded_weights_equal_the_unfolded_formula(softmax, time):
    keys, only, mask, query = history(time=time)
    pool = unit(activation="relu", softmax=softmax)
    out = pool.read(pool.encode(keys, only, mask), query, None)
    for row in range(4):
        expected = by_hand(pool, keys[row], only[row], mask[row], query[row], softmax)
        torch.testing.assert_close(out[row], expected, rtol=1e-6, atol=1e-8)


def test_a_program_for_histories_of_any_length_can_be_traced():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = DIN(units=(6,), activation="relu").build(SHAPE)

        def forward(self, keys, only, mask, query):
            return self.pool.read(self.pool.encode(keys, only, mask), query, None)

    def given(time):
        keys, only, mask, query = history(time=time)
        return keys.float(), only.float(), mask, query.float()

    whole, time = Whole().eval(), torch.export.Dim("time", min=2, max=200)
    program = torch.export.export(whole, given(9), dynamic_shapes=({1: time}, {1: time}, {1: time}, None)).module()
    for length in (5, SHORT + 8):
        torch.testing.assert_close(program(*given(length)), whole(*given(length)))


def test_second_derivatives_in_bfloat16_do_not_depend_on_the_length():
    for time in (5, SHORT):
        keys, _, mask, query = (t.float() if t.is_floating_point() else t for t in history(time=time))
        pool = DIN(units=(20,), activation="sigmoid").build(HistoryShape(("item", "category"), (), 3, time)).eval()
        keys.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = pool.read(pool.encode(keys, None, mask), query, None).float()
        (first,) = torch.autograd.grad(out.square().sum(), keys, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), keys)
        assert second.isfinite().all() and second.any()


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("units", [(64,), (80, 40)])
def test_short_and_long_histories_train_alike(units, low):
    """Padding decides which way the first layer goes; both give the same output and gradients."""
    torch.manual_seed(0)
    keys, query = torch.randn(300, SHORT - 1, 2, 8), torch.randn(300, 2, 8)
    ones = torch.ones(300, SHORT - 1, dtype=torch.bool)
    pool = DIN(units=units).build(HistoryShape(("item", "category"), (), 8, 40))
    found = []
    for more in (0, 1):
        padding = (0, 0, 0, 0, more, 0)
        wanted = [keys.clone().requires_grad_(), query.clone().requires_grad_(), *pool.parameters()]
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            state = pool.encode(nn.functional.pad(wanted[0], padding), None, nn.functional.pad(ones, padding[-2:]))
            out = pool.read(state, wanted[1], None).float()
        found.append([out, *torch.autograd.grad(out.square().sum(), wanted)])
    for short, long in zip(*found, strict=True):
        assert (short - long).norm() <= (0.05 if low else 1e-5) * long.norm()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("activation", ["dice", "prelu", "sigmoid"])
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing_in_training_either(softmax, activation, training):
    keys, only, mask, query = history()
    longer, further = (torch.cat([torch.full_like(x[:, :2], 1e3), x], 1) for x in (keys, only))
    padded = torch.cat([torch.zeros_like(mask[:, :2]), mask], 1)
    first, second = unit(activation=activation, softmax=softmax), unit(activation=activation, softmax=softmax)
    first.train(training), second.train(training)
    short = first.read(first.encode(keys, only, mask), query, None)
    torch.testing.assert_close(second.read(second.encode(longer, further, padded), query, None), short)


def test_padding_gets_no_gradient():
    keys, only, mask, query = history()
    keys.requires_grad_()
    pool = unit(softmax=True)
    pool.read(pool.encode(keys, only, mask), query, None).sum().backward()
    assert not keys.grad[~mask].any() and keys.grad[mask].any()


@pytest.mark.parametrize("softmax", [False, True])
def test_the_order_of_behaviours_does_not_matter(softmax):
    keys, only, mask, query = history()
    order, pool = torch.tensor([3, 1, 4, 0, 2]), unit(softmax=softmax)
    out = pool.read(pool.encode(keys, only, mask), query, None)
    moved = pool.read(pool.encode(keys[:, order], only[:, order], mask[:, order]), query, None)
    torch.testing.assert_close(out, moved)


@pytest.mark.parametrize("softmax", [False, True])
def test_an_empty_history_gives_no_interest(softmax):
    keys, only, mask, query = history()
    pool = unit(softmax=softmax)
    out = pool.read(pool.encode(keys, only, torch.zeros_like(mask)), query, None)
    assert not out.any()


def test_seeing_everything_twice_doubles_the_interest_without_softmax_and_keeps_it_with():
    keys, only, mask, query = history()
    twice = [torch.cat([x, x], 1) for x in (keys, only, mask)]
    for softmax, factor in ((False, 2), (True, 1)):
        pool = unit(softmax=softmax)
        once = pool.read(pool.encode(keys, only, mask), query, None)
        torch.testing.assert_close(pool.read(pool.encode(*twice), query, None), factor * once)


@pytest.mark.parametrize(("softmax", "plain"), [(False, Sum()), (True, Mean())])
def test_a_constant_unit_is_the_sum_or_the_mean(softmax, plain):
    keys, only, mask, query = history()
    pool = unit(softmax=softmax)
    nn.init.zeros_(pool.out.weight)
    nn.init.ones_(pool.out.bias)
    module = plain.build(SHAPE)
    expected = module.read(module.encode(keys, only, mask), query, None)[:, :2]
    torch.testing.assert_close(pool.read(pool.encode(keys, only, mask), query, None), expected)


@pytest.mark.parametrize("pool", [DIN(units=(6,)), DIN(units=(6,), softmax=True), Mean(), Sum()])
def test_many_candidates_of_one_user_equal_single_calls(pool):
    keys, only, mask, _ = history(users=2)
    module = pool.build(SHAPE).double().eval()
    queries = torch.randn(9, 2, 3, dtype=torch.float64)
    owner = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0, 0], dtype=torch.int32)
    together = module.read(module.encode(keys, only, mask), queries, owner)
    for i, user in enumerate(owner.tolist()):
        one = slice(user, user + 1)
        alone = module.read(module.encode(keys[one], only[one], mask[one]), queries[i : i + 1], None)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_unpaired_columns_enter_the_unit_and_are_not_pooled():
    keys, only, mask, query = history()
    pool = unit()
    first = pool.read(pool.encode(keys, only, mask), query, None)
    assert first.shape == (4, 2, 3)
    assert not torch.allclose(first, pool.read(pool.encode(keys, only + 1, mask), query, None))


def test_the_units_width_counts_four_blocks_and_the_unpaired_columns():
    widths = (4 * 6 + 3, 6, 4, 1)
    dice = 6 + 4
    expected = sum(a * b + b for a, b in pairwise(widths)) + dice
    assert sum(p.numel() for p in unit().parameters()) == expected


def test_weights_of_similar_behaviours_can_be_read():
    keys, only, mask, query = history()
    pool = unit(softmax=True)
    weights = pool.weights(pool.encode(keys, only, mask), query.flatten(1))
    torch.testing.assert_close(weights.sum(1), torch.ones(4, dtype=weights.dtype))
    assert not weights[~mask].any()


def test_a_history_without_a_paired_column_is_refused():
    said = (
        "'din' weighs behaviours against the candidate, and none of the columns gap is paired with one of its fields; "
        "pair a column in the schema (Behaviour(of=...)), or pool by 'mean'."
    )
    history = HistoryLayout("past", (HistoryColumn("gap", "gap", None),), 5)
    layout = Layout(slots=(Slot("gap", 4),), ids=(), histories=(history,))
    for refused in (lambda: DIN().build(HistoryShape((), ("gap",), 3, 5)), lambda: shapes_of(din(), layout)):
        with pytest.raises(CompositionError) as error:
            refused()
        assert str(error.value) == said


def test_a_unit_without_a_hidden_layer_is_refused():
    with pytest.raises(CompositionError) as error:
        DIN(units=()).build(SHAPE)
    assert str(error.value) == "'din' has no hidden layer (units=()); give at least one width, such as units=(36,)."


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("rows", [1, 7])
def test_one_user_of_all_rows_is_read_as_its_copies_are(softmax, rows):
    keys, only, mask, _ = history(users=1, time=9)
    assert not mask.all()
    keys = torch.where(mask[..., None, None], keys, torch.tensor(1e6, dtype=keys.dtype))  # poisoned padding
    pool, queries = unit(softmax=softmax), torch.randn(rows, 2, 3, dtype=torch.float64)
    owner = torch.zeros(rows, dtype=torch.int32)
    copies = pool.encode(*(part.repeat(rows, *[1] * (part.dim() - 1)) for part in (keys, only, mask)))
    together = pool.read(pool.encode(keys, only, mask), queries, owner)
    torch.testing.assert_close(together, pool.read(copies, queries, None), rtol=1e-12, atol=1e-12)
    assert float(together.detach().abs().max()) < 1e3
