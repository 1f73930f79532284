"""Compiled operations, and the torch operations that stand in for them."""
