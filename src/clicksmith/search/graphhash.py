"""`clicksmith search graphhash`: `clicksmith.graph` as a search method. No backbone is trained."""

import msgspec

from clicksmith.encode.unseen import unmapped_notes
from clicksmith.errors import UsageError
from clicksmith.graph.edges import slot_of_field
from clicksmith.graph.maps import CLUSTERED, DOUBLED, GraphHash, Kind, graph_hash, of_kind
from clicksmith.plan import Plan
from clicksmith.plan.parts import FIRST, AnyPart, Columns, IdMaps, Ranks
from clicksmith.search.method import Asked, Controls, Method, Options, changed


class GraphHashOptions(GraphHash, Options, frozen=True):
    """Options of `clicksmith search graphhash`."""


def run(asked: Asked, options: GraphHashOptions) -> tuple[AnyPart, ...]:
    """Map the ids of one field or two; only the training rows are read."""
    for side, field in options.mapped:
        try:
            slot = slot_of_field(asked.layout, field)
        except UsageError as error:
            raise UsageError(f"{('left', 'right')[side]} is '{field}': {error}") from error
        _check_free(slot, asked.before, doubled=options.kind in DOUBLED)
    part = graph_hash(asked.encoder, asked.train, options, seed=asked.seed)
    part = msgspec.structs.replace(part, found_by=msgspec.structs.replace(part.found_by, data=asked.data))
    for slot, one in part.slots.items():
        size = 4 * len(one.ids) * (1 if one.second is None else 2)
        ids, rows = len(one.ids) - FIRST, one.rows - FIRST
        asked.progress.said(f"{ids:,} ids of '{slot}' share {rows:,} rows; the map takes {size:,} bytes")
    for line in unmapped_notes(asked.encoder, asked.valid, part.slots_named):
        asked.progress.noted(f"valid: {line}")
    return (part,)


def _check_free(slot: str, before: Plan, *, doubled: bool) -> None:
    """Raise UsageError: something found before gives the slot's vectors a form that a map cannot follow."""
    for part in before.parts:
        if isinstance(part, Columns) and slot in part.slots:
            what = (
                "gives the ids of '{}' their columns, which a map would join; search maps first, and columns under them"
            )
        elif isinstance(part, Ranks) and slot in part.slots and doubled:
            what = "gives '{}' a rank, and sums of two rows take none; choose a kind with one row per id"
        elif isinstance(part, IdMaps) and slot in part.slots and part.slots[slot].second is not None:
            what = "maps the ids of '{}' to sums of two rows already; leave that Plan out"
        else:
            continue
        raise UsageError(f"the Plan to search under has {part.name}, which {what.format(slot)}.")


def controls(options: GraphHashOptions, _: Plan) -> Controls:
    """Return maps of the same size without a graph: by chance, for the rare ids alone, and by click rate."""
    if options.kind not in CLUSTERED or options.rows is None:
        return {}
    kinds: dict[str, Kind] = {"hash": "random", "frequency": "frequency", "rate": "rate"}
    return {name: ("graphhash", {**of_kind(changed(options), kind), "kind": kind}) for name, kind in kinds.items()}


METHOD = Method(
    "graphhash", "ids that meet the same partners share a row", GraphHashOptions, run, trains=False, controls=controls
)
