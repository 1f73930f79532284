"""FinalNet's field gate against the loops of its equation."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.fields.field_gate import FieldGate

N, DIM = 3, 2
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


@pytest.mark.reference("field_gate")
def test_every_field_comes_again_times_a_map_of_all():
    module, x = FieldGate().build(SHAPE).double(), torch.randn(2, N, DIM, dtype=torch.float64)
    torch.nn.init.normal_(module.linear.weight)
    got = module(Fields(x)).vectors
    assert torch.equal(got[:, :N], x)
    for b in range(2):
        for f in range(N):
            for d in range(DIM):
                gate = sum(module.linear.weight[f, j] * x[b, j, d] for j in range(N)) + module.linear.bias[f]
                torch.testing.assert_close(got[b, N + f, d], x[b, f, d] * gate)


def test_an_untrained_gate_repeats_the_fields():
    x = torch.randn(2, N, DIM)
    assert torch.equal(FieldGate().build(SHAPE)(Fields(x)).vectors, torch.cat([x, x], 1))


def test_the_fields_double_and_keep_their_names():
    names = [field.name for field in FieldGate().grow(SHAPE).fields]
    assert names == ["f0", "f1", "f2", "gated.f0", "gated.f1", "gated.f2"]
