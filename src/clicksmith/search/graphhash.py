"""`clicksmith search graphhash`: `clicksmith.graph` as a search method. No backbone is trained."""

from clicksmith.encode.unseen import unmapped_notes
from clicksmith.graph.maps import CLUSTERED, GraphHash, graph_hash
from clicksmith.plan import Plan
from clicksmith.plan.parts import AnyPart
from clicksmith.search.method import Asked, Controls, Method, Options, changed


class GraphHashOptions(GraphHash, Options, frozen=True):
    """Options of `clicksmith search graphhash`."""


def run(asked: Asked, options: GraphHashOptions) -> tuple[AnyPart, ...]:
    """Map the ids of one field or two; only the training rows are read."""
    part = graph_hash(asked.encoder, asked.train, options, seed=asked.seed)
    for slot, one in part.slots.items():
        size = 4 * len(one.ids) * (1 if one.second is None else 2)
        asked.progress.said(f"{len(one.ids):,} ids of '{slot}' share {one.rows:,} rows; the map takes {size:,} bytes")
    for line in unmapped_notes(asked.encoder, asked.valid, part.slots_named):
        asked.progress.noted(f"valid: {line}")
    return (part,)


def controls(options: GraphHashOptions, _: Plan) -> Controls:
    """Return maps of the same size without a graph: by chance, for the rare ids alone, and by click rate."""
    if options.kind not in CLUSTERED or options.rows is None:
        return {}
    given = changed(options)
    kinds = {"hash": "random", "frequency": "frequency", "rate": "rate"}
    return {name: ("graphhash", given | {"kind": kind}) for name, kind in kinds.items()}


METHOD = Method(
    "graphhash", "ids that meet the same partners share a row", GraphHashOptions, run, trains=False, controls=controls
)
