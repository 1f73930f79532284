"""Deep Interest Network: every behaviour is weighed against the candidate (Zhou et al., KDD 2018)."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clicksmith.embed.activation import Activation, Dice, activation
from clicksmith.embed.sockets import HistoryShape, Pool
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear, dropping, times
from clicksmith.kernels.ops import traced
from clicksmith.kernels.small import bmm

SHORT = 32
"""Behaviours from which a matrix per candidate costs less than a product twice as wide."""


class DIN(Pool, frozen=True):
    """Local activation unit; one interest per paired column.

    Columns without a counterpart in the candidate (a time gap) enter the unit and are not summed up.
    """

    units: tuple[int, ...] = (80, 40)
    """Hidden widths of the unit."""
    activation: Activation = "dice"
    """Activation of the unit's hidden layers."""
    softmax: bool = False
    """Normalise the weights to one; the paper does not, to keep the intensity of interest."""
    dropout: float = 0.0
    """Dropout after each hidden layer of the unit."""

    def interests(self, shape: HistoryShape) -> int:
        """One per paired column. Raises CompositionError: there is none."""
        if not shape.paired:
            raise CompositionError(
                f"'din' weighs behaviours against the candidate, and none of the columns {', '.join(shape.only)} is "
                "paired with one of its fields; pair a column in the schema (Behaviour(of=...)), or pool by 'mean'."
            )
        return len(shape.paired)

    def build(self, shape: HistoryShape) -> nn.Module:
        """Return the unit for a history."""
        self.interests(shape)  # refuses a history without pairs
        if not self.units:
            raise CompositionError(
                "'din' has no hidden layer (units=()); give at least one width, such as units=(36,)."
            )
        if min(self.units) < 1:
            raise CompositionError(f"DIN units {self.units} hold a width below 1; give positive widths, as in 80,40.")
        return LocalActivation(shape, self)


class LocalActivation(nn.Module):
    """u(q) = sum_j w(q, e_j) e_j, with w an MLP over [q, e, q - e, q * e].

    The first layer is folded; the weight keeps the four blocks. Over a long history each candidate has a matrix of its
    own over [e, columns not paired, 1]; over a short one, which would not pay for it, a product over [e, columns not
    paired, q * e] does the same.

        W [q, e, q - e, q * e] = (W2 - W3 + W4 diag(q)) e + (W1 + W3) q

    Shape:
        keys:  [users, time, paired, dim]; only: [users, time, columns, dim] or None; mask: [users, time]
        query: [batch, paired, dim]
        out:   [batch, paired, dim]
    Cost: per row time * (width * units[0] + units[0] * units[1] + ...) + width * units[0], width = paired * dim; of a
    short history time * (2 * width * units[0] + units[0] * units[1] + ...).
    Differs from the paper: Dice leaves padding out of its statistics; the scale 1 / sqrt(width) inside the softmax is
    that of the authors' code.
    Paper: din, section 4.3.
    """

    def __init__(self, shape: HistoryShape, options: DIN) -> None:
        super().__init__()
        self.width = len(shape.paired) * shape.dim
        self.softmax = options.softmax
        widths = (4 * self.width + len(shape.only) * shape.dim, *options.units)
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.activations = nn.ModuleList(activation(options.activation, width) for width in options.units)
        self.dropout = dropping(options.dropout)
        self.out = Linear(widths[-1], 1)

    def encode(self, keys: Tensor, only: Tensor | None, mask: Tensor) -> dict[str, Tensor]:
        """Lay out a user's part: [keys, columns that are not paired, 1]."""
        parts = [keys.flatten(2), *([] if only is None else [only.flatten(2)]), keys.new_ones((*mask.shape, 1))]
        return {"behaviours": torch.cat(parts, 2), "mask": mask}  # [users, time, width + only + 1]

    def read(self, state: dict[str, Tensor], query: Tensor, owner: Tensor | None) -> Tensor:
        """Return the interests of each candidate: [batch, paired, dim]."""
        if owner is not None:
            state = {name: _of(owner, value) for name, value in state.items()}
        weights = self.weights(state, query.flatten(1))
        keys = state["behaviours"].narrow(2, 0, self.width)
        return bmm(weights.to(keys.dtype).unsqueeze(1), keys).squeeze(1).unflatten(1, query.shape[1:])

    def weights(self, state: dict[str, Tensor], query: Tensor) -> Tensor:
        """Return the weight of each behaviour, 0 at padding: state per row, query [batch, width] -> [batch, time]."""
        mask = state["mask"].contiguous()
        x = self._first(state["behaviours"], query)  # [batch, time, units[0]]
        for i, act in enumerate(self.activations):
            if i:
                x = cast("Linear", self.layers[i])(x)
            x = self.dropout(act(x, mask) if isinstance(act, Dice) else act(x))
        scores = self.out(x).squeeze(-1)  # [batch, time]
        if self.softmax:
            scores = (scores.float() / self.width**0.5).masked_fill(~mask, torch.finfo(torch.float32).min).softmax(1)
        return scores.masked_fill(~mask, 0.0)

    def _first(self, behaviours: Tensor, query: Tensor) -> Tensor:
        """Return what the first layer makes of each behaviour: [batch, time, ...] -> [batch, time, units[0]]."""
        layer, d = cast("Linear", self.layers[0]), self.width
        of_query, of_key, of_difference, of_product, of_only = layer.weight.tensor_split((d, 2 * d, 3 * d, 4 * d), 1)
        shift = F.linear(query, of_query + of_difference, layer.bias).unsqueeze(1)
        if not traced() and behaviours.shape[1] < SHORT:  # a traced program holds for every length
            products = behaviours.narrow(2, 0, d) * query.unsqueeze(1)
            weight = torch.cat([of_key - of_difference, of_only, of_product], 1)
            both = torch.cat([behaviours[..., :-1], products.to(behaviours.dtype)], 2)
            out = times(both, weight, training=self.training)
            return out + shift.to(out.dtype)
        matrix = torch.addcmul((of_key - of_difference).t(), of_product.t(), query.unsqueeze(2))
        parts = [matrix, of_only.t().expand(query.shape[0], -1, -1), shift]
        return bmm(behaviours, torch.cat([part.to(query.dtype) for part in parts], 1))


def _of(owner: Tensor, value: Tensor) -> Tensor:
    """Return each row's part of its user: value [users, ...] -> [batch, ...]; that of a single user is not copied."""
    if value.shape[0] == 1:
        return value.expand(owner.shape[0], *value.shape[1:])
    return value.index_select(0, owner)
