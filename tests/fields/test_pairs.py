"""Pairs: loops, the degenerate settings of the specification, gradients of the architecture weights, every backbone."""

from itertools import combinations

import msgspec
import pytest
import torch

from clicksmith.batch.batch import Inputs
from clicksmith.embed.rows import row_stores
from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.embed.sockets import reads_of
from clicksmith.encode.layout import IdColumn, Layout, NumericColumn, Slot
from clicksmith.errors import CompositionError
from clicksmith.fields.pairs import Pairs, RelaxedPairs
from clicksmith.models import MODELS, model_spec
from clicksmith.models.planned import pairs_to
from clicksmith.models.spec import CTRModel

NAMES, DIM = ("a", "b", "c"), 3
PAIRS = tuple(combinations(NAMES, 2))
CROSSES = tuple("*".join(pair) for pair in PAIRS)
ROWS = 5
PLAIN = Layout(slots=tuple(Slot(n, ROWS) for n in NAMES), ids=tuple(IdColumn(n, n) for n in NAMES), order=NAMES)


def crossed(names=CROSSES):
    """The layout with crosses of every pair of ids: id ROWS * a + b."""
    return msgspec.structs.replace(
        PLAIN,
        slots=(*PLAIN.slots, *(Slot(n, ROWS * ROWS) for n in names)),
        ids=(*PLAIN.ids, *(IdColumn(n, n) for n in names)),
        order=(*PLAIN.order, *names),
    )


