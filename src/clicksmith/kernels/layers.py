"""Dense layers with fast CPU paths; same parameters and results as the torch modules they replace."""

from collections.abc import Callable, Iterator
from typing import Literal, cast

import torch
from torch import Tensor, nn

from clicksmith.errors import CompositionError
from clicksmith.kernels import dense
from clicksmith.kernels.settled import Settling, product_of, scoring, settle

Activation = Literal["relu", "sigmoid", "tanh", "prelu", "linear"]


class Linear(Settling, nn.Linear):
    """`nn.Linear`, initialised Xavier-normal with zero bias as in BARS.

    In training and once settled, on the processor, the product is oneDNN's, in bfloat16 under autocast. Layers with few
    outputs (the last of a model) stay in float32 under autocast, so that logits are not rounded.
    """

    def settle(self) -> None:
        """Pack the weights for scoring."""
        if self.out_features >= dense.NARROW and not self.training:
            self.kept = product_of(self)

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        x = input
        if self.out_features < dense.NARROW:
            if not torch.is_autocast_enabled(x.device.type):
                return super().forward(x)
            with torch.autocast(x.device.type, enabled=False):
                return super().forward(x.to(self.weight.dtype))
        flat, kept = x.flatten(0, -2) if x.dim() > 2 else x, self.kept
        if kept is not None and scoring(x) and x.dim() > 1:
            out = kept(flat)
        elif self.training and fits(self.weight, flat):
            out = dense.linear(flat, self.weight, self.bias)
        else:
            return super().forward(x)
        return out.unflatten(0, x.shape[:-1]) if x.dim() > 2 else out


def times(x: Tensor, weight: Tensor, *, training: bool) -> Tensor:
    """Return x weight' where the weight is put together from parameters: x [..., inputs], weight [outputs, inputs]."""
    flat = x.flatten(0, -2)
    if training and fits(weight, flat):
        return dense.linear(flat, weight, None).unflatten(0, x.shape[:-1])
    return nn.functional.linear(x, weight)


def dropping(share: float) -> nn.Dropout:
    """Return dropout of a share of values. Raises CompositionError unless the share is in [0, 1)."""
    if not 0.0 <= share < 1.0:
        raise CompositionError(f"dropout {share} is not in [0, 1); give the share to drop, as in 0.2.")
    return nn.Dropout(share)


def draw_apart(layer: nn.Linear, blocks: int) -> None:
    """Draw the weights of stacked maps Xavier-normal, each of the `blocks` as a matrix of its own."""
    with torch.no_grad():
        for block in layer.weight.chunk(blocks):
            nn.init.xavier_normal_(block)


class DenseStack(Settling):
    """Linear, (batch norm), activation, (dropout), for each of `units`, the last one included.

    Shape:
        x:   [batch, inputs]
        out: [batch, units[-1]]
    """

    def __init__(
        self,
        inputs: int,
        units: tuple[int, ...],
        *,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in units):
            raise CompositionError(f"a stack of dense layers of widths {units}: give positive ones, as in 64,32.")
        acts = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "prelu": nn.PReLU, "linear": nn.Identity}
        layers: list[nn.Module] = []
        for width in units:
            layers.append(Linear(inputs, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(acts[activation]())
            if dropout:
                layers.append(dropping(dropout))
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.width = inputs

    def settle(self) -> None:
        """Make one product of each layer, with its batch norm and ReLU."""
        if not self.training:
            self.kept = [step for group in self._groups() for step in _settled(group)]

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs] to [batch, width]."""
        kept = self.kept
        if kept is not None and scoring(x) and x.dim() == 2:
            for step in kept:
                x = step(x)
            return x
        if not (self.training and dense.ready(x)):
            return self.layers(x)
        for group in self._groups():
            x = _fused(x, group)
        return x

    def _groups(self) -> Iterator[list[nn.Module]]:
        """Yield the modules of one layer after another, each group headed by its Linear."""
        group: list[nn.Module] = []
        for module in self.layers:
            if isinstance(module, nn.Linear) and group:
                yield group
                group = []
            group.append(module)
        if group:
            yield group


def _fused(x: Tensor, group: list[nn.Module]) -> Tensor:
    """Run one layer of a stack, fused where it is Linear (BatchNorm1d) ReLU (Dropout)."""
    kinds = tuple(type(m) for m in group)
    drop = group[-1].p if isinstance(group[-1], nn.Dropout) else 0.0
    plain = kinds[:-1] if kinds[-1] is nn.Dropout else kinds
    if drop < 1 and fits(cast("nn.Linear", group[0]).weight, x):
        layer = cast("Linear", group[0])
        if plain == (Linear, nn.ReLU):
            return dense.linear(x, layer.weight, layer.bias, relu=True, drop=drop)
        if plain == (Linear, nn.BatchNorm1d, nn.ReLU) and _normal(norm := cast("nn.BatchNorm1d", group[1])):
            return dense.norm(dense.linear(x, layer.weight, None), norm, bias=layer.bias, drop=drop)
    for module in group:
        x = module(x)
    return x


def _settled(group: list[nn.Module]) -> list[Callable[[Tensor], Tensor]]:
    """Return one layer of a stack as the steps of scoring it: its product, then what does not go into it."""
    steps: list[nn.Module] = [m for m in group if not isinstance(m, (nn.Dropout, nn.Identity))]
    linear, rest = cast("Linear", steps[0]), steps[1:]
    norm = rest.pop(0) if rest and isinstance(rest[0], nn.BatchNorm1d) else None
    relu = bool(rest) and isinstance(rest[0], nn.ReLU)
    product = None
    if linear.out_features >= dense.NARROW:
        product = product_of(linear, cast("nn.BatchNorm1d | None", norm), "relu" if relu else "none")
    if product is not None:
        return [product, *rest[relu:]]
    for module in steps:
        settle(module)
    return list(steps)


def fits(weight: Tensor, x: Tensor) -> bool:
    """Return whether the fast product may stand for x weight' in training: float32 weights, enough outputs."""
    return (
        dense.ready(x) and weight.shape[0] >= dense.NARROW and weight.dtype == torch.float32 and weight.is_contiguous()
    )


def _normal(norm: nn.BatchNorm1d) -> bool:
    """Return whether the fused norm computes what this module would: affine, in training, with a fixed momentum."""
    return norm.training and norm.affine and norm.momentum is not None and norm.weight.dtype == torch.float32


def cross(x0: Tensor, x: Tensor, layer: nn.Module) -> Tensor:
    """Return x0 * layer(x) + x, the cross layer of DCNv2 (Wang et al., WWW 2021, equation 1); all [batch, width]."""
    if isinstance(layer, Linear) and layer.training and fits(layer.weight, x) and x0.shape == x.shape:
        return dense.cross(x0, x, layer)
    return torch.addcmul(x, x0, layer(x))
