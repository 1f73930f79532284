"""How a history becomes an interest."""

from clicksmith.sequence.din import DIN
from clicksmith.sequence.mean import Mean, Sum

__all__ = ["DIN", "Mean", "Sum"]