def batch(n=20, names=CROSSES, seed=0):
    ids = torch.randint(2, ROWS, (n, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    at = {name: i for i, name in enumerate(NAMES)}
    wide = [ROWS * ids[:, at[n.split("*")[0]]] + ids[:, at[n.split("*")[1]]] for n in names]
    return Inputs(torch.cat([ids, *(w[:, None] for w in wide)], 1), torch.empty(n, 0))


def built(spec, layout, seed=0):
    torch.manual_seed(seed)
    model = CTRModel(spec, layout).double().eval()
    for store in row_stores(model):
        store.reset(0.5)
    return model


def dnn(*transforms, **options):
    spec = model_spec("dnn", **{"dim": DIM, "units": (4,), "batch_norm": False, "dropout": 0.0, **options})
    return msgspec.structs.replace(spec, transforms=transforms)


SHAPE = FieldShape(tuple(Field(n, "id") for n in NAMES), DIM, base=tuple(Field(n, "id") for n in (*NAMES, *CROSSES)))


@pytest.mark.reference("pairs")
@pytest.mark.parametrize("to", ["extra", "fields"])
def test_vectors_are_those_of_the_loops(to):
    part = Pairs(memorised=("b*c", "a*b"), factorised=(("a", "c"), ("a", "b")), dim=DIM, to=to)
    views = {v.name: v for v in part.reads()}
    shape = FieldShape(SHAPE.fields, DIM, 0, tuple(views.values()), SHAPE.base)
    module = part.build(shape)
    crosses, sides = torch.randn(4, 2, DIM), torch.randn(4, 3, DIM)  # both in the layout's order
    fields = Fields(torch.randn(4, 3, DIM), None, {f"crosses {DIM} 0.1": crosses, f"sides {DIM} 0.1": sides})
    got, grown = module(fields), part.grow(shape)
    for row in range(4):
        expected = [crosses[row, 1], crosses[row, 0], sides[row, 0] * sides[row, 2], sides[row, 0] * sides[row, 1]]
        found = got.extra[row].view(4, DIM) if to == "extra" else got.vectors[row, 3:]
        torch.testing.assert_close(found, torch.stack(expected))
    assert grown.flat == got.flat().shape[1]


def test_without_pairs_nothing_of_the_model_changes():
    with pytest.raises(CompositionError, match="leave the transform out"):
        built(dnn(Pairs()), PLAIN)


def test_a_cross_that_a_view_owns_is_no_field_of_the_backbone():
    spec = msgspec.structs.replace(
        model_spec("deepfm", dim=DIM, units=(4,)), transforms=(Pairs(memorised=CROSSES, dim=2),)
    )
    model = built(spec, crossed())
    assert [f.name for f in model.shapes.fields[0].fields] == list(NAMES)
    assert sum(s.weight.numel() for s in row_stores(model)) == 3 * ROWS * (DIM + 1) + 3 * ROWS**2 * 2


def test_a_memorised_table_of_products_is_the_factorised_model():
    memorised = built(dnn(Pairs(memorised=CROSSES, dim=2)), crossed())
    factorised = built(dnn(Pairs(factorised=PAIRS, dim=2)), crossed(()))
    state = factorised.state_dict()
    cross_key = next(k for k in memorised.state_dict() if "views" in k)
    side_key = next(k for k in state if "views" in k)
    sides = {n: state[side_key][i * ROWS : (i + 1) * ROWS] for i, n in enumerate(NAMES)}
    table = [sides[a][:, None] * sides[b][None] for a, b in PAIRS]
    assert cross_key == side_key  # the first view of either model
    state[cross_key] = torch.cat([t.reshape(ROWS * ROWS, 2) for t in table])
    memorised.load_state_dict(state)
    assert torch.equal(memorised(batch()).logits, factorised(batch(names=())).logits)


def test_all_factorised_with_tied_tables_and_constant_weights_is_ipnn():
    pairs = built(dnn(Pairs(factorised=PAIRS, dim=DIM)), PLAIN)
    inner = built(model_spec("ipnn", dim=DIM, units=(4,), batch_norm=False, dropout=0.0), PLAIN)
    state, theirs = pairs.state_dict(), inner.state_dict()
    weight = next(k for k, v in theirs.items() if v.shape == (4, 3 * DIM + 3))
    mine = next(k for k, v in state.items() if v.shape == (4, 6 * DIM))
    wide = theirs.pop(weight)
    state[mine] = torch.cat([wide[:, : 3 * DIM], wide[:, 3 * DIM :].repeat_interleave(DIM, 1)], 1)
    side = next(k for k in state if "views" in k)
    main = next(k for k in theirs if "embedder" in k)
    state[side] = theirs[main]
    rest = [k for k in state if k not in (mine, side)]
    state |= dict(zip(rest, theirs.values(), strict=True))
    pairs.load_state_dict(state)
    torch.testing.assert_close(pairs(batch(names=())).logits, inner(batch(names=())).logits, atol=1e-12, rtol=0)


def test_crosses_as_fields_of_a_linear_model_are_poly2():
    model = built(model_spec("lr"), crossed())
    (store,) = row_stores(model)
    inputs = batch()
    bias = model(Inputs(torch.zeros(1, 6, dtype=torch.int32), torch.empty(1, 0))).logits[0, 0]
    for row, logit in zip(inputs.ids.tolist(), model(inputs).logits[:, 0], strict=True):
        names = [c.name for c in crossed().ids]
        total = sum(store.weight[store.starts[n] + i, 0] for n, i in zip(names, row, strict=True))
        torch.testing.assert_close(logit, bias + total)


@pytest.mark.parametrize(
    ("categorical", "numeric", "rows", "crossed_rows", "dims", "units", "papers"),
    [
        (26, 13, 514_785, 21_037_504, (20, 10), 700, 230_611_181),
        (24, 0, 1_228_795, 240_329_481, (40, 4), 500, 1_017_424_905),
    ],
    ids=["criteo", "avazu"],
)  # fmt: skip
def test_a_search_of_the_papers_sizes_has_the_papers_weights(
    categorical, numeric, rows, crossed_rows, dims, units, papers
):
    """Over a meta device: no memory. The paper's code gives numbers a row of the second table that nothing reads."""
    names, numbers = [f"c{i}" for i in range(categorical)], tuple(NumericColumn(f"n{i}") for i in range(numeric))
    pairs = tuple(combinations(names, 2))
    slots = [*parted(names, rows), *parted(["*".join(pair) for pair in pairs], crossed_rows)]
    layout = Layout(
        slots=tuple(slots), ids=tuple(IdColumn(s.name, s.name) for s in slots), numeric=numbers,
        order=(*names, *(n.name for n in numbers), *(s.name for s in slots[categorical:])),
    )  # fmt: skip
    spec = model_spec("dnn", dim=dims[0], units=(units,) * 5)
    spec = msgspec.structs.replace(spec, transforms=(RelaxedPairs(pairs=pairs, dim=dims[1]),))
    with torch.device("meta"):
        model = CTRModel(spec, layout)
    missing = numeric * dims[0]  # vectors of missing numbers, which the paper's code has not
    found = sum(p.numel() for p in model.parameters()) - 3 * len(pairs) - missing
    assert found == papers - numeric * dims[1]


def parted(names, rows):
    """Slots of nearly equal size that have `rows` rows together."""
    return [Slot(name, rows // len(names) + (i < rows % len(names))) for i, name in enumerate(names)]


def test_pairs_whose_weights_begin_otherwise_stand_side_by_side():
    model = built(
        dnn(Pairs(factorised=(("a", "b"),), dim=2), Pairs(factorised=(("b", "c"),), dim=2, std=0.3)), crossed(())
    )
    assert len(model.embedder.views) == 2 and model(batch(names=())).logits.isfinite().all()


def relaxed(**options):
    part = RelaxedPairs(pairs=PAIRS, dim=2, **options)
    model = built(dnn(part), crossed())
    return model, model.transforms[0]


def test_the_gradient_of_the_architecture_weights_is_that_of_finite_differences_and_sums_to_zero():
    model, module = relaxed()
    loss = model(batch()).logits.sum()
    (grad,) = torch.autograd.grad(loss, module.alpha)
    assert grad.sum(1).abs().max() < 1e-12
    for p in range(3):
        for o in range(3):
            moved = []
            for change in (1e-5, -1e-5):
                with torch.no_grad():
                    module.alpha[p, o] += change
                    moved.append(model(batch()).logits.sum().item())
                    module.alpha[p, o] -= change
            assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(grad[p, o].item(), abs=1e-6)


def test_cold_mixtures_are_the_fixed_operations():
    model, module = relaxed()
    with torch.no_grad():
        module.alpha.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    module.temperature.fill_(1e-3)
    fixed = built(dnn(Pairs(memorised=("a*b",), factorised=(("a", "c"),), dim=2)), crossed(("a*b",)))
    state, ours = fixed.state_dict(), model.state_dict()
    for key in state:
        if "views.0" in key and "store" in key:
            state[key] = ours[key][: ROWS * ROWS]
        elif "views.1" in key and "store" in key:
            where = torch.cat([ours[key][:ROWS], ours[key][2 * ROWS :]])
            state[key] = where
        elif key in ours and ours[key].shape == state[key].shape:
            state[key] = ours[key]
        else:
            state[key] = ours[key][:, : state[key].shape[1]]
    fixed.load_state_dict(state)
    torch.testing.assert_close(model(batch()).logits, fixed(batch(names=("a*b",))).logits, atol=1e-12, rtol=0)


def test_noise_is_drawn_in_training_only():
    _, module = relaxed(gumbel=True)
    assert torch.equal(module.weights(), torch.softmax(module.alpha, 1))
    module.train()
    assert not torch.equal(module.weights(), module.weights())


def test_padding_and_unseen_crosses_behave_like_any_other_column():
    model = built(dnn(Pairs(memorised=CROSSES, dim=2)), crossed())
    inputs = batch()
    padded = Inputs(inputs.ids.clone(), inputs.numeric)
    padded.ids[:, 3:] = 0
    crosses = model.embedder.views[0](padded, None)
    assert (crosses == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_pairs_reach_every_backbone_that_can_read_them(name):
    spec = MODELS[name]()
    layout = msgspec.structs.replace(
        crossed(),
        ids=tuple(msgspec.structs.replace(c, role=r) for c, r in zip(crossed().ids, ("user", "item") * 3, strict=True)),
    )
    part = RelaxedPairs(pairs=PAIRS, dim=2, to=pairs_to(spec))
    try:
        CTRModel(spec, layout)
    except CompositionError:
        pytest.skip("the backbone needs other columns")
    searched = msgspec.structs.replace(spec, transforms=(*spec.transforms, part))
    if not {"vectors", "extra"} & set(reads_of(spec.interact)):
        with pytest.raises(CompositionError, match="nothing after it reads"):
            CTRModel(searched, layout)
        return
    model = CTRModel(searched, layout).eval()
    module = next(m for m in model.modules() if hasattr(m, "alpha") and hasattr(m, "temperature"))
    for store in row_stores(model):
        store.reset(0.3)
    logits = model(batch()).logits
    assert logits.isfinite().all()
    logits.sum().backward()
    assert module.alpha.grad is not None
    assert module.alpha.grad.isfinite().all()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Pairs(memorised=("x*y",)), "the encoder has no such column; apply the Plan to the encoder"),
        (Pairs(factorised=(("a", "a"),)), "the pair a x a is of one field, or given twice"),
        (Pairs(factorised=(("a", "b"), ("b", "a"))), "is of one field, or given twice"),
    ],
)
def test_pairs_that_cannot_be_are_refused(part, says):
    with pytest.raises(CompositionError, match=says):
        built(dnn(part), crossed())
