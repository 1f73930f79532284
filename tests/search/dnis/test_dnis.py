"""DNIS: blocks, the soft layer, gradients of alpha, the cut, planted ranks, and what is refused."""

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from columns_world import QUICK, RANKS, SCHEMA, planted
from torch.func import functional_call

from backbones import WITH_VECTORS
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.sockets import TableShape
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, DivergedError, UsageError
from clicksmith.fitting.job import fit
from clicksmith.models import MODELS
from clicksmith.plan import Plan
from clicksmith.plan.parts import Columns
from clicksmith.search.dnis import bilevel
from clicksmith.search.dnis.blocks import Band, bands_of
from clicksmith.search.dnis.layer import Soft, SoftBlock
from clicksmith.search.dnis.method import DNIS
from clicksmith.search.dnis.prune import column_sizes, kept_columns, kept_values
from clicksmith.search.job import search
from clicksmith.testing.subject import Subject
from clicksmith.train.rows import row_optimizers

SHAPE = TableShape((("user", 12), ("item", 6)), 4)
SOFT = Soft(blocks=(SoftBlock("user", 2, 5, 0), SoftBlock("user", 5, 12, 1), SoftBlock("item", 2, 3, 0)))


def soft():
    table = SOFT.build(SHAPE)
    table.inner.store.reset(1.0)
    with torch.no_grad():
        table.alpha.copy_(torch.rand(2, 4))
    return table


# ---- blocks


def test_a_global_block_cuts_each_slot_at_its_own_row():
    counts = {"a": np.array([0, 9, 90, 50, 7, 1]), "b": np.array([0, 0, 60, 8, 2]), "empty": np.array([0, 0])}
    bands, _ = bands_of(counts, (3, 2, 2), group="global")
    assert bands == [Band("a", 2, 4, 0), Band("b", 2, 3, 0), Band("a", 4, 5, 1), Band("b", 3, 4, 1),
                     Band("a", 5, 6, 2), Band("b", 4, 5, 2)]  # fmt: skip


def test_blocks_of_a_field_are_merged_where_it_has_too_few_features():
    bands, notes = bands_of({"a": np.array([0, 0, 5, 4])}, (0.1, 0.2, 0.2, 0.5), group="field")
    assert bands == [Band("a", 2, 3, 0), Band("a", 3, 4, 1)] and "2 features for 4 blocks" in notes[0]


@pytest.mark.parametrize("group", ["global", "field"])
def test_a_slot_whose_ids_do_not_fall_in_frequency_is_a_block_of_its_own(group):
    counts = {"a": np.array([0, 0, 9, 5]), "hashed": np.array([0, 0, 1, 90, 0, 50])}
    bands, notes = bands_of(counts, (0.5, 0.5), group=group, alone=["hashed"])
    assert bands == [Band("hashed", 2, 6, 0), Band("a", 2, 3, 1), Band("a", 3, 4, 2)]
    assert len(notes) == 1 and notes[0].startswith("'hashed' is one block")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"blocks": (0.5, 0.2)}, "sum to 0.7"),
        ({"blocks": (0.5, 0.8)}, "sum to 1.3"),
        ({"blocks": ()}, "give shares"),
        ({"share": 1.0}, "share is 1.0"),
        ({"share": -0.1}, "share is -0.1"),
        ({"knob_share": 0.0}, "knob_share is 0.0"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, told):
    with pytest.raises(UsageError, match=told):
        DNIS(**options)


def test_a_global_cut_into_more_blocks_than_features_says_so():
    bands, notes = bands_of({"a": np.array([0, 0, 5, 4])}, (0.1, 0.2, 0.2, 0.5), group="global")
    assert bands == [Band("a", 2, 3, 0), Band("a", 3, 4, 1)]
    assert notes == ["there are 2 features for 4 blocks: 2 blocks are left"]


def test_more_features_than_there_are_or_fewer_is_refused_with_both_numbers():
    with pytest.raises(UsageError, match=r"hold 9 features, and of all fields together there are 3; give shares, or s"):
        bands_of({"a": np.array([0, 0, 3, 2, 1])}, (4, 5), group="global")
    with pytest.raises(
        UsageError, match=r"\(1, 2\), which hold 3 features, and of 'b' there are 4; .* or rest=true for"
    ):
        bands_of({"a": np.array([0, 0, 3, 2, 1]), "b": np.array([0, 0, 3, 2, 1, 1])}, (1, 2), group="field")


