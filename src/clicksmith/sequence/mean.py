"""Pools that do not look at the candidate; they live in `embed`, where they are the default."""

from clicksmith.embed.pooling import Mean, Sum

__all__ = ["Mean", "Sum"]
