"""The search methods by name."""

from clicksmith.search import optfs
from clicksmith.search.method import Method
from clicksmith.search.optembed import method as optembed

SEARCHES: dict[str, Method] = {method.name: method for method in (optfs.METHOD, optembed.METHOD)}
