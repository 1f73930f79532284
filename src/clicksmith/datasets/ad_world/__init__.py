"""Ad world: simulated impression logs whose truth is known."""

from clicksmith.datasets.ad_world.settings import (
    AdWorldSettings,
    Communities,
    Domains,
    History,
    Ids,
    Lifetimes,
    Mixed,
    Noise,
    Numbers,
    Pair,
    Vectors,
)
from clicksmith.datasets.ad_world.truth import Bayes, PlantedPair, Truth
from clicksmith.datasets.ad_world.world import AdWorld, ad_world

__all__ = [
    "AdWorld",
    "AdWorldSettings",
    "Bayes",
    "Communities",
    "Domains",
    "History",
    "Ids",
    "Lifetimes",
    "Mixed",
    "Noise",
    "Numbers",
    "Pair",
    "PlantedPair",
    "Truth",
    "Vectors",
    "ad_world",
]
