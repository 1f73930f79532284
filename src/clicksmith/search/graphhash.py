"""`clicksmith search graphhash`: `clicksmith.graph` as a search method. No backbone is trained."""

from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.plan.parts import AnyPart
from clicksmith.search.method import Asked, Method, Options


class GraphHashOptions(GraphHash, Options, frozen=True):
    """Options of `clicksmith search graphhash`."""


def run(asked: Asked, options: GraphHashOptions) -> tuple[AnyPart, ...]:
    """Map the ids of one field or two; only the training rows are read."""
    part = graph_hash(asked.encoder, asked.train, options, seed=asked.seed)
    for slot, one in part.slots.items():
        ids, rows = len(one.ids), one.rows
        asked.progress.said(f"{ids:,} ids of '{slot}' share {rows:,} rows; the map itself takes {4 * ids:,} bytes")
    return (part,)


METHOD = Method("graphhash", "ids that meet the same partners share a row", GraphHashOptions, run, trains=False)
