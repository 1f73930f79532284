"""Searches: what should the model look at? Each finds a Plan, under which `fit` trains any backbone."""
