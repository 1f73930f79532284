"""Losses: values that build modules comparing logits with targets, one number per row and task."""

from clicksmith.loss.binary import BinaryCrossEntropy
from clicksmith.loss.distilled import SelfDistilled
from clicksmith.loss.weighted import Weighted

__all__ = ["BinaryCrossEntropy", "SelfDistilled", "Weighted"]
