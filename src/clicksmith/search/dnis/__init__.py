"""DNIS: how many columns, and which, the vectors of features of similar frequency need (arXiv 2006.04466)."""
