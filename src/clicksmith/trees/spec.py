"""`Trees`: LightGBM's options as a value."""

from clicksmith.encode.layout import Layout
from clicksmith.errors import CompositionError
from clicksmith.parts import Part
from clicksmith.trees.features import Features

LIGHTGBM = "LightGBM"
"""Name of the trees among the models."""

SPACE = {
    "leaves": [15, 31, 63, 127, 255],
    "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
    "least_rows": [20, 50, 100, 200],
    "l2": {"low": 0.1, "high": 100.0, "log": True},
    "row_share": {"low": 0.5, "high": 1.0},
    "column_share": {"low": 0.5, "high": 1.0},
    "prior": {"low": 2.0, "high": 200.0, "log": True},
}
"""What a search tries."""

_MOST_LEAVES = 131_072
_ROW = 64
"""Bytes of a row beside its features: gradients, scores, its leaf, its fold."""


class Trees(Part, frozen=True):
    """Gradient boosted trees. Early stopping looks at validation rows only."""

    leaves: int = 63
    """Of a tree, at most."""
    learning_rate: float = 0.05
    rounds: int = 2000
    """Trees, at most."""
    every: int = 10
    """Trees between two evaluations."""
    patience: int = 10
    """Stop after this many evaluations in a row that are no better than the best."""
    least_rows: int = 50
    """Of a leaf."""
    l2: float = 1.0
    row_share: float = 0.8
    """Of the rows, drawn for each tree."""
    column_share: float = 0.8
    """Of the features, drawn for each tree."""
    few: int = 256
    """Slots of at most so many ids are categories; ids of larger ones become a count and a click rate."""
    folds: int = 5
    """Click rates of training rows come from the other folds."""
    prior: float = 20.0
    """How many rows the mean click rate counts for in that of an id."""

    def __post_init__(self) -> None:
        """Check every value."""
        least: dict[str, float] = {"leaves": 2, "rounds": 1, "every": 1, "patience": 1, "least_rows": 1, "folds": 2}
        least |= {"l2": 0, "few": 0}
        bad = [f"{name} is {getattr(self, name)}; at least {low}" for name, low in least.items()
               if getattr(self, name) < low]  # fmt: skip
        above = ("learning_rate", "row_share", "column_share", "prior")
        bad += [f"{name} is {getattr(self, name)}; more than 0" for name in above if not getattr(self, name) > 0]
        most: dict[str, float] = {"row_share": 1, "column_share": 1, "leaves": _MOST_LEAVES, "folds": 255}
        bad += [f"{name} is {getattr(self, name)}; at most {high}" for name, high in most.items()
                if getattr(self, name) > high]  # fmt: skip
        if bad:
            raise CompositionError(f"trees: {bad[0]} is needed.")


def trees_memory(trees: Trees, layout: Layout, rows: int) -> int:
    """Return about how many bytes training holds: a byte per feature and row twice, and the statistics of ids."""
    features = Features(layout, few=trees.few, folds=0, prior=1)
    statistics = 8 * features.statistics + 4 * trees.folds * features.statistics
    return rows * (2 * len(features.names) + _ROW) + statistics
