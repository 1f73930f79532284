"""The generated checks find the faults that they are there for: one broken block for each."""

# ruff: noqa: ARG002

import pytest
import torch
from torch import nn

from clicksmith.batch.batch import History
from clicksmith.embed.embedder import Embed
from clicksmith.embed.rows import RowStore
from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block, HistoryShape, Pool
from clicksmith.models.spec import ModelSpec
from clicksmith.testing.checks import CHECKS, name_of, run_checks
from clicksmith.testing.subject import Subject


class ToyBroken(Block, frozen=True):
    """A sound block but for the one fault it names."""

    fault: str = ""
    units: list[int] | None = None

    def out(self, shape: FieldShape) -> HiddenShape:
        return HiddenShape(6)

    def build(self, shape: FieldShape) -> nn.Module:
        return ToyBrokenModule(shape.flat, self.fault)


class ToyBrokenModule(nn.Module):
    def __init__(self, inputs: int, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.linear = nn.Linear(inputs, 6)
        self.norm = nn.LayerNorm(inputs)
        self.unused = nn.Parameter(torch.ones(3)) if fault == "unused" else None
        self.twin = self.linear.weight if fault == "shared" else None
        self.count = 0
        self.register_buffer("seen", torch.zeros(1))
        if fault == "unseeded":
            nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(torch.seed() % 2**32))

    def forward(self, fields: Fields) -> Hidden:
        flat = fields.flat()
        x = torch.tanh(self.linear(self.norm(flat)))
        match self.fault:
            case "neighbours":
                x = x - x.mean(0)
            case "dropout":
                x = nn.functional.dropout(x, 0.5, training=True)
            case "nan":
                x = x / (flat.abs().sum(1, keepdim=True) > 1e3)
            case "blind":
                x = x * 0 + self.seen
            case "float":
                x = x.float()
            case "frozen batch":
                x = x + torch.zeros(len(list(x)), 6)
            case "one row":
                x = x.squeeze()
            case "counter":
                self.count += 1
                x = x + self.count
            case "low precision":
                x = x * (1 + 10 * (x.dtype == torch.bfloat16))
        return Hidden(x)


class ToyLeakyPool(Pool, frozen=True):
    """A mean that counts padding in."""

    def build(self, shape: HistoryShape) -> nn.Module:
        return ToyLeakyPoolModule()


class ToyLeakyPoolModule(nn.Module):
    def encode(self, keys, only, mask):
        return {"pooled": keys.mean(1)}

    def read(self, state, query, owner):
        return state["pooled"] if owner is None else state["pooled"].index_select(0, owner)


class ToyOwnerlessPool(Pool, frozen=True):
    """Reads the first users' states, whoever the candidates belong to."""

    def build(self, shape: HistoryShape) -> nn.Module:
        return ToyOwnerlessPoolModule()


class ToyOwnerlessPoolModule(nn.Module):
    def encode(self, keys, only, mask):
        return {"pooled": (keys * mask[..., None, None]).sum(1)}

    def read(self, state, query, owner):
        return state["pooled"][torch.arange(query.shape[0]) % state["pooled"].shape[0]]


def finds(check, function):
    """Return whether the check of that name fails."""
    [run] = [c for c in CHECKS if name_of(c) == check]
    try:
        run(Subject(function, function()))
    except Exception:  # a crash is a finding too
        return True
    return False


def failures(function):
    return {r.name for r in run_checks(function) if not r.passed}


def broken(fault, **options):
    def function(*, dim: int = 4) -> ModelSpec:
        return ModelSpec(embed=Embed(dim=dim, **options), interact=ToyBroken(fault=fault))

    return function


def test_the_sound_block_passes():
    assert not failures(broken(""))


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("neighbours", "rows do not see each other"),
        ("dropout", "evaluation is deterministic"),
        ("counter", "evaluation is deterministic"),
        ("unused", "every parameter matters"),
        ("shared", "state dict round trip"),
        ("unseeded", "same seed same weights"),
        ("nan", "one finite logit per row and output"),
        ("blind", "overfits 32 rows"),
        ("float", "double precision agrees"),
        ("frozen batch", "exports with a batch of any size"),
        ("one row", "empty batch and batch of one"),
        ("low precision", "runs in bfloat16"),
    ],
)
def test_a_fault_is_found(fault, check):
    assert finds(check, broken(fault))


def test_a_pool_that_reads_padding_is_found():
    assert finds("padding changes nothing", broken("", pool=ToyLeakyPool()))


def test_a_pool_that_ignores_the_owner_is_found():
    assert finds("shared histories score alike", broken("", pool=ToyOwnerlessPool()))


def test_swallowed_options_are_found():
    def swallowing(**options) -> ModelSpec:
        return ModelSpec(interact=ToyBroken())

    assert failures(swallowing) == {"unknown option is a type error"}


def test_a_spec_that_json_changes_is_found():
    def listing(*, dim: int = 4) -> ModelSpec:
        return ModelSpec(embed=Embed(dim=dim), interact=ToyBroken(units=(1,)))  # a tuple where a list is declared

    assert failures(listing) == {"spec survives json"}


def test_gradients_beyond_the_looked_up_rows_are_found(monkeypatch):
    def whole_table(self, ids, offsets):
        return self.weight[ids + offsets] + self.weight.mean()

    monkeypatch.setattr(RowStore, "forward", whole_table)
    assert finds("gradients touch only rows looked up", broken(""))


def test_rates_that_forget_nothing_are_found(monkeypatch):
    monkeypatch.setattr("clicksmith.embed.embedder.forget", lambda inputs, rate: inputs)
    assert finds("unseen rows are trained", broken(""))


def test_missing_numbers_that_spread_are_found(monkeypatch):
    monkeypatch.setattr("clicksmith.embed.numbers.ScaledNumbers.forward", lambda self, x: x.unsqueeze(-1) * self.weight)
    assert finds("missing values are finite", broken(""))


def test_unseen_ids_without_a_vector_are_found(monkeypatch):
    lookup = RowStore.forward

    def poisoned(self, ids, offsets):
        return lookup(self, ids, offsets).masked_fill((ids == 1).unsqueeze(-1), float("nan"))

    monkeypatch.setattr(RowStore, "forward", poisoned)
    assert finds("unseen ids are finite", broken(""))


def test_copies_that_share_are_found(monkeypatch):
    monkeypatch.setattr(ToyBrokenModule, "__deepcopy__", lambda self, memo: self, raising=False)
    assert finds("copies are equal and apart", broken(""))


def test_dropped_features_that_leave_a_history_are_found(monkeypatch):
    monkeypatch.setattr(History, "of", staticmethod(lambda ids: History(ids, ids[..., 0] > 0)))
    assert finds("dropped features take no row and change nothing else", broken(""))


def test_vectors_that_depend_on_the_number_of_an_id_are_found(monkeypatch):
    lookup = RowStore.forward
    monkeypatch.setattr(RowStore, "forward", lambda self, ids, at: lookup(self, ids, at) + 0.1 * ids.unsqueeze(-1))
    assert finds("forgotten features take no row and read as unseen", broken(""))


def test_every_check_has_a_fault_above():
    text = open(__file__).read()  # noqa: PTH123, SIM115
    assert [name for name in map(name_of, CHECKS) if f'"{name}"' not in text] == []
