"""The search methods by name."""

from clicksmith.search import controls, graphhash, optfs
from clicksmith.search.method import Method

SEARCHES: dict[str, Method] = {
    method.name: method
    for method in (optfs.METHOD, graphhash.METHOD, controls.RANDOM, controls.FREQUENT, controls.WARM)
}
