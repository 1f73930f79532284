"""`--models my_model.py`: a user's backbones and parts, run on the user's word, never on behalf of an artefact."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clicksmith.models.register import ModelFunction


def load_models(paths: Sequence[str]) -> "dict[str, ModelFunction]":
    """Return the backbones of the files by name; their parts are registered too."""
    if not paths:
        return {}
    from clicksmith.models.register import load_user_models

    found: dict[str, ModelFunction] = {}
    for path in paths:
        found.update(load_user_models(path))
    return found
