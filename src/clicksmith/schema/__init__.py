"""What the columns of the data mean."""

from clicksmith.schema.columns import (
    Bag,
    Behaviour,
    Categorical,
    Label,
    Multimodal,
    Numeric,
    Side,
    Time,
)
from clicksmith.schema.schema import Schema, SideTable

__all__ = ["Bag", "Behaviour", "Categorical", "Label", "Multimodal", "Numeric", "Schema", "Side", "SideTable", "Time"]
