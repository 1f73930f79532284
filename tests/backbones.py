"""Backbones by what there is of them to search."""

from clicksmith.models import MODELS

WITHOUT_VECTORS = ("lr", "ffm", "onn", "hashed_lr")
"""They read no vector per field, so that nothing can be cut or multiplied."""
WITH_VECTORS = tuple(name for name in MODELS if name not in WITHOUT_VECTORS)
