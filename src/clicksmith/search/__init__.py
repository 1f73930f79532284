"""Searches: rows and a backbone to a Plan."""
