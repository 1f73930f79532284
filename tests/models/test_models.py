"""The backbones: published parameter counts, identities between models, names and options."""

from dataclasses import replace as replaced

import msgspec
import pytest
import torch

from clicksmith.embed.shape import Fields
from clicksmith.errors import CompositionError, UnknownNameError
from clicksmith.fields.fgcnn import FGCNN
from clicksmith.models import MODELS, describe, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.testing.layouts import LAYOUTS, random_batch
from published import (
    AMAZON,
    AVAZU,
    CRITEO,
    EARLIER,
    KKBOX,
    KUAIVIDEO,
    LATER,
    MICROVIDEO,
    MOVIELENS,
    MOVIELENS_LATER,
    TAOBAO,
)

MLP = {"dim": 10, "units": (400, 400, 400)}
HEADS = {"dim": 10, "width": 128, "heads": 4, "residual": "identity"}
DESTINE = {"width": 128, "heads": 1, "projection": "bias", "bias_each": True}
WIDE, RANKS = {"units": (1024, 512, 256), "batch_norm": True}, {"ranks": (32, 16, 8)}
TWO_LOGITS = 4
"""A second output layer's constant, and two weights and a constant that join the logits: redundant, and not ours."""
VECTOR, NUMBER = 64, 32
"""Constants per given vector that is mapped, and the vector of a missing number: the published runs have neither."""
SECOND = 364_001, 336_001
"""Of a second, equal network in the published runs of YoutubeDNN on Frappe and MovieLens, with its normalisation."""
HEAD, FLEN = 1, 17
"""Constants that the published runs have not: of LorentzFM's head, of the layer over FLEN's products (see there)."""

