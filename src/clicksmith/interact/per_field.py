"""A map and a normalisation for each field, all fields at once."""

import torch
from torch import Tensor, nn

from clicksmith.kernels.small import bmm


class PerField(nn.Module):
    """`y_f = x_f W_f + b_f`: a matrix of its own for each field, as one batched product.

    Shape:
        x:      [batch, fields, inputs]
        out:    [batch, fields, outputs]
        weight: [fields, inputs, outputs], each Xavier-normal
    """

    def __init__(self, fields: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        std = (2.0 / (inputs + outputs)) ** 0.5
        self.weight = nn.Parameter(torch.randn(fields, inputs, outputs) * std)
        self.bias = nn.Parameter(torch.zeros(fields, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map every field."""
        by_field = x.transpose(0, 1)  # [fields, batch, inputs]
        if self.bias is None:
            return bmm(by_field, self.weight).transpose(0, 1)
        return torch.baddbmm(self.bias.unsqueeze(1), by_field, self.weight).transpose(0, 1)


class PerFieldNorm(nn.Module):
    """Layer normalisation of each field's vector, with a scale and a shift of its own.

    Shape:
        x, out:       [batch, fields, dim]
        scale, shift: [fields, dim]
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(fields, dim))
        self.shift = nn.Parameter(torch.zeros(fields, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every vector."""
        return torch.addcmul(self.shift, nn.functional.layer_norm(x, x.shape[-1:]).to(self.scale.dtype), self.scale)
