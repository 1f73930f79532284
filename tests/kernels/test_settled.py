import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from clicksmith.interact.cross import CrossStack
from clicksmith.kernels import settled
from clicksmith.kernels.layers import Activation, DenseStack, Linear
from clicksmith.kernels.settled import Product, settle

needs_packing = pytest.mark.skipif(not settled._packs(), reason="this torch has no packed products")


def lived_in(module: nn.Module) -> nn.Module:
    """Give every parameter and statistic values that matter, and switch to evaluation."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.1)
        for m in module.modules():
            if isinstance(m, nn.BatchNorm1d):
                m.running_mean.normal_()  # type: ignore[union-attr]
                m.running_var.uniform_(0.1, 3)  # type: ignore[union-attr]
    return module.eval()


def stack(**options: object) -> DenseStack:
    torch.manual_seed(0)
    return lived_in(DenseStack(24, (40, 16), **{"batch_norm": True, "dropout": 0.3, **options}))  # type: ignore


def scored(module: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return module(x)


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "prelu", "linear"])
def test_a_settled_stack_gives_what_its_modules_give(rows: int, batch_norm: bool, activation: Activation):
    module = stack(batch_norm=batch_norm, activation=activation)
    x = torch.randn(rows, 24) * 2 + 1
    expected = scored(copy.deepcopy(module.layers).double(), x.double())
    module.settle()
    torch.testing.assert_close(scored(module, x).double(), expected, atol=2e-5, rtol=2e-5)


@needs_packing
def test_norm_and_relu_go_into_the_products():
    module = stack()
    module.settle()
    assert [type(step) for step in module.kept] == [Product, Product]


def test_narrow_layers_of_a_stack_stay_as_they_are():
    torch.manual_seed(0)
    module, x = lived_in(DenseStack(24, (8, 40, 4), batch_norm=True)), torch.randn(30, 24)
    expected = scored(module, x)
    settle(module)
    torch.testing.assert_close(scored(module, x), expected, atol=2e-5, rtol=2e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert scored(module, x).dtype == torch.float32


@pytest.mark.parametrize("shape", [(24,), (3, 24), (2, 5, 24), (0, 24), (2, 0, 24)])
def test_a_settled_linear_layer_takes_every_shape(shape: tuple[int, ...]):
    torch.manual_seed(0)
    layer, x = lived_in(Linear(24, 33)), torch.randn(shape)
    expected = scored(layer, x)
    settle(layer)
    torch.testing.assert_close(scored(layer, x), expected, atol=1e-5, rtol=1e-5)


def test_views_that_are_not_contiguous_are_read_right():
    torch.manual_seed(0)
    layer, x = lived_in(Linear(24, 33)), torch.randn(24, 50).t()
    expected = scored(layer, x)
    settle(layer)
    torch.testing.assert_close(scored(layer, x), expected, atol=1e-5, rtol=1e-5)


def test_a_settled_cross_network_gives_the_same():
    torch.manual_seed(0)
    net, x = lived_in(CrossStack(Linear(24, 24) for _ in range(3))), torch.randn(50, 24)
    expected = scored(net, x)
    settle(net)
    torch.testing.assert_close(scored(net, x), expected, atol=1e-5, rtol=1e-5)


@needs_packing
def test_under_autocast_the_same_layer_is_scored_in_bfloat16_and_then_in_float32_again():
    module, x = stack(), torch.randn(50, 24)
    module.settle()
    single = scored(module, x)
    with torch.autocast("cpu", torch.bfloat16):
        low = scored(module, x)
    assert low.dtype == torch.bfloat16
    assert 0 < float((low - single).norm() / single.norm()) < 0.02
    assert torch.equal(scored(module, x), single)


def test_training_and_other_weights_make_it_forget():
    module, other, x = stack(), stack(), torch.randn(50, 24)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.5)
    settle(module)
    module.load_state_dict(other.state_dict())
    assert torch.equal(scored(module, x), scored(other, x))
    settle(module)
    with torch.no_grad():
        module.train().eval()
        module.layers[0].weight.mul_(2)
    assert not torch.allclose(scored(module, x), scored(other, x))


def test_nothing_is_settled_in_training():
    module, x = stack().train(), torch.randn(50, 24)
    settle(module)
    assert module.kept is None
    with torch.no_grad():
        assert not torch.allclose(module(x), module.eval()(x))


def test_gradients_go_through_the_weights_of_a_settled_layer():
    module, x = stack(), torch.randn(50, 24)
    settle(module)
    module(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_settled_model_can_be_copied_pickled_and_exported():
    module, x = stack(), torch.randn(50, 24)
    expected = scored(module, x)
    settle(module)
    exported = torch.export.export(module, (x,)).module()
    pickled = pickle.loads(pickle.dumps(module))  # noqa: S301 - our own bytes
    for again in (copy.deepcopy(module), pickled, exported):
        torch.testing.assert_close(scored(again, x), expected, atol=2e-5, rtol=2e-5)
