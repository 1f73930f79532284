"""The contract carries what comes next: doubles of later techniques pass the generated checks as they are."""

# ruff: noqa: ARG002 — sockets give every part more than each double needs

from dataclasses import replace

import msgspec
import pytest
import torch
from torch import Tensor, nn

from clicksmith.batch.batch import Targets
from clicksmith.embed.embedder import Embed
from clicksmith.embed.rows import row_stores
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Loss, Task
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.sequence.din import DIN
from clicksmith.testing.checks import CHECKS, name_of
from clicksmith.testing.layouts import LAYOUTS, random_batch
from clicksmith.testing.subject import Subject
from toys import (
    ToyBottom,
    ToyBuckets,
    ToyCrosses,
    ToyDeep,
    ToyDomainHead,
    ToyGated,
    ToyHazardHead,
    ToyIdGate,
    ToyLinear,
    ToyMixedDims,
    ToyPairs,
)

EVERYTHING = LAYOUTS["everything"]
CROSSED = msgspec.structs.replace(
    EVERYTHING,
    slots=(*EVERYTHING.slots, Slot("user*item", 30)),
    ids=(*EVERYTHING.ids, IdColumn("user*item", "user*item")),
    order=(*EVERYTHING.order, "user*item"),
)
"""A column that the encoder adds: a memorised cross is a field like any other."""
BINS = (Task("short", 4), Task("long", 5))


def plain(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=ToyDeep())


def domain_head(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=ToyDeep(), head=ToyDomainHead())


def domain_head_without_a_vector(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=ToyLinear(), head=ToyDomainHead())


def hazard_head(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=ToyDeep(), head=ToyHazardHead(), tasks=BINS)


def gated_table(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim, table=ToyGated(inner=Plain())), interact=ToyDeep())


def gated_ids(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim, ids=ToyIdGate()), interact=ToyDeep())


def mixed_dims(*, dim: int = 4) -> ModelSpec:
    dims = (("user", 2), ("item", 3), ("tag", 2))
    return ModelSpec(embed=Embed(dim=dim, table=ToyGated(inner=ToyMixedDims(dims=dims))), interact=ToyDeep())


def user_state(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim, pool=ToyBuckets()), interact=ToyDeep())


def crosses(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(
        embed=Embed(dim=dim), transforms=(ToyPairs(), ToyCrosses(names=("user*item",))), interact=ToyDeep()
    )


def merged_numbers(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim, numeric=ToyBottom()), interact=ToyDeep())


def all_at_once(*, dim: int = 4) -> ModelSpec:
    embed = Embed(dim=dim, ids=ToyIdGate(), table=ToyMixedDims(dims=(("user", 2),)), pool=DIN(units=(8,)))
    pairs = (ToyPairs(), ToyCrosses(names=("user*item",)))
    return ModelSpec(embed=embed, transforms=pairs, interact=ToyDeep(), head=ToyDomainHead(), tasks=BINS)


DOUBLES = (
    plain,
    domain_head,
    domain_head_without_a_vector,
    hazard_head,
    gated_table,
    gated_ids,
    mixed_dims,
    user_state,
    crosses,
    merged_numbers,
    all_at_once,
)


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("double", DOUBLES, ids=lambda f: f.__name__)
def test_double(double, check):
    check(Subject(double, double(), CROSSED))


def test_a_domain_head_reads_the_domain_and_nothing_of_the_labels():
    model = Subject(domain_head, domain_head(), CROSSED).model()
    inputs = random_batch(CROSSED, 4).inputs
    moved = replace(inputs, domain=(inputs.domain % 3 + 1).int())
    assert not torch.allclose(model(inputs).logits, model(moved).logits)
    assert not {"labels", "label"} & set(dir(inputs))


class ToyHazardLoss(Loss, frozen=True):
    """Negative log likelihood of a discrete hazard per task: survive the bins before, die in bin k or be censored."""

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyHazardLossModule(tasks)


class ToyHazardLossModule(nn.Module):
    def __init__(self, tasks: tuple[Task, ...]) -> None:
        super().__init__()
        self.widths = [task.width for task in tasks]

    def forward(self, output: Output, targets: Targets) -> Tensor:
        per_task = []
        for i, logits in enumerate(output.logits.split(self.widths, 1)):
            last = targets.labels[:, i : i + 1].long()
            bins = torch.arange(logits.shape[1])
            died = (bins == last) & targets.event.unsqueeze(1)
            terms = nn.functional.binary_cross_entropy_with_logits(logits, died.to(logits.dtype), reduction="none")
            per_task.append((terms * (bins <= last)).sum(1))
        return torch.stack(per_task, 1) * targets.mask


class ToyWeighted(Loss, frozen=True):
    """A weight per row around any loss."""

    inner: Loss

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyWeightedModule(self.inner.build(tasks))


