"""FiGNN's messages, updates and scores against loops over nodes and edges."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.graph import FieldGraph, GraphLayer, GRUStep, ScoredFields

N, DIM = 4, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def vectors():
    return torch.randn(5, N, DIM, dtype=torch.float64)


@pytest.mark.reference("field_graph")
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("gru", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_fields_listen_to_all_others_round_after_round(share, gru, residual):
    module, x = randomly(FieldGraph(layers=2, gru=gru, residual=residual, share=share).build(SHAPE)), vectors()
    source, target = module.attend.weight
    layers = [module.layers[0], module.layers[0 if share else 1]]
    expected = []
    for e in x:
        state = list(e)
        for layer in layers:
            messages = []
            for i in range(N):
                others = [j for j in range(N) if j != i]
                scores = torch.stack([torch.nn.functional.leaky_relu(source @ e[i] + target @ e[j]) for j in others])
                weights = torch.softmax(scores, 0)
                heard = sum(w * (state[j] @ layer.give.weight[j]) for w, j in zip(weights, others, strict=True))
                messages.append(heard @ layer.take.weight[i] + layer.bias)
            if gru:
                state = [module.update(a, h) for a, h in zip(messages, state, strict=True)]
            else:
                state = [a + h for a, h in zip(messages, state, strict=True)]
            if residual:
                state = [h + first for h, first in zip(state, e, strict=True)]
        expected.append(torch.stack(state))
    torch.testing.assert_close(module(Fields(x)).vectors, torch.stack(expected))


def test_the_update_is_a_gru_cell():
    ours, theirs = randomly(GRUStep(DIM)), torch.nn.GRUCell(DIM, DIM).double()
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.of_input.weight)
        theirs.bias_ih.copy_(ours.of_input.bias)
        theirs.weight_hh.copy_(ours.of_state.weight)
        theirs.bias_hh.copy_(ours.of_state.bias)
    x, state = vectors().flatten(0, 1), vectors().flatten(0, 1)
    torch.testing.assert_close(ours(x, state), theirs(x, state))


@pytest.mark.reference("scored_fields")
def test_the_logit_weighs_each_fields_score():
    module, x = randomly(ScoredFields().build(SHAPE)), vectors()
    for b in range(5):
        weights = torch.sigmoid(module.weigh.weight @ x[b].flatten())
        expected = sum(weights[i] * (module.score.weight[0] @ x[b, i]) for i in range(N))
        torch.testing.assert_close(module(Fields(x)).logit[b, 0], expected)


def test_a_graph_without_edges_is_refused():
    with pytest.raises(CompositionError, match=r"^'field_graph' of layers=3 over 1 fields passes no message;"):
        FieldGraph().grow(FieldShape(SHAPE.fields[:1], DIM))


def test_messages_start_small_so_that_many_rounds_do_not_blow_up():
    torch.manual_seed(0)
    layer = GraphLayer(10, 10)
    assert layer.give.weight.std().item() == pytest.approx(0.1, rel=0.1)
    assert layer.take.weight.std().item() == pytest.approx(0.1, rel=0.1)