PUBLISHED = [
    (EARLIER, "lr", {}, 5_390),
    (EARLIER, "fm", {"dim": 10}, 59_280),
    (EARLIER, "fwfm", {"dim": 10}, 107_826),
    (EARLIER, "ffm", {"dim": 10}, 490_400),
    (EARLIER, "wide_deep", MLP, 423_280),
    (EARLIER, "deepfm", MLP, 423_280),
    (EARLIER, "nfm", MLP, 384_880),
    (EARLIER, "ipnn", MLP, 433_491),
    (EARLIER, "dcn", MLP, 418_591),
    (EARLIER, "dcn", {"dim": 10, "layers": 6, "units": ()}, 55_191),
    (EARLIER, "dcnv2", {"layers": 4, **MLP}, 458_391),
    (EARLIER, "dcnv2", {"dim": 10, "layers": 4, "structure": "cross"}, 94_391),
    (EARLIER, "xdeepfm", {"cin_units": (64,), "bias_each": True, **MLP}, 429_809),
    (EARLIER, "xdeepfm", {"cin_units": (64, 64, 64), "dim": 10, "units": ()}, 147_984),
    (EARLIER, "fibinet", {"bilinear": "all", "reduction": 2, **MLP}, 743_480),
    (EARLIER, "autoint", {"layers": 6, **HEADS}, 306_051),
    (EARLIER, "autoint_plus", {"layers": 5, "norm": "pre_relu", "bias_each": True, **HEADS, **MLP}, 622_180),
    (
        LATER,
        "finalmlp",
        {
            "dim": 10, "units1": (400,), "units2": (100,), "gate_units": (400,), "context1": ("user",),
            "context2": ("item",), "heads": 5, "bias_each": True,
        },
        253_392,
    ),
    (EARLIER, "afm", {"dim": 10, "width": 128}, 60_826),
    (EARLIER, "hfm", {"dim": 10}, 59_290),
    (EARLIER, "hfm_plus", {"interaction": "circular_correlation", "bias_each": True, **MLP}, 563_281),
    (EARLIER, "hofm", {"dim": 10}, 113_170),
    (EARLIER, "fmfm", {"dim": 10, "matrices": "diagonal"}, 59_730),
    (EARLIER, "dlrm", {"interaction": "cat", **MLP}, 417_891),
    (EARLIER, "dssm", {"dim": 10, "item_fields": ("item", "cost")}, 739_490),
    (MOVIELENS, "lr", {}, 90_240),
    (MOVIELENS, "dcn", {"dim": 10, "layers": 7, "units": ()}, 902_841),
    (MOVIELENS, "dcnv2", {"dim": 10, "layers": 8, "structure": "cross"}, 909_861),
    (MOVIELENS, "xdeepfm", {"cin_units": (32, 32, 32, 32), "dim": 10, "units": ()}, 1_002_390),
    (MOVIELENS, "deepfm", MLP, 1_328_630),
    (MOVIELENS, "ipnn", MLP, 1_237_191),
    (MOVIELENS, "nfm", MLP, 1_318_230),
    (MOVIELENS, "fwfm", {"dim": 10}, 1_804_784),
    (MOVIELENS, "ffm", {"dim": 10}, 1_895_020),
    (MOVIELENS, "fibinet", {"bilinear": "all", "reduction": 0.3, **MLP}, 1_340_790),
    (MOVIELENS, "autoint", {"layers": 2, "norm": "pre_relu", "wide": True, **HEADS}, 1_047_798),
    (
        MOVIELENS,
        "autoint_plus",
        {"layers": 2, "norm": "pre_relu", "wide": True, "bias_each": True, **HEADS, **MLP},
        1_383_799,
    ),
    (EARLIER, "fignn", {"dim": 10, "layers": 17, "gru": False}, 89_090),
    (
        EARLIER,
        "masknet",
        {
            "structure": "parallel", "blocks": 3, "block_units": 50, "ratio": 2, "norm_vectors": False, **MLP,
        },
        571_691,
    ),
    (EARLIER, "sam", {"dim": 10, "variant": "3A", "layers": 4}, 58_791),
    (MOVIELENS, "fignn", {"dim": 10, "layers": 13, "gru": False}, 910_440),
    (MOVIELENS, "masknet", {"structure": "serial", "ratio": 4, "norm_vectors": False, **MLP}, 2_624_541),
    (MOVIELENS, "sam", {"dim": 10, "variant": "3A", "layers": 2, "pool": "weight"}, 902_984),
    (EARLIER, "afn", {"dim": 10, "neurons": 1000}, 4_066_711),
    (EARLIER, "afn_plus", {"dim": 10, "neurons": 1000}, 4_482_205 - TWO_LOGITS),
    (EARLIER, "aoanet", {"layers": 1, "subspaces": 2, **MLP}, 418_331),
    (EARLIER, "deepim", {"order": 3, "bias_each": True, **MLP}, 417_922),
    (EARLIER, "destine", {"layers": 4, **DESTINE, **MLP}, 623_346),
    (EARLIER, "edcn", {"dim": 10, "temperature": 5}, 86_351),
    (LATER, "finalnet", {"dim": 10, "bias_each": True}, 338_502),
    (LATER, "finalnet", {"dim": 10, "blocks": 1, "gate": False}, 256_791),
    (MOVIELENS, "afn", {"dim": 10, "neurons": 800, "units": (200,)}, 2_506_797),
    (MOVIELENS, "afn_plus", {"dim": 10, "neurons": 800, "afn_units": (200,)}, 3_742_791 - TWO_LOGITS),
    (MOVIELENS, "aoanet", {"layers": 3, "subspaces": 2, **MLP}, 1_239_113),
    (MOVIELENS, "deepim", {"order": 5, "order_norm": True, "bias_each": True, **MLP}, 1_238_542),
    (MOVIELENS, "destine", {"layers": 3, **DESTINE, "width": 64, **MLP}, 1_274_821),
    (MOVIELENS, "edcn", {"dim": 10, "layers": 2, "regulate": False}, 904_701),
    (MOVIELENS_LATER, "finalnet", {"dim": 10, "units2": (500,), "bias_each": True}, 1_106_234),
    (MOVIELENS_LATER, "finalnet", {"dim": 10, "blocks": 1, "gate": False, "units1": (400,)}, 916_021),
    (MOVIELENS, "afm", {"dim": 10}, 992_832),
    (MOVIELENS, "hfm", {"dim": 10, "interaction": "circular_correlation"}, 992_640),
    (MOVIELENS, "hfm_plus", {"interaction": "circular_correlation", "bias_each": True, **MLP}, 1_328_631),
    (MOVIELENS, "hofm", {"dim": 10, "shared": True}, 992_630),
    (MOVIELENS, "fmfm", {"dim": 10, "matrices": "diagonal"}, 992_660),
    (MOVIELENS, "dlrm", {"interaction": "cat", **MLP}, 1_238_391),
    (MOVIELENS, "dssm", {"dim": 10, "item_fields": ("item", "tag")}, 1_559_990),
    (EARLIER, "dnn", MLP, 781_892 - SECOND[0]),
    (MOVIELENS, "dnn", MLP, 1_574_392 - SECOND[1]),
    (AMAZON, "dnn", {"dim": 64, **WIDE}, 5_006_721),
    (KKBOX, "fm", {"dim": 128}, 11_899_864),
    (KKBOX, "dcn", {"dim": 128, "layers": 6, "units": ()}, 11_829_249),
    (KKBOX, "fgcnn", {"dim": 128, "units": (1000, 1000, 1000)}, 84_979_183),
    (KKBOX, "onn", {"dim": 128, "units": (1000, 1000), "batch_norm": False}, 156_244_009),
    (KKBOX, "deepcrossing", {"dim": 128, "units": (1000,) * 4, "batch_norm": False}, 25_131_937),
    (KKBOX, "lorentzfm", {"dim": 128}, 11_807_616 + HEAD),
    (AVAZU, "fm", {"dim": 16}, 63_766_576),
    (AVAZU, "deepfm", {"dim": 16, "units": (2000,) * 4, "batch_norm": False}, 76_544_576),
    (AVAZU, "lorentzfm", {"dim": 16}, 60_015_600 + HEAD),
    (AVAZU, "flen", {"dim": 16, "units": (2000,) * 4, "batch_norm": False}, 76_544_888 + FLEN),
    (
        KKBOX,
        "interhat",
        {"dim": 128, "width": 512, "heads": 2, "inner": 1024, "orders": 4, "units": (1000, 1000)},
        14_130_169,
    ),
    (AVAZU, "interhat", {"dim": 16, "width": 64, "inner": 500, "units": ()}, 60_072_293),
    (
        CRITEO,
        "interhat",
        {"dim": 40, "width": 40, "inner": 500, "orders": 2, "residual": False, "norm": False, "units": (100, 100)},
        222_091_161,
    ),
    (CRITEO, "afn", {"dim": 40, "neurons": 1500, "units": (2000,) * 3, "batch_norm": True}, 350_050_099),
    (AMAZON, "ppnet", {"dim": 64, "gate_fields": ("item_history",), "gate_dim": 32, **WIDE}, 7_194_785),
    (
        KUAIVIDEO,
        "ppnet",
        {"dim": 64, "gate_fields": ("item_id",), "gate_dim": 32, "gate_units": 512, **WIDE, "batch_norm": False},
        64_137_665 + 3 * VECTOR,
    ),
    (
        MICROVIDEO,
        "ppnet",
        {"dim": 64, "gate_fields": ("user_id",), "gate_dim": 64, "gate_units": 128, **WIDE},
        2_815_233 + 2 * VECTOR,
    ),
    (
        TAOBAO,
        "ppnet",
        {
            "dim": 32, "gate_fields": ("userid", "cms_group_id", "adgroup_id"), "gate_dim": 32, "gate_units": 256,
            "units": (512, 256, 128), "batch_norm": False,
        },
        63_557_633 + NUMBER,
    ),
    (AMAZON, "apg", {"dim": 64, "layers": 2, "over": (32, 16, 8), **RANKS, **WIDE}, 5_771_329),
    (MICROVIDEO, "apg", {"dim": 64, "over": (32, 16, 8), **RANKS, **WIDE}, 2_741_825 + 2 * VECTOR),
    (
        TAOBAO,
        "apg",
        {"dim": 32, "layers": 4, "over": (128, 64, 32), **RANKS, "units": (512, 256, 128)},
        44_600_385 + NUMBER,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "name", "options", "published"), PUBLISHED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_parameters_are_as_many_as_in_the_published_runs(layout, name, options, published):
    batch_norm = {} if name not in ("ipnn", "nfm") else {"batch_norm": False}
    with torch.device("meta"):  # no weights are made
        model = CTRModel(model_spec(name, **options, **batch_norm), layout)
    assert model.parameter_counts().total == published


def build(name, seed=3, **options):
    torch.manual_seed(seed)
    return CTRModel(model_spec(name, **options), LAYOUTS["numbers"]).double().eval()


def inputs(rows=6):
    given = random_batch(LAYOUTS["numbers"], rows, missing=False).inputs
    return replaced(given, numeric=given.numeric.double())


def scored(model):
    return model(inputs()).logits


SMALL = {"dim": 4, "units": (6,), "dropout": 0.0}


def test_fgcnn_without_channels_is_ipnn():
    generated, plain = build("fgcnn", channels=(), **SMALL), build("ipnn", **SMALL)
    torch.testing.assert_close(scored(generated), scored(plain), atol=0, rtol=0)


def test_fgcnn_that_generates_zeros_is_ipnn_with_the_matching_columns():
    generated = build("fgcnn", channels=(2,), kernel=3, maps=1, batch_norm=False, **SMALL)
    plain = build("ipnn", batch_norm=False, **SMALL)
    for level in generated.transforms[0].levels:
        torch.nn.init.zeros_(level.recombine.weight)
        torch.nn.init.zeros_(level.recombine.bias)
    fields, raw, dim = len(generated.shapes.fields[-1].fields), len(plain.shapes.fields[-1].fields), 4
    upper = torch.triu_indices(fields, fields, 1)
    columns = torch.cat([torch.arange(raw * dim), fields * dim + ((upper < raw).all(0)).nonzero().squeeze(1)])
    weights = dict(generated.block.named_parameters())
    with torch.no_grad():
        for name, parameter in plain.block.named_parameters():
            value = weights[name]
            parameter.copy_(value[:, columns] if value.shape != parameter.shape else value)
        plain.head.load_state_dict(generated.head.state_dict())
        plain.embedder.columns.load_state_dict(generated.embedder.columns.state_dict())
    torch.testing.assert_close(scored(generated), scored(plain))


def streams(**options):
    return build("finalmlp", dim=4, units1=(6,), units2=(4,), heads=2, gate_units=(5,), batch_norm=False, **options)


def test_finalmlp_without_gates_and_product_is_dualmlp():
    final = streams(gate=False)
    dual = build("dualmlp", dim=4, units1=(6,), units2=(4,), batch_norm=False)
    torch.nn.init.zeros_(final.block.form.weight)
    with torch.no_grad():
        for part in ("embedder", "head"):
            getattr(dual, part).load_state_dict(getattr(final, part).state_dict())
        dual.block.blocks[0].load_state_dict(final.block.first.state_dict())
        dual.block.blocks[1].load_state_dict(final.block.second.state_dict())
    torch.testing.assert_close(scored(final), scored(dual))


def test_finalmlp_with_gates_of_one_factor_is_ungated():
    gated = streams(context1=("user",), roles2=("item",))
    ungated = streams(gate=False)
    for stream in (gated.block.first, gated.block.second):
        torch.nn.init.zeros_(stream.transforms[0].out.weight)
        torch.nn.init.zeros_(stream.transforms[0].out.bias)
    missing, unexpected = ungated.load_state_dict(gated.state_dict(), strict=False)
    assert not missing
    assert all("transforms" in name or "views" in name for name in unexpected)
    torch.testing.assert_close(scored(gated), scored(ungated))


def test_a_gate_without_context_folds_into_the_first_layer():
    gated, folded = streams(), streams(gate=False)
    folded.load_state_dict(gated.state_dict(), strict=False)
    fields = gated.embedder(inputs())
    for ours, theirs in ((gated.block.first, folded.block.first), (gated.block.second, folded.block.second)):
        factor = ours.transforms[0].gates(fields).flatten()
        first = next(m for m in theirs.modules() if isinstance(m, torch.nn.Linear))
        with torch.no_grad():
            first.weight.mul_(factor)
    torch.testing.assert_close(scored(gated), scored(folded))


def test_autoint_plus_whose_attention_is_not_read_is_a_dnn():
    plus = build("autoint_plus", dim=4, layers=2, width=6, heads=2, units=(6,))
    plain = build("dnn", dim=4, units=(6,))
    attended = plus.block.blocks[0]
    width = attended(plus.embedder(inputs())).vector.shape[1]
    with torch.no_grad():
        plus.head.linear.weight[:, :width] = 0
        plain.head.linear.weight.copy_(plus.head.linear.weight[:, width:])
        plain.head.linear.bias.copy_(plus.head.linear.bias)
        plain.embedder.load_state_dict(plus.embedder.state_dict())
        plain.block.load_state_dict(plus.block.blocks[1].state_dict())
    torch.testing.assert_close(scored(plus), scored(plain))


def test_autoint_without_layers_is_linear_in_the_vectors():
    model = build("autoint", dim=4, layers=0)
    fields = model.embedder(inputs())
    torch.testing.assert_close(scored(model), model.head.linear(fields.flat()))


def test_fwfm_that_weighs_pairs_alike_is_fm():
    weighted, plain = build("fwfm", dim=4, linear="weight"), build("fm", dim=4)
    plain.load_state_dict(weighted.state_dict(), strict=False)
    torch.nn.init.ones_(weighted.block.blocks[1].weight)
    torch.testing.assert_close(scored(weighted), scored(plain))


def test_dlrm_without_products_is_a_dnn_whose_numbers_are_one_field():
    small = {"dim": 4, "units": (6,), "dropout": 0.0}
    merged, layout = build("dlrm", interaction="cat", **small), LAYOUTS["ids"]
    assert [f.name for f in merged.shapes.fields[0].fields] == ["user", "(numbers)", "item", "category", "hour"]
    torch.manual_seed(3)
    without = CTRModel(model_spec("dlrm", interaction="cat", **small), layout).eval()
    plain = CTRModel(model_spec("dnn", **small), layout).eval()
    plain.load_state_dict(without.state_dict())
    given = random_batch(layout, 5).inputs
    torch.testing.assert_close(without(given).logits, plain(given).logits)


def test_dlrm_hands_on_the_products_and_the_field_of_the_numbers():
    model = build("dlrm", dim=4, units=())
    vectors = model.embedder(inputs()).vectors
    products = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(5) for j in range(i + 1, 5)]
    expected = torch.cat([torch.stack(products, 1), vectors[:, 1]], 1)
    torch.testing.assert_close(model.block(model.embedder(inputs())).vector, expected)


