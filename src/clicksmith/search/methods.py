"""The search methods by name."""

from clicksmith.search import controls, graphhash, optfs
from clicksmith.search.dnis import controls as columns
from clicksmith.search.dnis import method as dnis
from clicksmith.search.method import Method
from clicksmith.search.optembed import method as optembed
from clicksmith.search.optinter import method as optinter

_ALL: tuple[Method, ...] = (
    graphhash.METHOD,
    optfs.METHOD,
    optembed.METHOD,
    optinter.METHOD,
    dnis.METHOD,
    controls.RANDOM,
    controls.FREQUENT,
    controls.WARM,
    columns.SIZE,
    columns.RANDOM,
)

SEARCHES: dict[str, Method] = {method.name: method for method in _ALL}
