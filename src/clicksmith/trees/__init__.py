"""Gradient boosted trees on the encoded rows: the baseline that advertisers really use, for comparison only."""