@pytest.mark.parametrize(
    ("options", "items"), [({}, {"item", "price", "category"}), ({"item_fields": ("hour",)}, {"hour"})]
)
def test_dssm_keeps_the_sides_apart(options, items):
    model = build("dssm", dim=4, user_units=(6, 3), item_units=(5, 3), **options)
    names, fields = [f.name for f in model.shapes.fields[0].fields], model.embedder(inputs())
    for field, name in enumerate(names):
        vectors = fields.vectors.clone()
        vectors[:, field] += 1
        changed = replaced(fields, vectors=vectors)
        sides = [not torch.equal(t(fields).vector, t(changed).vector) for t in (model.block.first, model.block.second)]
        assert sides == ([False, True] if name in items else [True, False])


def test_hfm_of_plain_products_is_hfm_plus_whose_layers_add_up():
    summed = build("hfm", dim=4, interaction="hadamard_product")
    fields = summed.embedder(inputs())
    side_by_side = build("hfm_plus", dim=4, interaction="hadamard_product", units=()).block(fields).vector
    torch.testing.assert_close(summed.block(fields).vector, side_by_side.unflatten(1, (-1, 4)).sum(1))


def test_dcnv2_structures_put_the_dense_layers_beside_or_after():
    small = {"dim": 4, "units": (6,), "stacked_units": (5,)}
    widths = {
        s: build("dcnv2", structure=s, **small).shapes.hidden.width
        for s in ("cross", "stacked", "parallel", "stacked_parallel")
    }
    flat = 6 * 4
    assert widths == {"cross": flat, "stacked": 5, "parallel": flat + 6, "stacked_parallel": 5 + 6}


