"""The generalised interaction network of AOANet (Lang et al., KDD 2021)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError


class Generalized(Block, frozen=True):
    """Weighted sums of outer products of fields, each weighed again entry by entry and projected to a vector."""

    layers: int = 3
    """Number of layers; the order of interaction grows by one with each."""
    subspaces: int = 4
    """Vectors that each layer gives."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim per subspace."""
        if self.layers < 1 or self.subspaces < 1:
            raise CompositionError(
                f"a generalised interaction of {self.layers} layers and {self.subspaces} subspaces gives nothing; "
                "give layers=1 and subspaces=1 or more."
            )
        if not shape.fields:
            raise CompositionError("'generalized' multiplies fields and the data has none; add columns to the schema.")
        return HiddenShape(self.subspaces * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        fields = len(shape.fields)
        widths = [fields] + [self.subspaces] * (self.layers - 1)
        return GeneralizedBlock(GeneralizedLayer(fields, width, self.subspaces, shape.dim) for width in widths)


class GeneralizedBlock(nn.Module):
    """Layers one after another; each multiplies what the one before gave with the fields.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, subspaces * dim]
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, fields: Fields) -> Hidden:
        """Interact layer by layer."""
        x = fields.vectors
        for layer in cast("Iterable[nn.Module]", self.layers):
            x = layer(fields.vectors, x)
        return Hidden(x.flatten(1))


class GeneralizedLayer(nn.Module):
    """`y_o = (W_o * sum_ij a_oij v_j x_i^T) h_o` for vectors v_j of the fields and x_i of the layer before.

    The matrices v_j x_i^T are never made: `y_o = sum_i (sum_j a_oij v_j) * ((W_o diag h_o) x_i)`, two products with
    constant matrices and one entry by entry, dim times less work.

    Shape:
        vectors: [batch, fields, dim]
        x:       [batch, before, dim]
        out:     [batch, subspaces, dim]
        pairs (a): [subspaces, before, fields], matrices (W): [subspaces, dim, dim], project (h): [subspaces, dim]
    """

    def __init__(self, fields: int, before: int, subspaces: int, dim: int) -> None:
        super().__init__()
        self.subspaces = subspaces
        self.pairs = nn.Parameter(torch.ones(subspaces, before, fields))  # all ones: the sum of all products
        self.matrices = nn.Parameter(torch.eye(dim).repeat(subspaces, 1, 1))
        self.project = nn.Parameter(torch.ones(subspaces, dim))

    def forward(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Interact."""
        mixed = nn.functional.linear(vectors.transpose(1, 2), self.pairs.flatten(0, 1))  # [batch, dim, subspaces * i]
        mapped = nn.functional.linear(x, (self.matrices * self.project.unsqueeze(1)).flatten(0, 1))
        mixed = mixed.unflatten(2, (self.subspaces, -1)).permute(0, 2, 3, 1)
        return (mixed * mapped.unflatten(2, (self.subspaces, -1)).transpose(1, 2)).sum(2)
