"""FinalMLP's gates: identities of the specification and messages."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.fields.gate import ContextGate

NAMES = (Field("user", "id", "user"), Field("item", "id", "item"), Field("hour", "id"))
SHAPE = FieldShape(NAMES, 4, base=NAMES)


def fields():
    return Fields(torch.randn(5, 3, 4, dtype=torch.float64), views={"gate": torch.randn(5, 1, 2, dtype=torch.float64)})


def built(**options):
    module = ContextGate(**{"dim": 2, "fields": ("user",), "units": (6,), **options}).build(SHAPE).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.reference("context_gate")
@pytest.mark.parametrize("per", ["coordinate", "field"])
def test_vectors_are_multiplied_by_twice_a_sigmoid_of_the_context(per):
    module, given = built(per=per), fields()
    hidden = module.hidden.layers[0]
    width = 4 if per == "coordinate" else 1
    for row in range(5):
        middle = torch.relu(hidden.weight @ given.views["gate"][row, 0] + hidden.bias)
        gates = (2 * torch.sigmoid(module.out.weight @ middle + module.out.bias)).view(3, width)
        torch.testing.assert_close(module(given).vectors[row], gates * given.vectors[row])


def test_a_zero_last_layer_lets_everything_pass_unchanged():
    module, given = built(), fields()
    torch.nn.init.zeros_(module.out.weight)
    torch.nn.init.zeros_(module.out.bias)
    assert torch.equal(module(given).vectors, given.vectors)


def test_without_context_the_gate_is_the_same_for_every_row():
    module, given = built(fields=()), fields()
    ratio = module(given).vectors / given.vectors
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert ContextGate().reads() == ("vectors",)


def test_the_constant_context_starts_at_zero():
    assert (ContextGate().build(SHAPE).constant == 0).all()


def test_the_context_is_chosen_by_name_and_role():
    (_, view) = ContextGate(name="g", dim=2, roles=("user",)).reads()
    assert [f.name for f in SHAPE.selected(view)] == ["user"]
    (_, view) = ContextGate(name="g", dim=2, fields=("item", "hour")).reads()
    assert [f.name for f in SHAPE.selected(view)] == ["item", "hour"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (ContextGate(fields=("usr",)), r"^context of 'gate': no field named 'usr'\. Did you mean 'user'\?$"),
        (
            ContextGate(fields=("hour",), roles=("user",)),
            r"^the context of 'gate' selects no field \(roles user\); set the roles in the schema, name fields "
            r"instead, or leave the context empty\.$",
        ),
        (ContextGate(per="row"), r"^gate per='row' is not known; use 'coordinate' or 'field'\.$"),
    ],
)
def test_nonsense_is_refused(part, message):
    with pytest.raises(CompositionError, match=message):
        part.grow(SHAPE)


@pytest.mark.parametrize("per", ["coordinate", "field"])
def test_settled_gates_are_computed_once_and_give_the_same_bits(per, monkeypatch):
    module, given = built(per=per, fields=()).eval(), fields()
    with torch.inference_mode():
        expected = module(given).vectors
        module.settle()
        monkeypatch.setattr(module.hidden, "forward", lambda _: pytest.fail("computed again"))
        assert torch.equal(module(given).vectors, expected)


def test_settled_gates_are_forgotten_when_the_weights_may_change():
    module, given = built(fields=()).eval(), fields()
    other = built(fields=()).eval()
    module.settle()
    module.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert torch.equal(module(given).vectors, other(given).vectors)
        module.settle()
        module.train()
        module.out.bias.add_(1)
        assert not torch.equal(module(given).vectors, other(given).vectors)
    module.eval().settle()
    module(given).vectors.sum().backward()
    assert module.constant.grad is not None


def test_gates_with_a_context_are_never_settled():
    module, given = built().eval(), fields()
    module.settle()
    with torch.no_grad():
        before = module(given).vectors
        given.views["gate"].add_(1)
        assert not torch.equal(module(given).vectors, before)