@pytest.mark.parametrize("cross", ["full", "low_rank", "mixture"])
def test_dcnv2_builds_every_kind_of_cross(cross):
    assert scored(build("dcnv2", cross=cross, rank=3, experts=2, **SMALL)).isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "fm",
        "fwfm",
        "dnn",
        "deepfm",
        "nfm",
        "ipnn",
        "opnn",
        "dcnv2",
        "xdeepfm",
        "fibinet",
        "autoint",
        "autoint_plus",
        "finalmlp",
        "din",
        "afn",
        "afn_plus",
        "aoanet",
        "ccpm",
        "destine",
        "deepim",
        "edcn",
        "finalnet",
        "afm",
        "hfm",
        "hfm_plus",
        "hofm",
        "fmfm",
        "lorentzfm",
        "flen",
        "dlrm",
        "dssm",
        "deepcrossing",
    ],
)
def test_the_generator_stands_in_front_of_any_backbone_that_reads_vectors(name):
    options = {"linear": "field"} if name == "fwfm" else {}
    spec = model_spec(name, dim=4, **options)
    fronted = msgspec.structs.replace(spec, transforms=(FGCNN(dim=4, channels=(2,), kernel=3, maps=1),))
    model = CTRModel(fronted, LAYOUTS["everything"])
    assert len(model.shapes.fields[1].fields) > len(model.shapes.fields[0].fields)
    model(random_batch(LAYOUTS["everything"], 5).inputs).logits.sum().backward()
    assert all(p.grad is not None for p in model.transforms.parameters())


