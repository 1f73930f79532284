"""The papers, one file each: `PAPER` with its claims, and `PIECES`, what implements it here."""

from clicksmith.paper import Paper
from clicksmith.papers import autoint, din, fgcnn, finalmlp, optembed, optfs

PAPERS: dict[str, Paper] = {
    module.PAPER.key: module.PAPER for module in (autoint, din, fgcnn, finalmlp, optembed, optfs)
}
"""By key, the word that docstrings cite."""
