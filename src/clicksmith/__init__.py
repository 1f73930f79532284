"""Clicksmith."""