# ---- the layer


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_with_alpha_one_the_model_is_the_plain_one_bit_for_bit(name):
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    slots = tuple((s.name, s.rows) for s in subject.layout.slots)
    table = Soft(blocks=tuple(SoftBlock(n, 2, rows, 0) for n, rows in slots))
    plain = subject.model()
    model = subject.model(spec=msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, table=table)))
    state = {n.replace(".table.store", ".table.inner.store") if n.startswith("embedder.columns.") else n: t
             for n, t in plain.state_dict().items()}  # fmt: skip
    model.load_state_dict(model.state_dict() | state)
    inputs = subject.inputs(9)
    assert torch.equal(model(inputs).logits, plain(inputs).logits)


def test_the_layer_against_a_loop_and_the_fold_and_the_scale():
    table, ids = soft(), torch.tensor([[0, 1], [4, 2], [5, 3], [11, 5]], dtype=torch.int32)
    weight, starts = table.inner.store.weight, table.inner.store.starts
    alpha_of = {("user", 4): 0, ("user", 5): 1, ("user", 11): 1, ("item", 2): 0}
    expected = torch.stack([torch.stack([
        weight[starts[s] + i] * (table.alpha[alpha_of[s, i]] if (s, i) in alpha_of else 1.0)
        for s, i in zip(("user", "item"), row, strict=True)]) for row in ids.tolist()])  # fmt: skip
    found = table(ids, ("user", "item"))
    assert torch.equal(found, expected)
    with torch.no_grad():
        table.alpha.mul_(0.5)
        for first, last in ((2, 12), (12 + 2, 12 + 3)):
            weight[first:last] *= 2
    torch.testing.assert_close(table(ids, ("user", "item")), found)


# ---- steps on alpha


def test_a_step_has_length_rate_in_each_block_of_the_batch_and_others_stay():
    alpha = torch.full((3, 4), 0.5)
    grad = torch.tensor([[1e-9, -3e-9, 2e-9, 0.0], [0.0] * 4, [5.0, 5.0, -5.0, 1.0]])
    before = alpha.clone()
    bilevel.move(alpha, grad, rate=0.01, l1=0.0)
    torch.testing.assert_close((alpha - before).abs().mean(1), torch.tensor([0.01, 0.0, 0.01]))
    for _ in range(200):
        bilevel.move(alpha, grad, rate=0.01, l1=1e-5)
    assert torch.equal(alpha[1], before[1])  # L1, normalised, would have taken it to 0
    assert alpha.min() == 0.0 and alpha.max() == 1.0


def test_l1_pulls_the_blocks_of_the_batch_beside_a_gradient_of_mean_size_one():
    alpha = torch.full((2, 2), 0.5)
    bilevel.move(alpha, torch.tensor([[1e-6, -3e-6], [0.0, 0.0]]), rate=0.01, l1=0.25)
    torch.testing.assert_close(alpha, torch.tensor([[0.5 - 0.01 * 0.75, 0.5 + 0.01 * 1.25], [0.5, 0.5]]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_search_and_leaves_alpha(bad):
    alpha = torch.ones(2, 2)
    with pytest.raises(DivergedError, match="selection layer"):
        bilevel.move(alpha, torch.tensor([[bad, 0.0], [1.0, 1.0]]), rate=0.1, l1=0.0)
    assert torch.equal(alpha, torch.ones(2, 2))


def differences(loss, alpha, step=1e-3):
    """Return the gradient of a loss by differences over four points: the error is of the fourth power of the step."""
    found = torch.zeros_like(alpha)
    for i in range(alpha.numel()):
        shift = torch.zeros_like(alpha)
        shift.view(-1)[i] = step
        far, near = (float(loss(alpha + n * shift)) - float(loss(alpha - n * shift)) for n in (2, 1))
        found.view(-1)[i] = (8 * near - far) / (12 * step)
    return found


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = soft()
        self.out = torch.nn.Linear(8, 1)

    def forward(self, ids):
        return self.out(self.table(ids, ("user", "item")).flatten(1)).squeeze(1)


@pytest.mark.parametrize("sinks", [False, True])
def test_second_order_is_the_derivative_through_the_unrolled_step(sinks, monkeypatch):
    model, xi = Toy().double(), 0.5
    random = torch.Generator().manual_seed(1)
    ids = [torch.stack([torch.randint(0, n, (16,), generator=random) for n in (12, 6)], 1).int() for _ in range(2)]
    labels = [torch.randint(0, 2, (16,), generator=random).double() for _ in range(2)]
    alpha, bce = model.table.alpha, torch.nn.functional.binary_cross_entropy_with_logits
    names = [n for n, p in model.named_parameters() if p is not alpha]

    def outer(a):
        weights = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if n in names}
        held = {"table.knobs.alpha": a}
        inner = bce(functional_call(model, weights | held, (ids[0],)), labels[0])
        grads = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        after = {n: w - xi * g for (n, w), g in zip(weights.items(), grads, strict=True)}
        return bce(functional_call(model, after | held, (ids[1],)), labels[1])

    exact = torch.autograd.grad(outer(alpha), alpha)[0]
    slopes = differences(lambda a: outer(a).detach(), alpha.detach())
    assert float((exact - slopes).abs().max()) <= 1e-8 * float(slopes.abs().max())
    optimizers = row_optimizers(model, name="sgd") if sinks else None
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    losses = [lambda i=i: bce(model(ids[i]), labels[i]) for i in range(2)]
    found = bilevel.second_order(*losses, model, alpha, xi)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-6)
    if sinks:
        first = torch.autograd.grad(losses[1](), alpha)[0]
        held = {n: p.detach() for n, p in model.named_parameters() if n in names}
        slopes = differences(
            lambda a: bce(functional_call(model, held | {"table.knobs.alpha": a}, (ids[1],)), labels[1]), alpha.detach()
        )
        assert float((first - slopes).abs().max()) <= 1e-8 * float(slopes.abs().max())
        gaps = []
        for near in (0.1, 0.01, 0.001):  # the error of a central difference falls with the square of its step
            monkeypatch.setattr(bilevel, "NEAR", near)
            gaps.append(float((bilevel.second_order(*losses, model, alpha, xi) - exact).abs().max()))
        assert gaps[1] < 2e-2 * gaps[0] and gaps[2] < 2e-2 * gaps[1]
        assert gaps[1] < 1e-5 * float((first - exact).abs().max())
        assert (first - exact).abs().max() > 10 * (found - exact).abs().max()
        torch.testing.assert_close(bilevel.second_order(*losses, model, alpha, 0.0), first)
        assert optimizers is not None and not any(o.pending for o in optimizers.optimizers)
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


