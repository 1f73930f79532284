"""FM in hyperbolic space: LorentzFM (Xu and Wu, AAAI 2020)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.interact.fm import needs_pairs, pair_sum


class LorentzPairs(Block, frozen=True):
    """How far each pair of fields is from the triangle inequality of Lorentz distances, added to the logit."""

    only_products = True

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        needs_pairs(self, shape)
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; it has no weights."""
        return LorentzPairsBlock()


class LorentzPairsBlock(nn.Module):
    """`sum_{i<j} (1 - <v_i, v_j>_L - t_i - t_j) / (t_i t_j)`, with `t = sqrt(1 + |v|^2)` and
    `<v_i, v_j>_L = <v_i, v_j> - t_i t_j`.

    A term is `(1 - 1/t_i)(1 - 1/t_j) - <v_i/t_i, v_j/t_j>`: two sums over pairs that need no pairs. `1 - 1/t` is taken
    as `|v|^2 / (t (t + 1))`, which keeps its digits where vectors are short.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
    """

    def forward(self, fields: Fields) -> Hidden:
        """Sum the terms of all pairs, in float32 or more."""
        vectors = fields.vectors.to(torch.promote_types(fields.vectors.dtype, torch.float32))
        square = (vectors * vectors).sum(2, keepdim=True)
        time = torch.sqrt(square + 1)
        short = pair_sum(square / (time * (time + 1)))
        return Hidden(None, short - pair_sum(vectors / time).sum(1, keepdim=True))
