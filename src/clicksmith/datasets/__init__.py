"""Data sets: simulated ones whose truth is known, published ones by name, and a user's own declared in a TOML file."""

from clicksmith.datasets.ad_world import AdWorld, AdWorldSettings, ad_world
from clicksmith.datasets.catalogue import DATASETS
from clicksmith.datasets.dataset import Dataset
from clicksmith.datasets.load import load

__all__ = ["DATASETS", "AdWorld", "AdWorldSettings", "Dataset", "ad_world", "load"]
