"""Logarithmic neurons against products of powers, and vectors of a branch of its own."""

import math

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape, Select, View
from clicksmith.errors import CompositionError
from clicksmith.interact.logarithmic import SMALLEST, Logarithmic
from clicksmith.interact.own_vectors import OwnVectors

N, DIM, NEURONS = 3, 4, 5
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def built():
    module = Logarithmic(neurons=NEURONS).build(SHAPE).double()
    for norm in (module.log_norm, module.exp_norm):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return module


def normal(x, norm, i):
    return (x - norm.running_mean[i]) / (norm.running_var[i] + norm.eps) ** 0.5 * norm.weight[i] + norm.bias[i]


@pytest.mark.reference("logarithmic")
@torch.no_grad()
def test_a_neuron_multiplies_the_fields_to_its_powers():
    module, x = built().eval(), torch.randn(2, N, DIM, dtype=torch.float64)
    x[0, 1, 2] = 0.0
    got = module(Fields(x)).vector.view(2, DIM, NEURONS)
    for b in range(2):
        for d in range(DIM):
            logs = [normal(math.log(max(abs(x[b, f, d]), SMALLEST)), module.log_norm, f) for f in range(N)]
            for j in range(NEURONS):
                product = math.prod(logs[f].exp() ** module.powers.weight[j, f] for f in range(N))
                torch.testing.assert_close(got[b, d, j], normal(product, module.exp_norm, j))
    assert Logarithmic(neurons=NEURONS).out(SHAPE).width == DIM * NEURONS


def test_in_training_each_field_and_each_neuron_is_normalised_over_rows_and_coordinates():
    module, x = Logarithmic(neurons=NEURONS).build(SHAPE).double(), torch.randn(8, N, DIM, dtype=torch.float64)
    got = module(Fields(x)).vector.view(8 * DIM, NEURONS)
    torch.testing.assert_close(got.mean(0), torch.zeros(NEURONS, dtype=torch.float64), atol=1e-9, rtol=0)
    columns = x.abs().log().transpose(1, 2).reshape(8 * DIM, N)
    torch.testing.assert_close(module.log_norm.running_mean, 0.1 * columns.mean(0))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_powers_are_taken_in_single_precision_under_autocast_and_then_rounded(training, grad):
    module, x = Logarithmic(neurons=NEURONS).build(SHAPE).train(training), torch.randn(4, N, DIM)
    with torch.set_grad_enabled(grad):
        exact = module(Fields(x)).vector
        with torch.autocast("cpu", torch.bfloat16):
            lowered = module(Fields(x)).vector
    assert lowered.dtype == torch.bfloat16
    assert torch.equal(lowered, exact.bfloat16())


def test_no_neurons_are_refused():
    with pytest.raises(CompositionError, match=r"^0 logarithmic neurons give no products; give neurons=1 or more\.$"):
        Logarithmic(neurons=0).out(SHAPE)


@pytest.mark.reference("own_vectors")
def test_own_vectors_lay_a_view_side_by_side():
    block, view = OwnVectors(name="deep", dim=2), torch.randn(3, N, 2)
    assert block.reads() == (View("deep", 2, Select()),)
    assert block.out(SHAPE).width == N * 2
    given = block.build(SHAPE)(Fields(torch.zeros(3, N, DIM), views={"deep": view})).vector
    assert given.tolist() == [[number for vector in row for number in vector] for row in view.tolist()]