@pytest.mark.parametrize("name", ["lr", "ffm", "onn"])
def test_the_generator_is_refused_in_front_of_what_reads_no_vectors(name):
    spec = msgspec.structs.replace(model_spec(name), transforms=(FGCNN(),))
    with pytest.raises(
        CompositionError, match=r"^'fgcnn' in front of '\w+' writes field vectors that nothing after it reads;"
    ):
        CTRModel(spec, LAYOUTS["ids"])


@pytest.mark.parametrize("name", MODELS)
def test_histories_reach_every_backbone(name):
    layout = LAYOUTS["history"]
    torch.manual_seed(0)
    model = CTRModel(model_spec(name), layout).eval()
    for store in (m for m in model.modules() if hasattr(m, "reset")):
        store.reset(0.5)
    given = random_batch(layout, 4).inputs
    clicks = given.histories["clicks"]
    other = replaced(given, histories={"clicks": replaced(clicks, ids=clicks.ids.flip(0), mask=clicks.mask.flip(0))})
    assert not torch.allclose(model(given).logits, model(other).logits)


def test_fields_that_a_backbone_reads_keep_their_names():
    model = build("deepfm", dim=4)
    assert [f.name for f in model.shapes.fields[0].fields] == list(LAYOUTS["numbers"].order)
    assert isinstance(model.embedder(inputs()), Fields)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        model_spec("autoInt")
    assert str(error.value) == "no model named 'autoInt'. Did you mean 'autoint'?"


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(TypeError, match=r"^deepfm: no option named 'drop_out'\. Did you mean 'dropout'\?$"):
        model_spec("deepfm", drop_out=0.1)
    with pytest.raises(TypeError, match=r"^lr: no option named 'dim'\. lr has none\.$"):
        model_spec("lr", dim=3)


@pytest.mark.parametrize("name", MODELS)
def test_every_backbone_is_described_in_one_line(name):
    assert 15 < len(describe(name)) < 120
    assert describe(name).endswith(".")


@pytest.mark.parametrize("name", MODELS)
def test_options_reach_the_spec(name):
    parameters = MODELS[name].__kwdefaults__ or {}
    if "dim" in parameters:
        assert model_spec(name, dim=12) != model_spec(name)
