"""AutoInt's layers against loops, and the identities of its specification."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.attention import Attention, attention_of

N, DIM, WIDTH, HEADS = 4, 3, 6, 2


def shape(n=N, dim=DIM):
    return FieldShape(tuple(Field(f"f{i}", "id") for i in range(n)), dim)


def stack(n=N, dim=DIM, **options):
    module = Attention(**{"layers": 1, "width": WIDTH, "heads": HEADS, **options}).build(shape(n, dim)).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return module


def vectors(n=N, dim=DIM):
    return torch.randn(5, n, dim, dtype=torch.float64)


def attend_by_hand(layer, row, *, scale=1.0):
    """Equations 5-8 of the paper for one row [fields, dim]."""
    query, key, value, *rest = layer.project.weight.split(WIDTH)
    depth = WIDTH // HEADS
    out = []
    for i in range(len(row)):
        heads = []
        for h in range(HEADS):
            part = slice(h * depth, (h + 1) * depth)
            scores = torch.stack([(query[part] @ row[i]) @ (key[part] @ e) * scale for e in row])
            weights = scores.exp() / scores.exp().sum()
            heads.append(sum(a * (value[part] @ e) for a, e in zip(weights, row, strict=True)))
        residual = rest[0] @ row[i] if rest else row[i]
        out.append(torch.relu(torch.cat(heads) + residual))
    return torch.stack(out)


@pytest.mark.reference("attention")
def test_a_layer_equals_the_loops_of_section_4_4():
    module, x = stack(), vectors()
    expected = torch.stack([attend_by_hand(module.layers[0], row) for row in x])
    torch.testing.assert_close(module(Fields(x)).vectors, expected)


def test_scores_can_be_scaled_by_the_root_of_a_heads_width():
    module, x = stack(scale=True), vectors()
    expected = torch.stack([attend_by_hand(module.layers[0], row, scale=(HEADS / WIDTH) ** 0.5) for row in x])
    torch.testing.assert_close(module(Fields(x)).vectors, expected)


def test_the_residual_is_the_identity_where_widths_agree():
    module, x = stack(dim=WIDTH, residual="identity"), vectors(dim=WIDTH)
    assert module.layers[0].project.weight.shape == (3 * WIDTH, WIDTH)
    expected = torch.stack([attend_by_hand(module.layers[0], row) for row in x])
    torch.testing.assert_close(module(Fields(x)).vectors, expected)


def test_layers_follow_each_other():
    module, x = stack(layers=2), vectors()
    once = torch.stack([attend_by_hand(module.layers[0], row) for row in x])
    twice = torch.stack([attend_by_hand(module.layers[1], row) for row in once])
    torch.testing.assert_close(module(Fields(x)).vectors, twice)


@pytest.mark.parametrize("norm", ["pre_relu", "post_relu"])
def test_normalisation_stands_before_or_after_the_activation(norm):
    module, x = stack(norm=norm), vectors()
    layer = module.layers[0]
    given = module(Fields(x)).vectors
    query, key, value, residual = layer._projections(x, layer._projected(x))
    mixed = torch.softmax(query @ key.transpose(-1, -2), -1) @ value
    total = mixed.transpose(1, 2).flatten(2) + residual
    if norm == "pre_relu":
        torch.testing.assert_close(given, torch.relu(layer.norm_before(total)))
    else:
        torch.testing.assert_close(given, layer.norm_after(torch.relu(total)))


def test_official_projections_are_rectified_with_bias():
    module, x = stack(projection="relu"), vectors()
    layer = module.layers[0]
    assert layer.project.bias is not None
    assert all((part >= 0).all() for part in layer._projections(x, layer._projected(x)))


def test_permuting_fields_permutes_outputs_and_weights():
    module, x = stack(layers=2, norm="post_relu"), vectors()
    order = torch.randperm(N)
    torch.testing.assert_close(
        module(Fields(x[:, order])).vectors, module(Fields(x)).vectors[:, order], atol=1e-12, rtol=0
    )
    weights = module.layers[0].weights(x)
    torch.testing.assert_close(module.layers[0].weights(x[:, order]), weights[:, :, order][..., order])


def test_weights_of_a_field_sum_to_1():
    weights = stack().layers[0].weights(vectors())
    assert weights.shape == (5, HEADS, N, N)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_a_single_field_looks_at_itself():
    module, x = stack(n=1), vectors(n=1)
    layer = module.layers[0]
    _, _, value, residual = layer.project.weight.split(WIDTH)
    assert (layer.weights(x) == 1).all()
    torch.testing.assert_close(module(Fields(x)).vectors, torch.relu(x @ (value + residual).T))


def test_without_queries_attention_is_uniform():
    module, x = stack(), vectors()
    with torch.no_grad():
        module.layers[0].project.weight[:WIDTH] = 0
    _, _, value, residual = module.layers[0].project.weight.split(WIDTH)
    expected = torch.relu((x @ value.T).mean(1, keepdim=True) + x @ residual.T)
    torch.testing.assert_close(module(Fields(x)).vectors, expected)


def test_equal_heads_give_equal_halves():
    module, x = stack(), vectors()
    depth = WIDTH // HEADS
    with torch.no_grad():
        for part in module.layers[0].project.weight.split(WIDTH):
            part[depth:] = part[:depth]
    out = module(Fields(x)).vectors
    torch.testing.assert_close(out[..., :depth], out[..., depth:])


def test_without_values_and_with_unit_residual_a_layer_is_the_identity_on_non_negative_fields():
    module, x = stack(dim=WIDTH), vectors(dim=WIDTH).abs()
    with torch.no_grad():
        module.layers[0].project.weight[2 * WIDTH : 3 * WIDTH] = 0
        module.layers[0].project.weight[3 * WIDTH :] = torch.eye(WIDTH)
    torch.testing.assert_close(module(Fields(x)).vectors, x)


def test_gradients_are_those_of_finite_differences():
    module = stack(n=3)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(module, {"layers.0.project.weight": w}, Fields(x)).vectors,
        (vectors(n=3)[:2].requires_grad_(), module.layers[0].project.weight),
    )


def test_dropped_weights_are_scaled_up_in_training_only():
    module, x = stack(dropout=0.5, residual="none"), vectors()
    plain = stack(residual="none")
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module.eval()(Fields(x)).vectors, plain(Fields(x)).vectors)
    assert not torch.allclose(module.train()(Fields(x)).vectors, plain(Fields(x)).vectors)


def test_views_and_extras_pass_by():
    views, extra = {"a": torch.ones(5, 1, 1)}, torch.ones(5, 2)
    out = stack()(Fields(vectors(), extra, views))
    assert out.views is views
    assert out.extra is extra


def test_the_width_becomes_the_dim():
    assert Attention(width=6, heads=2).grow(shape()).dim == 6
    assert Attention(layers=0).grow(shape()) == shape()


def test_heads_that_do_not_divide_the_width_are_refused():
    for heads in (3, 0, -2):
        with pytest.raises(
            CompositionError,
            match=rf"^attention width 64 is not divisible by heads={heads}; use a number of heads that divides the ",
        ):
            Attention(width=64, heads=heads).grow(shape())


def test_variants_are_those_of_paper_and_code_and_each_point_can_be_overridden():
    options = {"layers": 2, "width": 8, "heads": 2, "residual": None, "scale": None, "norm": None, "dropout": 0.0}
    paper, official = attention_of("paper", **options), attention_of("official", **options)
    assert (paper.projection, paper.scale, paper.norm, paper.residual) == ("linear", False, "none", "project")
    assert (official.projection, official.scale, official.norm) == ("relu", True, "post_relu")
    assert attention_of("paper", **{**options, "layers": 3}).scale
    assert not attention_of("official", **{**options, "scale": False}).scale
    assert attention_of("paper", **{**options, "residual": "identity"}).residual == "identity"