class ToyWeightedModule(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, output: Output, targets: Targets) -> Tensor:
        return self.inner(output, targets) * targets.weight.unsqueeze(1)


class ToyClick(Loss, frozen=True):
    """Log loss of each task's single output."""

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyClickModule()


class ToyClickModule(nn.Module):
    def forward(self, output: Output, targets: Targets) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(output.logits, targets.labels, reduction="none")


class ToyDistil(Loss, frozen=True):
    """A teacher beside the labels, mixed by a learned ratio per row (an own parameter group of the loss)."""

    inner: Loss

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyDistilModule(self.inner.build(tasks))


class ToyDistilModule(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.ratio = nn.Linear(2, 1)

    def forward(self, output: Output, targets: Targets) -> Tensor:
        share = torch.sigmoid(self.ratio(torch.cat([output.logits.detach(), targets.teacher], 1)))
        soft = nn.functional.binary_cross_entropy_with_logits(
            output.logits, torch.sigmoid(targets.teacher), reduction="none"
        )
        return share * self.inner(output, targets) + (1 - share) * soft


def test_a_masked_weighted_two_task_hazard_loss_equals_its_loops():
    torch.manual_seed(0)
    rows, logits = 6, torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    targets = Targets(
        labels=torch.stack([torch.randint(0, 4, (rows,)), torch.randint(0, 5, (rows,))], 1).float(),
        mask=torch.rand(rows, 2) < 0.6,
        weight=torch.rand(rows, dtype=torch.float64),
        event=torch.rand(rows) < 0.5,
    )
    loss = ToyWeighted(inner=ToyHazardLoss()).build(BINS)(Output(logits), targets)
    expected = torch.zeros(rows, 2, dtype=torch.float64)
    for r in range(rows):
        for t, start in enumerate((0, 4)):
            last = int(targets.labels[r, t])
            for k in range(last + 1):
                hazard = torch.sigmoid(logits[r, start + k])
                died = k == last and bool(targets.event[r])
                expected[r, t] -= torch.log(hazard if died else 1 - hazard)
            expected[r, t] *= targets.weight[r] * targets.mask[r, t]
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    blind = ~targets.mask[:, 0]
    assert blind.any() and not logits.grad[blind, :4].any()


@pytest.mark.parametrize("loss", [ToyDistil(inner=ToyClick()), ToyWeighted(inner=ToyDistil(inner=ToyClick()))])
def test_a_loss_with_a_teacher_trains_the_model_and_its_own_ratio(loss):
    batch = random_batch(EVERYTHING, 16)
    targets = replace(batch.targets, teacher=torch.randn(16, 1), weight=torch.rand(16))
    model, module = CTRModel(plain(), EVERYTHING), loss.build((Task("label"),))
    value = module(model(batch.inputs), targets)
    assert value.shape == (16, 1)
    value.mean().backward()
    assert all(p.grad is not None for p in [*model.parameters(), *module.parameters()])


def test_a_gate_is_looked_up_per_id_never_per_vocabulary():
    wide = Layout(slots=(Slot("ad", 1_000_000),), ids=(IdColumn("ad", "ad"),), order=("ad",))
    model = CTRModel(gated_table(dim=1), wide)
    seen = []
    for store in row_stores(model):
        store.sink = type("Sink", (), {"catches_up": False, "collect": lambda s, r, g: seen.append(g.numel())})()
    model(random_batch(wide, 3).inputs).logits.sum().backward()
    assert len(seen) == 3 and all(n == 3 for n in seen)
    assert all(store.weight.grad is None for store in row_stores(model))


def test_mixed_dims_store_fewer_numbers_than_plain():
    def numbers(spec):
        return CTRModel(spec, EVERYTHING).parameter_counts().embedding

    mixed = ModelSpec(embed=Embed(dim=4, table=ToyMixedDims(dims=(("user", 2),))), interact=ToyDeep())
    assert numbers(plain()) - numbers(mixed) == 2 * EVERYTHING.rows["user"]


def test_a_users_state_is_computed_once_and_scores_many_candidates():
    model = Subject(user_state, user_state(), CROSSED).model()
    inputs = random_batch(CROSSED, 50, users=2).inputs
    pools = [reader.pool for reader in model.embedder.readers]
    state = model.embedder.encode(inputs.histories)
    logits = model(inputs, state).logits
    assert [pool.encoded for pool in pools] == [2, 2]
    torch.testing.assert_close(logits, model(inputs).logits)


def test_a_memorised_cross_is_a_field_and_its_extras_widen_the_flat_vector():
    without, with_crosses = CTRModel(plain(), CROSSED).shapes, CTRModel(crosses(), CROSSED).shapes
    assert "user*item" in [f.name for f in without.fields[0].fields]
    assert with_crosses.fields[-1].extra == 2
    assert with_crosses.fields[-1].flat == without.fields[-1].flat + 4 + 2
