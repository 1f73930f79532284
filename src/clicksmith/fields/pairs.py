"""Operations on pairs of fields: memorise, factorise, or nothing (OptInter; Lyu et al., ICDE 2022, section 3).

A memorised pair has a vector of its own per pair of values (a cross, see `clicksmith.encode.crosses`); a factorised one
has the product of two vectors, one per side, from a second table. Both are appended to what the backbone reads: as flat
extras (the paper), or as fields for backbones that read fields only. A naive pair has no column, no id and no memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import Knobs
from clicksmith.embed.shape import Field, Fields, FieldShape, Select, View
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear

Pair = tuple[str, str]
OPS = ("memorise", "factorise", "naive")
"""The columns of the architecture weights."""


class Pairs(Transform, frozen=True):
    """Append the vectors of pairs whose operation is fixed.

    Paper: optinter, re-train stage.
    """

    memorised: tuple[str, ...] = ()
    """Columns that are crosses; they stop being fields."""
    factorised: tuple[Pair, ...] = ()
    dim: int = 8
    """Length of a pair's vector (the paper's s2)."""
    std: float = 0.1
    """Deviation of both tables' first weights."""
    to: Literal["extra", "fields"] = "extra"

    def reads(self) -> tuple[View | str, ...]:
        """Read the crosses, and the second table of the sides of products."""
        return _views(self.memorised, self.factorised, self.dim, self.std)

    def writes(self) -> tuple[str, ...]:
        """Write flat extras or vectors."""
        return ("extra",) if self.to == "extra" else ("vectors",)

    def grow(self, shape: FieldShape) -> FieldShape:
        """Return the shape with one vector per pair more."""
        if not self.memorised and not self.factorised:
            raise CompositionError("pairs without a pair: leave the transform out.")
        _check(shape, self.memorised, self.factorised)
        names = (*self.memorised, *("*".join(pair) for pair in self.factorised))
        return _grown(shape, names, self.dim, self.to)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return PairsModule(self, shape)


class PairsModule(nn.Module):
    """`m_p = E_m[id_p]` for memorised pairs, then `f_p = A[x_i] * A[x_j]` for factorised ones.

    Shape:
        views: crosses [batch, memorised, s2], sides [batch, fields, s2]
        out.extra: [batch, extra + s2 * pairs], or out.vectors: [batch, fields + pairs, dim]
    """

    def __init__(self, part: Pairs, shape: FieldShape) -> None:
        super().__init__()
        self.dim = part.dim
        self.order = _Order(shape, part.memorised, part.factorised, part.dim, part.std)
        self.append = Append(part.to, part.dim, shape.dim)

    def forward(self, fields: Fields) -> Fields:
        """Append the pairs' vectors."""
        found = [z for z in (self.order.crosses(fields), self.order.products(fields)) if z is not None]
        return self.append(fields, found[0] if len(found) == 1 else torch.cat(found, 1))


class RelaxedPairs(Transform, frozen=True):
    """Append, for every candidate pair, a mixture of its three operations whose weights are searched.

    Paper: optinter, search stage.
    """

    pairs: tuple[Pair, ...]
    """In the layout's order of fields; the column of each pair's cross is `a*b`."""
    dim: int = 8
    std: float = 0.1
    to: Literal["extra", "fields"] = "extra"
    gumbel: bool = False
    """Add Gumbel noise to the architecture weights in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read every cross, and the second table."""
        return _views(self._names(), self.pairs, self.dim, self.std)

    def writes(self) -> tuple[str, ...]:
        """Write flat extras or vectors."""
        return ("extra",) if self.to == "extra" else ("vectors",)

    def grow(self, shape: FieldShape) -> FieldShape:
        """Return the shape with one vector per candidate pair more."""
        _check(shape, self._names(), self.pairs)
        return _grown(shape, self._names(), self.dim, self.to)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return RelaxedModule(self, shape)

    def _names(self) -> tuple[str, ...]:
        return tuple("*".join(pair) for pair in self.pairs)


class RelaxedModule(nn.Module):
    """`z_p = w_0 m_p + w_1 f_p + w_2 0`, `w = softmax((alpha_p + noise) / t)`.

    Shape:
        knobs.alpha: [pairs, 3], xavier-normal as in the released code
        out: as `PairsModule`
    """

    def __init__(self, part: RelaxedPairs, shape: FieldShape) -> None:
        super().__init__()
        names = tuple("*".join(pair) for pair in part.pairs)
        self.order = _Order(shape, names, part.pairs, part.dim, part.std)
        self.append = Append(part.to, part.dim, shape.dim)
        self.gumbel = part.gumbel
        alpha = nn.init.xavier_normal_(torch.empty(len(part.pairs), len(OPS)))
        self.knobs = Knobs(alpha=nn.Parameter(alpha), temperature=torch.tensor(1.0))

    @property
    def alpha(self) -> nn.Parameter:
        """The architecture weights: [pairs, 3]."""
        return cast("nn.Parameter", self.knobs.alpha)

    @property
    def temperature(self) -> Tensor:
        """t, a number."""
        return cast("Tensor", self.knobs.temperature)

    def weights(self) -> Tensor:
        """Return the weight of each operation: [pairs, 3]."""
        alpha = self.alpha
        if self.gumbel and self.training:
            alpha = alpha - torch.empty_like(alpha).exponential_().log()
        return torch.softmax(alpha / self.temperature, 1)

    def forward(self, fields: Fields) -> Fields:
        """Append the mixtures."""
        w = self.weights().unsqueeze(-1)
        memorised, factorised = self.order.crosses(fields), self.order.products(fields)
        assert memorised is not None
        assert factorised is not None
        return self.append(fields, torch.addcmul(w[:, 0] * memorised, w[:, 1], factorised))


