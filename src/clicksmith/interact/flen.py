"""Field-wise bi-interaction: products within and between groups of fields, as in FLEN (Chen et al., DLP-KDD 2020)."""

from typing import get_args

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.interact.fm import needs_pairs
from clicksmith.interact.linear import FIRST_ORDER
from clicksmith.schema.columns import Role


class FieldWise(Block, frozen=True):
    """First order, and the products of all pairs of fields under a weight per pair of groups.

    The groups are the fields of role user, item and context; a role that no field has is left out.
    """

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors and the first order's weights."""
        return ("vectors", FIRST_ORDER)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a number, then a vector of the fields' dim."""
        needs_pairs(self, shape)
        return HiddenShape(1 + shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        groups = [[i for i, f in enumerate(shape.fields) if f.role == role] for role in get_args(Role)]
        return FieldWiseBlock([group for group in groups if group])


class FieldWiseBlock(nn.Module):
    """`sum_f w_f`, and `sum_{m<n} r_mn g_m * g_n + sum_m r_mm sum_{i<j in m} v_i * v_j`, g_m the sum of group m.

    With `sum_{i<j in m} v_i * v_j = (g_m * g_m - q_m) / 2`, q_m the group's sum of squares, both sums are one product
    with the matrix of weights.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, 1 + dim]
    Parameters: `weight`, one per pair of groups and per group of two fields or more, row by row.
    """

    members: Tensor
    cells: Tensor
    factors: Tensor

    def __init__(self, groups: list[list[int]]) -> None:
        super().__init__()
        self.groups = len(groups)
        members = torch.zeros(len(groups), sum(map(len, groups)))
        for group, fields in enumerate(groups):
            members[group, fields] = 1.0
        self.register_buffer("members", members, persistent=False)
        pairs = [(m, n) for m in range(len(groups)) for n in range(m, len(groups)) if m < n or len(groups[m]) > 1]
        self.register_buffer("cells", torch.tensor([m * len(groups) + n for m, n in pairs]), persistent=False)
        factors = torch.tensor([0.5 if m == n else 1.0 for m, n in pairs])
        self.register_buffer("factors", factors, persistent=False)
        self.weight = nn.Parameter(torch.ones(len(pairs)))

    def forward(self, fields: Fields) -> Hidden:
        """Pool the groups, then the pairs of groups."""
        vectors = fields.vectors
        members = self.members.to(vectors.dtype)
        sums, squares = members @ vectors, members @ (vectors * vectors)
        matrix = self.weight.new_zeros(self.groups**2).index_copy(0, self.cells, self.weight * self.factors)
        matrix = matrix.view(self.groups, self.groups).to(vectors.dtype)
        pooled = (sums * (matrix @ sums)).sum(1) - matrix.diagonal() @ squares
        first = fields.views[FIRST_ORDER.name].sum(1)
        return Hidden(torch.cat([first, pooled.to(first.dtype)], 1))
