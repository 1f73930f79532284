"""PPNet: dense layers that are gated by who and what the row is about (Chang et al., KDD 2023)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.personal import PersonalMLP
from clicksmith.models.spec import ModelSpec
from clicksmith.schema.columns import Role


def ppnet(
    *,
    dim: int = 16,
    gate_fields: tuple[str, ...] = (),
    gate_roles: tuple[Role, ...] = (),
    gate_dim: int = 16,
    gate_units: int = 64,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers, each multiplied by a gate that chosen ids drive.

    `gate_fields` names the fields that drive the gates (a user id, an item id), `gate_roles` chooses them by role;
    their vectors of `gate_dim` are the gates' own. Without either, the vectors of all fields drive them alone.
    Differs from the paper: this is the part for one task; there the gated layers are a tower for each.
    """
    layers = PersonalMLP(
        dim=gate_dim, fields=gate_fields, roles=gate_roles, units=units, gate_units=gate_units,
        activation=activation, batch_norm=batch_norm, dropout=dropout,
    )  # fmt: skip
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(then=(layers,)))
