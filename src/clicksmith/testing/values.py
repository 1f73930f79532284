"""Checks of specs and weights as values: JSON, copies, seeds, saved state."""

import copy
import json

import torch

from clicksmith.parts import from_plain, to_plain
from clicksmith.testing.subject import Subject, require, require_close


def check_state_dict_round_trip(subject: Subject) -> None:
    """Weights move to a second model of the spec; no two entries share memory (safetensors refuses that)."""
    first, second, inputs = subject.model(seed=1), subject.model(seed=2), subject.inputs(5)
    state = first.state_dict()
    addresses = [tensor.data_ptr() for tensor in state.values() if tensor.numel()]
    require(len(set(addresses)) == len(addresses), "two entries of the state dict share memory")
    second.load_state_dict(state)
    require_close(second(inputs).logits, first(inputs).logits, "logits before saving and after loading", 0.0)


def check_copies_are_equal_and_apart(subject: Subject) -> None:
    """A deep copy (a teacher, an average of weights) scores alike and shares nothing."""
    model, inputs = subject.model(), subject.inputs(5)
    twin = copy.deepcopy(model)
    before = model(inputs).logits
    require_close(twin(inputs).logits, before, "logits of a model and of its copy", 0.0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    require_close(model(inputs).logits, before, "logits before and after its copy was changed", 0.0)


def check_same_seed_same_weights(subject: Subject) -> None:
    """Building twice from one seed gives equal weights; another seed gives others."""
    first, again, other = subject.model(seed=3), subject.model(seed=3), subject.model(seed=4)
    same = all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    require(same, "two models built from one seed have different weights")
    differ = any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    require(differ, "two seeds give the same weights")


def check_spec_survives_json(subject: Subject) -> None:
    """Spec -> JSON -> spec is equality."""
    text = json.dumps(to_plain(subject.spec))
    require(from_plain(json.loads(text)) == subject.spec, "the spec read back from JSON is another")


def check_unknown_option_is_a_type_error(subject: Subject) -> None:
    """A misspelt option is refused, not swallowed."""
    try:
        subject.function(no_such_option=1)
    except TypeError:
        return
    require(False, "an unknown option is accepted silently; remove **kwargs from the model function")
