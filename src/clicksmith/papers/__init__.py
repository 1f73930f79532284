"""The papers, one file each: `PAPER` with its claims, and `PIECES`, what implements it here."""

import pkgutil
from importlib import import_module

from clicksmith.paper import Paper

_FOUND: list[Paper] = [import_module(f"{__name__}.{module.name}").PAPER for module in pkgutil.iter_modules(__path__)]

PAPERS: dict[str, Paper] = {paper.key: paper for paper in _FOUND}
"""By key, the word that docstrings cite."""
