"""Pairs of fields multiplied after a linear map of the first: the bilinear layer of FiBiNET (Huang et al., 2019)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, Transform, reads_of
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import needs_pairs
from clicksmith.kernels.small import bmm

Kind = Literal["all", "each", "pair"]


class Bilinear(Block, frozen=True):
    """`(W v_i) * v_j` for every pair, of the fields as they are and, with `again`, as transforms change them.

    Both rounds share the matrices, as in FiBiNET, where `again` is SENet.
    """

    matrices: Kind = "pair"
    """One matrix for all pairs, one for each first field, or one per pair."""
    again: tuple[Transform, ...] = ()
    """Transforms before the second round; none: a single round."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors, and what the transforms read."""
        return tuple(dict.fromkeys(("vectors", *(read for part in self.again for read in reads_of(part)))))

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim numbers per pair and round."""
        needs_pairs(self, shape)
        grown = shape
        for transform in self.again:
            grown = transform.grow(grown)
        if (len(grown.fields), grown.dim) != (len(shape.fields), shape.dim):
            raise CompositionError(
                f"'bilinear' shares its matrices between {len(shape.fields)} fields of dim {shape.dim} and "
                f"{len(grown.fields)} of dim {grown.dim}; use transforms in `again` that keep both, such as SENet."
            )
        pairs = len(shape.fields) * (len(shape.fields) - 1) // 2
        return HiddenShape(pairs * shape.dim * (2 if self.again else 1))

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return BilinearBlock(
            PairMap(len(shape.fields), shape.dim, self.matrices), [part.build(shape) for part in self.again]
        )


class BilinearBlock(nn.Module):
    """One or two rounds of `PairMap`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, rounds * pairs * dim]
    """

    def __init__(self, pairs: nn.Module, again: Iterable[nn.Module]) -> None:
        super().__init__()
        self.map = pairs
        self.again = nn.ModuleList(again)

    def forward(self, fields: Fields) -> Hidden:
        """Multiply the pairs."""
        rounds = [self.map(fields.vectors).flatten(1)]
        if len(self.again):
            changed = replace(fields)
            for transform in cast("Iterable[nn.Module]", self.again):
                changed = transform(changed)
            rounds.append(self.map(changed.vectors).flatten(1))
        return Hidden(rounds[0] if len(rounds) == 1 else torch.cat(rounds, 1))


class PairMap(nn.Module):
    """`(v_i W) * v_j` for i < j, in the order (0,1), (0,2), ... (1,2), ...

    Shape:
        vectors: [batch, fields, dim]
        out:     [batch, pairs, dim]
        weight:  [dim, dim], [fields - 1, dim, dim] or [pairs, dim, dim]
    """

    left: Tensor
    right: Tensor

    def __init__(self, fields: int, dim: int, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        left, right = torch.triu_indices(fields, fields, 1)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)
        lead = {"all": (), "each": (fields - 1,), "pair": (len(left),)}[kind]
        self.weight = nn.Parameter(torch.randn(*lead, dim, dim) * dim**-0.5)  # Xavier-normal of a dim x dim map

    def forward(self, vectors: Tensor) -> Tensor:
        """Map the first of each pair, multiply by the second."""
        right = vectors.index_select(1, self.right)
        if self.kind == "all":
            return (vectors @ self.weight).index_select(1, self.left) * right
        if self.kind == "each":
            firsts = vectors[:, :-1].transpose(0, 1)  # [fields - 1, batch, dim]
            return bmm(firsts, self.weight).transpose(0, 1).index_select(1, self.left) * right
        return torch.cat(self._per_pair(vectors), 1).unflatten(1, (-1, vectors.shape[2])) * right

    def _per_pair(self, vectors: Tensor) -> list[Tensor]:
        """One product per first field, with the matrices of all its pairs side by side."""
        fields, dim = vectors.shape[1:]
        mapped: list[Tensor] = []
        for i, weight in enumerate(self.weight.split(list(range(fields - 1, 0, -1)))):
            mapped.append(vectors[:, i] @ weight.transpose(0, 1).reshape(dim, -1))
        return mapped
