"""Batches of encoded rows and the order they come in; splits, and encoded rows kept for further runs."""
