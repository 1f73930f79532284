"""LR: logistic regression, one weight per feature."""

from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def lr() -> ModelSpec:
    """Logistic regression: one weight per feature."""
    return ModelSpec(interact=FirstOrder())
