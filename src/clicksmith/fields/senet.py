"""SENet over fields: squeeze each vector to a number, excite, re-weight (FiBiNET; Huang et al., RecSys 2019)."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear


class SENet(Transform, frozen=True):
    """Weigh each field by what the means of all of them say."""

    reduction: float = 3.0
    """The middle layer is so many times narrower than the number of fields."""
    activation: Literal["relu", "sigmoid"] = "relu"
    """Of the weights; relu in the paper."""

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        if not 0 < self.reduction < float("inf"):
            raise CompositionError(
                f"SENet reduction {self.reduction} is not a number above 0; use 3 to squeeze to a third."
            )
        return SENetBlock(len(shape.fields), max(1, int(len(shape.fields) / self.reduction)), self.activation)


class SENetBlock(nn.Module):
    """`out_i = a_i v_i`, `a = act(W_2 relu(W_1 mean(v)))`.

    Shape:
        fields.vectors, out.vectors: [batch, fields, dim]
    """

    def __init__(self, fields: int, middle: int, activation: Literal["relu", "sigmoid"]) -> None:
        super().__init__()
        self.squeeze = Linear(fields, middle, bias=False)
        self.excite = Linear(middle, fields, bias=False)
        self.activation = activation

    def weights(self, vectors: Tensor) -> Tensor:
        """Return the weight of each field: [batch, fields]."""
        excited = self.excite(torch.relu(self.squeeze(vectors.mean(2))))
        return torch.relu(excited) if self.activation == "relu" else torch.sigmoid(excited)

    def forward(self, fields: Fields) -> Fields:
        """Re-weight the vectors."""
        return replace(fields, vectors=fields.vectors * self.weights(fields.vectors).unsqueeze(2))
