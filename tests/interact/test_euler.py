"""EulerNet's layers against complex numbers raised to powers one by one."""

import cmath

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.euler import Euler

N, DIM = 4, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.requires_grad_(requires_grad=False)


@pytest.mark.reference("euler")
@pytest.mark.parametrize("norm", [True, False])
def test_each_neuron_multiplies_powers_of_all_fields(norm):
    module = randomly(Euler(neurons=(2, 3), norm=norm).build(SHAPE))
    e = torch.randn(2, N, DIM, dtype=torch.float64)
    expected = []
    for row in e:
        z = [[complex(module.modulus[f, 0] * cmath.exp(1j * row[f, d])) for d in range(DIM)] for f in range(N)]
        for layer in module.layers:
            flat = [value for vector in z for value in vector]
            after = []
            for k in range(len(layer.powers)):
                vector = []
                for d in range(DIM):
                    product = cmath.exp(complex(layer.shift[0, 0, k, d], layer.shift[1, 0, k, d]))
                    for f in range(len(z)):
                        product *= z[f][d] ** float(layer.powers[k, f])
                    weight, constant = layer.linear.weight[k * DIM + d], layer.linear.bias[k * DIM + d]
                    real = sum(w * v.real for w, v in zip(weight, flat, strict=True)) + constant
                    imaginary = sum(w * v.imag for w, v in zip(weight, flat, strict=True)) + constant
                    vector.append(product + complex(max(real, 0.0), max(imaginary, 0.0)))
                after.append(vector)
            parts = [
                norm_of(torch.tensor([[getattr(v, part) for v in vector] for vector in after], dtype=torch.float64))
                for norm_of, part in zip(layer.norms, ("real", "imag"), strict=True)
            ]
            z = torch.complex(*parts).tolist()
        expected.append(torch.tensor([v.real + v.imag for vector in z for v in vector], dtype=torch.float64))
    torch.testing.assert_close(module(Fields(e)).vector, torch.stack(expected), atol=1e-6, rtol=1e-6)


def test_a_layer_as_wide_as_the_fields_starts_as_the_identity_of_the_product():
    module = Euler(neurons=(N,)).build(SHAPE)
    assert torch.equal(module.layers[0].powers, torch.eye(N))


def test_no_neurons_are_refused():
    with pytest.raises(CompositionError, match=r"^euler neurons \(\) give no output; give positive numbers"):
        Euler(neurons=()).out(SHAPE)


def test_vectors_of_one_number_are_not_normalised():
    one = FieldShape(SHAPE.fields, 1)
    with pytest.raises(CompositionError, match=r"^euler normalises vectors of dim=1 to zero, which has no phase;"):
        Euler().out(one)
    assert Euler(norm=False).out(one).width == 20
