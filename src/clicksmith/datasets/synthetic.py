"""Simulated data: the ad world, under the name it is best found by."""

from clicksmith.datasets.ad_world import AdWorld, AdWorldSettings, ad_world

__all__ = ["AdWorld", "AdWorldSettings", "ad_world"]