class _Order(nn.Module):
    """Where crosses and sides lie in their views: index vectors instead of a loop over pairs."""

    def __init__(
        self, shape: FieldShape, crosses: Sequence[str], products: Sequence[Pair], dim: int, std: float
    ) -> None:
        super().__init__()
        views = _views(crosses, products, dim, std)
        found = {v.name: [f.name for f in shape.selected(v)] for v in views}
        self.names = (f"crosses {dim} {std:g}" if crosses else "", f"sides {dim} {std:g}" if products else "")
        where = found.get(self.names[0], [])
        at = [where.index(name) for name in crosses]
        self.register_buffer("at", None if at == list(range(len(at))) else torch.tensor(at), persistent=False)
        sides = found.get(self.names[1], [])
        for name, side in (("first", 0), ("second", 1)):
            rows = torch.tensor([sides.index(pair[side]) for pair in products], dtype=torch.int64)
            self.register_buffer(name, rows, persistent=False)

    at: Tensor | None
    first: Tensor
    second: Tensor

    def crosses(self, fields: Fields) -> Tensor | None:
        """Return the memorised vectors: [batch, memorised, s2]."""
        if not self.names[0]:
            return None
        found = fields.views[self.names[0]]
        return found if self.at is None else found.index_select(1, self.at)

    def products(self, fields: Fields) -> Tensor | None:
        """Return the factorised vectors: [batch, factorised, s2]."""
        if not self.names[1]:
            return None
        sides = fields.views[self.names[1]]
        return sides.index_select(1, self.first) * sides.index_select(1, self.second)


class Append(nn.Module):
    """Appends vectors [batch, pairs, s2] as flat extras, or as fields, brought to the fields' length where it differs.

    Shape:
        out.extra: [batch, extra + pairs * s2], or out.vectors: [batch, fields + pairs, dim]
    """

    def __init__(self, to: str, dim: int, field_dim: int) -> None:
        super().__init__()
        self.fields = to == "fields"
        self.up = Linear(dim, field_dim, bias=False) if self.fields and dim != field_dim else None

    def forward(self, fields: Fields, found: Tensor) -> Fields:
        """Append."""
        if self.fields:
            found = found if self.up is None else self.up(found)
            return replace(fields, vectors=torch.cat([fields.vectors, found.to(fields.vectors.dtype)], 1))
        flat = found.flatten(1)
        return replace(fields, extra=flat if fields.extra is None else torch.cat([fields.extra, flat], 1))


def _views(crosses: Sequence[str], products: Sequence[Pair], dim: int, std: float) -> tuple[View, ...]:
    """Return what is looked up: every cross in a table of its own, and each side of a product, once."""
    views: list[View] = []
    if crosses:
        views.append(View(f"crosses {dim} {std:g}", dim, Select(names=tuple(crosses)), std=std, sole=True))
    if products:
        sides = tuple(dict.fromkeys(name for pair in products for name in pair))
        views.append(View(f"sides {dim} {std:g}", dim, Select(names=sides), std=std))
    return tuple(views)


def _check(shape: FieldShape, crosses: Sequence[str], products: Sequence[Pair]) -> None:
    kinds = {f.name: f.kind for f in (shape.base or shape.fields)}
    seen: set[frozenset[str]] = set()
    for name in (*crosses, *(name for pair in products for name in pair)):
        if kinds.get(name) != "id":
            has = f"it is of kind '{kinds[name]}'" if name in kinds else "the encoder has no such column"
            raise CompositionError(f"pairs read '{name}' as an id column, but {has}; apply the Plan to the encoder.")
    for pair in products:
        if len(set(pair)) != 2 or frozenset(pair) in seen:
            raise CompositionError(f"the pair {' x '.join(pair)} is of one field, or given twice.")
        seen.add(frozenset(pair))


def _grown(shape: FieldShape, names: tuple[str, ...], dim: int, to: str) -> FieldShape:
    if to == "extra":
        return replace(shape, extra=shape.extra + dim * len(names))
    return replace(shape, fields=(*shape.fields, *(Field(name, "generated") for name in names)))
