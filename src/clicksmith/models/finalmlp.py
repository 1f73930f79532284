"""FinalMLP: two gated streams of dense layers that meet in a bilinear form (Mao et al., AAAI 2023)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.fields.gate import ContextGate
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.two_stream import TwoStream
from clicksmith.models.spec import ModelSpec
from clicksmith.schema.columns import Role


def finalmlp(
    *,
    dim: int = 16,
    units1: tuple[int, ...] = (400,),
    units2: tuple[int, ...] = (800,),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout1: float = 0.3,
    dropout2: float = 0.2,
    heads: int = 10,
    gate: bool = True,
    gate_units: tuple[int, ...] = (800,),
    context1: tuple[str, ...] = (),
    context2: tuple[str, ...] = (),
    roles1: tuple[Role, ...] = (),
    roles2: tuple[Role, ...] = (),
    bias_each: bool = False,
) -> ModelSpec:
    """Two gated streams of dense layers that meet in a bilinear form.

    `context1`, `context2` name the fields that drive each stream's gate (a user id, an item id); `roles1`, `roles2`
    choose them by role. Without either a gate is constant.
    Paper: finalmlp.
    """
    gates = (
        ContextGate(name="gate1", dim=dim, fields=context1, roles=roles1, units=gate_units),
        ContextGate(name="gate2", dim=dim, fields=context2, roles=roles2, units=gate_units),
    )
    mlps = (
        MLP(units=units1, activation=activation, batch_norm=batch_norm, dropout=dropout1),
        MLP(units=units2, activation=activation, batch_norm=batch_norm, dropout=dropout2),
    )
    streams = [Stacked(transforms=(g,) if gate else (), then=(mlp,)) for g, mlp in zip(gates, mlps, strict=True)]
    fused = TwoStream(first=streams[0], second=streams[1], heads=heads, bias_each=bias_each)
    return ModelSpec(embed=Embed(dim=dim), interact=fused)
