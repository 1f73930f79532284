"""The search methods by name."""

from clicksmith.search import controls, optfs
from clicksmith.search.method import Method
from clicksmith.search.optinter import method as optinter

SEARCHES: dict[str, Method] = {
    method.name: method for method in (optfs.METHOD, optinter.METHOD, controls.RANDOM, controls.FREQUENT, controls.WARM)
}
