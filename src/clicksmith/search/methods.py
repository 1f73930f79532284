"""The search methods by name."""

from clicksmith.search import controls, optfs
from clicksmith.search.dnis import controls as columns
from clicksmith.search.dnis import method as dnis
from clicksmith.search.method import Method

SEARCHES: dict[str, Method] = {
    method.name: method
    for method in (
        optfs.METHOD,
        dnis.METHOD,
        controls.RANDOM,
        controls.FREQUENT,
        controls.WARM,
        columns.SIZE,
        columns.RANDOM,
    )
}
