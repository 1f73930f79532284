"""The command line: one file per verb; `main.py` lists them."""