# ---- the cut

BANDS = [Band("a", 2, 6, 0), Band("a", 6, 12, 1), Band("b", 2, 4, 0)]


def test_products_are_measured_and_neither_factor_alone():
    weight, alpha = torch.randn(16, 3), torch.rand(2, 3)
    sizes = column_sizes(BANDS, weight, {"a": 0, "b": 12}, alpha)
    assert sizes[2, 1] == pytest.approx(float((weight[14:16, 1] * alpha[0, 1]).abs().mean()))
    scaled = column_sizes(BANDS, weight * 4, {"a": 0, "b": 12}, alpha / 4)
    torch.testing.assert_close(scaled, sizes)


def test_the_cut_is_nested_keeps_within_its_size_and_never_keeps_zeros():
    sizes = torch.rand(3, 5).double()
    sizes[1, 2] = 0.0
    seen = None
    for share in (0.0, 0.2, 0.5, 0.8):
        slots = kept_columns(BANDS, sizes, share)
        room = (1 - share) * 12 * 5
        assert room - 6 < kept_values(slots) <= room or share == 0  # less only by what one more column takes
        now = {(s, b.first, c) for s, blocks in slots.items() for b in blocks for c in b.columns}
        assert seen is None or now <= seen
        seen = now
    assert kept_values(kept_columns(BANDS, sizes, 0.0)) == 12 * 5 - 6
    with pytest.raises(UsageError, match=r"share=0\.99 leaves nothing of 60 values: the first column alone takes \d"):
        kept_columns(BANDS, sizes, 0.99)
    with pytest.raises(UsageError, match="every value is 0"):
        kept_columns(BANDS, torch.zeros(3, 5), 0.0)


def test_the_table_under_the_plan_is_the_masked_one_and_takes_its_size_and_counts():
    weight = Plain(std=1.0).build(SHAPE).store.weight.detach()
    blocks = (MixedBlock("user", 2, 5, (0, 3)), MixedBlock("user", 5, 12, ()), MixedBlock("item", 2, 6, (1,)))
    table = Mixed(blocks=blocks).build(SHAPE)
    table.fill(weight, {"user": 0, "item": 12})
    masked = weight.clone()
    masked[2:5, [1, 2]] = masked[5:12] = masked[14:18, [0, 2, 3]] = 0.0
    ids = torch.stack([torch.arange(12), torch.arange(12) % 6], 1).int()
    assert torch.equal(table(ids, ("user", "item")), torch.stack([masked[ids[:, 0]], masked[12 + ids[:, 1]]], 1))
    counts = {"user": torch.arange(12), "item": 100 + torch.arange(6)}
    optimizers = row_optimizers(table, l2=0.1, counts=counts).optimizers
    held = {o.store.dim: o.decay.counts.tolist() for o in optimizers}
    assert held == {4: [0, 1, 100, 101], 2: [0, 2, 3, 4], 1: [100, 102, 103, 104, 105]}


# ---- the search


