"""Test-only parts: the smallest block, and doubles of the techniques that are to come."""

# ruff: noqa: ARG002 — sockets give every part more than each toy needs

from dataclasses import replace

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotNumbers
from clicksmith.embed.shape import Field, Fields, FieldShape, Hidden, HiddenShape, Output, Select, View
from clicksmith.embed.sockets import (
    Block,
    Head,
    HistoryShape,
    IdGate,
    Numbers,
    Pool,
    Table,
    TableShape,
    Task,
    Transform,
)


class ToyDeep(Block, frozen=True):
    """One hidden layer over everything, and first-order weights into the logit."""

    width: int = 8
    wide: bool = True

    def reads(self):
        return ("vectors", "extra", View("first_order", 1)) if self.wide else ("vectors", "extra")

    def out(self, shape: FieldShape) -> HiddenShape:
        return HiddenShape(self.width, logit=self.wide)

    def build(self, shape: FieldShape) -> nn.Module:
        return ToyDeepModule(shape.flat, self.width, self.wide)


class ToyDeepModule(nn.Module):
    def __init__(self, inputs: int, width: int, wide: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.wide = wide

    def forward(self, fields: Fields) -> Hidden:
        logit = fields.views["first_order"].sum(1) if self.wide else None
        return Hidden(torch.tanh(self.linear(fields.flat())), logit)


class ToyLinear(Block, frozen=True):
    """First-order weights only: reads no vectors and gives no vector."""

    def reads(self):
        return (View("first_order", 1),)

    def out(self, shape: FieldShape) -> HiddenShape:
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        return ToyLinearModule()


class ToyLinearModule(nn.Module):
    def forward(self, fields: Fields) -> Hidden:
        return Hidden(None, fields.views["first_order"].sum(1))


class ToyBottom(Numbers, frozen=True):
    """All numbers to one field (as DLRM's bottom network does)."""

    def fields(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return ("bottom",)

    def build(self, columns: int, dim: int) -> nn.Module:
        return ToyBottomModule(columns, dim)


class ToyBottomModule(nn.Module):
    def __init__(self, columns: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, dim)

    def forward(self, numeric: Tensor) -> Tensor:
        return self.linear(numeric.nan_to_num().to(self.linear.weight.dtype)).unsqueeze(1)


class ToyDomainHead(Head, frozen=True):
    """A linear map per domain, mixed by a vector of the row's domain; without a vector it reads the fields."""

    experts: int = 3

    def reads(self, hidden: HiddenShape):
        router = View("router", self.experts, per="domain")
        return (router,) if hidden.width else (router, "vectors", "extra")

    def build(self, hidden: HiddenShape, shape: FieldShape, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyDomainHeadModule(hidden.width or shape.flat, self.experts, sum(t.width for t in tasks))


class ToyDomainHeadModule(nn.Module):
    def __init__(self, width: int, experts: int, outputs: int) -> None:
        super().__init__()
        self.experts = nn.Linear(width, experts * outputs)
        self.count = experts

    def forward(self, hidden: Hidden, fields: Fields) -> Output:
        route = torch.softmax(fields.views["router"].squeeze(1), 1)  # [batch, experts]
        vector = fields.flat() if hidden.vector is None else hidden.vector
        each = self.experts(vector).unflatten(1, (self.count, -1))  # [batch, experts, outputs]
        logits = torch.einsum("be,beo->bo", route, each)
        return Output(logits if hidden.logit is None else logits + hidden.logit, {"route": route})


class ToyHazardHead(Head, frozen=True):
    """One tower per task; a task's width is its number of time bins."""

    def build(self, hidden: HiddenShape, shape: FieldShape, tasks: tuple[Task, ...]) -> nn.Module:
        return ToyHazardHeadModule(hidden.width, tuple(t.width for t in tasks))


class ToyHazardHeadModule(nn.Module):
    def __init__(self, width: int, bins: tuple[int, ...]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, b)) for b in bins)

    def forward(self, hidden: Hidden, fields: Fields) -> Output:
        logits = torch.cat([tower(hidden.vector) for tower in self.towers], 1)
        return Output(logits if hidden.logit is None else logits + hidden.logit)


class ToyGated(Table, frozen=True):
    """A gate per id around any table."""

    inner: Table

    def build(self, shape: TableShape) -> nn.Module:
        return ToyGatedModule(self.inner.build(shape), shape)


class ToyGatedModule(nn.Module):
    def __init__(self, inner: nn.Module, shape: TableShape) -> None:
        super().__init__()
        self.inner = inner
        self.gate = RowStore(shape.slots, 1, std=0.5, group="gate")
        self.offsets = SlotNumbers(self.gate.starts)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        return self.inner(ids, slots) * torch.sigmoid(self.gate(ids, self.offsets(slots, ids.device)))


class ToyIdGate(IdGate, frozen=True):
    """A gate per id over every view and history."""

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        return ToyIdGateModule(slots)


class ToyIdGateModule(nn.Module):
    def __init__(self, slots: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        self.gate = RowStore(slots, 1, std=0.5, group="gate")
        self.offsets = SlotNumbers(self.gate.starts)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        return 2 * torch.sigmoid(self.gate(ids, self.offsets(slots, ids.device)))


class ToyMixedDims(Table, frozen=True):
    """A dimension per slot: a store per dimension, each lifted to the common one by a linear map."""

    dims: tuple[tuple[str, int], ...]

    def build(self, shape: TableShape) -> nn.Module:
        return ToyMixedDimsModule(dict(self.dims), shape)


class ToyMixedDimsModule(nn.Module):
    def __init__(self, dims: dict[str, int], shape: TableShape) -> None:
        super().__init__()
        self.dim_of = {slot: dims.get(slot, shape.dim) for slot, _ in shape.slots}
        self.dims = sorted(set(self.dim_of.values()))
        groups = [tuple(s for s in shape.slots if self.dim_of[s[0]] == dim) for dim in self.dims]
        self.stores = nn.ModuleList(RowStore(slots, dim) for slots, dim in zip(groups, self.dims, strict=True))
        self.lifts = nn.ModuleList(nn.Linear(dim, shape.dim, bias=False) for dim in self.dims)
        self.offsets = [SlotNumbers(store.starts) for store in self.stores]

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        pieces, columns = [], []
        for dim, store, lift, offsets in zip(self.dims, self.stores, self.lifts, self.offsets, strict=True):
            chosen = [c for c, slot in enumerate(slots) if self.dim_of[slot] == dim]
            if chosen:
                own = tuple(slots[c] for c in chosen)
                pieces.append(lift(store(ids[..., chosen], offsets(own, ids.device))))
                columns += chosen
        back = torch.tensor(columns).argsort()
        return torch.cat(pieces, -2).index_select(-2, back.to(ids.device))


class ToyBuckets(Pool, frozen=True):
    """Behaviours hashed into buckets once per user; a candidate reads the bucket it falls into (as SDIM does)."""

    bits: int = 2

    def build(self, shape: HistoryShape) -> nn.Module:
        return ToyBucketsModule(shape, self.bits)


class ToyBucketsModule(nn.Module):
    def __init__(self, shape: HistoryShape, bits: int) -> None:
        super().__init__()
        self.register_buffer("planes", torch.randn(len(shape.paired) * shape.dim, bits))
        self.bits = bits
        self.encoded = 0  # users computed so far

    def encode(self, keys: Tensor, only: Tensor | None, mask: Tensor) -> dict[str, Tensor]:
        self.encoded += keys.shape[0]
        flat = keys.flatten(2)
        hot = nn.functional.one_hot(self._bucket(flat), 2**self.bits).to(flat.dtype) * mask.unsqueeze(-1)
        return {"sums": torch.einsum("utb,utd->ubd", hot, flat)}

    def read(self, state: dict[str, Tensor], query: Tensor, owner: Tensor | None) -> Tensor:
        flat = query.flatten(1)
        user = torch.arange(flat.shape[0], device=flat.device) if owner is None else owner.long()
        return state["sums"][user, self._bucket(flat)].unflatten(1, query.shape[1:])

    def _bucket(self, x: Tensor) -> Tensor:
        return ((x @ self.planes > 0).long() * 2 ** torch.arange(self.bits, device=x.device)).sum(-1)


class ToyCrosses(Transform, frozen=True):
    """Memorised crosses: columns that the encoder adds, read through a narrow view and written as flat extras."""

    names: tuple[str, ...]
    width: int = 2

    def _view(self) -> View:
        return View("crosses", self.width, of=Select(names=self.names))

    def reads(self):
        return ("vectors", "extra", self._view())

    def writes(self):
        return ("extra",)

    def grow(self, shape: FieldShape) -> FieldShape:
        return replace(shape, extra=shape.extra + self.width * len(shape.selected(self._view())))

    def build(self, shape: FieldShape) -> nn.Module:
        return ToyCrossesModule()


class ToyCrossesModule(nn.Module):
    def forward(self, fields: Fields) -> Fields:
        crosses = fields.views["crosses"].flatten(1)
        extra = crosses if fields.extra is None else torch.cat([fields.extra, crosses], 1)
        return Fields(fields.vectors, extra, fields.views, fields.domain)


class ToyPairs(Transform, frozen=True):
    """Adds one field: the product of the first two."""

    def grow(self, shape: FieldShape) -> FieldShape:
        return replace(shape, fields=(*shape.fields, Field("toy.0", "generated")))

    def build(self, shape: FieldShape) -> nn.Module:
        return ToyPairsModule()


class ToyPairsModule(nn.Module):
    def forward(self, fields: Fields) -> Fields:
        product = fields.vectors[:, :1] * fields.vectors[:, 1:2]
        return Fields(torch.cat([fields.vectors, product], 1), fields.extra, fields.views, fields.domain)
