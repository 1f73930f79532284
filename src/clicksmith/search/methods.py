"""The search methods by name."""

from clicksmith.search import controls, graphhash, optfs
from clicksmith.search.method import Method

METHODS = (optfs.METHOD, graphhash.METHOD, controls.RANDOM, controls.FREQUENT, controls.WARM)

SEARCHES: dict[str, Method] = {method.name: method for method in METHODS}