def spearman(x, y):
    """Rank correlation; equal values share their mean rank."""
    ranks = [pl.Series(v).rank().to_numpy() for v in (x, y)]
    return np.corrcoef(*ranks)[0, 1]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("dnis") / "plan.json"
    plan = search(
        "dnis", planted(12_000), valid=planted(3_000, 1), out=out, backbone="fm", schema=SCHEMA,
        model_options={"dim": 6}, settings={**QUICK, "epochs": 15}, seed=0,
        options={"share": 0.6, "blocks": [0.2, 0.2, 0.2, 0.4], "epochs": 6},
    )  # fmt: skip
    return plan, out


def test_richer_features_get_more_columns(found):
    plan, _ = found
    (part,) = plan.parts
    assert isinstance(part, Columns)
    blocks = [block for own in part.slots.values() for block in own]
    widths = [len(block.columns) for block in blocks]
    rich = [RANKS[block.first - 2 : block.last - 2].mean() for block in blocks]
    assert spearman(widths, rich) >= 0.8
    for own in part.slots.values():
        assert len(own[0].columns) >= 4 and len(own[-1].columns) <= 1
    assert plan == Plan.load(found[1])


def test_a_refit_begins_with_the_weights_found(found, tmp_path):
    plan, out = found
    scores = {}
    for name, start in (("warm", out.with_name(out.name + ".start.safetensors")), ("cold", None)):
        run = fit(
            planted(12_000), valid=planted(3_000, 1), model="fm", schema=SCHEMA, options={"dim": 6},
            settings={**QUICK, "epochs": 1, "learning_rate": 1e-4}, plan=plan, start=start, out=tmp_path / name, seed=0,
        )  # fmt: skip
        scores[name] = run.metrics["valid"]["auc"]
    assert scores["warm"] > scores["cold"] + 0.1


def test_a_backbone_without_vectors_is_refused(tmp_path):
    with pytest.raises(CompositionError, match="dnis gives vectors their columns"):
        search("dnis", planted(300), valid=planted(100, 1), out=tmp_path / "p.json", backbone="lr", schema=SCHEMA)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dnis", {"order": "second", "update": "all", "epochs": 1, "start": "fresh"}),
        ("columns_size", {"start": "fresh"}),
        ("columns_random", {"start": "fresh"}),
    ],
)
def test_other_ways_and_controls_give_plans_of_the_size_asked(tmp_path, method, options):
    out = tmp_path / "plan.json"
    plan = search(
        method, planted(1_000), valid=planted(400, 1), out=out, backbone="deepfm", schema=SCHEMA, seed=0,
        model_options={"dim": 4, "units": (8,)}, settings={**QUICK, "epochs": 1}, options=options,
    )  # fmt: skip
    (part,) = plan.parts
    assert isinstance(part, Columns)
    features = sum(own[-1].last - 2 for own in part.slots.values())
    assert 0.3 * features * 4 <= kept_values(part.slots) <= 0.5 * features * 4
    assert not out.with_name(out.name + ".start.safetensors").exists()


@pytest.mark.parametrize("control", ["columns_size", "columns_random"])
def test_a_refit_of_a_control_begins_with_the_plain_weights(tmp_path, control):
    rows, out, scores = planted(4_000), tmp_path / "cut.json", {}
    asked = {"valid": planted(2_000, 1), "schema": SCHEMA, "seed": 0}
    plan = search(
        control, rows, out=out, backbone="fm", model_options={"dim": 4}, settings={**QUICK, "epochs": 12},
        options={"share": 0.1}, **asked,
    )  # fmt: skip
    for name, start in (("warm", out.with_name(out.name + ".start.safetensors")), ("cold", None)):
        run = fit(
            rows, model="fm", options={"dim": 4}, settings={**QUICK, "epochs": 1, "learning_rate": 1e-4}, plan=plan,
            start=start, out=tmp_path / name, **asked,
        )  # fmt: skip
        scores[name] = run.metrics["valid"]["auc"]
    assert scores["warm"] > scores["cold"] + 0.1


@pytest.mark.parametrize("method", ["dnis", "columns_size", "columns_random"])
def test_a_share_that_leaves_no_column_is_refused_before_anything_is_trained(tmp_path, method):
    with pytest.raises(
        UsageError, match=r"share=0.999 leaves room for \d+ of [\d,]+ values, and a column of the smallest"
    ):
        search(
            method, planted(1_000), valid=planted(400, 1), out=tmp_path / "p.json", backbone="fm", schema=SCHEMA,
            model_options={"dim": 4}, settings=QUICK, options={"share": 0.999},
        )  # fmt: skip
    assert not list(tmp_path.rglob("checkpoint*"))
