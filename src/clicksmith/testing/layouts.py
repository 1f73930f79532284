"""Tiny layouts that between them hold every kind of column, and random batches of them."""

import torch

from clicksmith.batch.batch import Batch, History, Inputs, Targets
from clicksmith.encode.layout import (
    BagColumn,
    HistoryColumn,
    HistoryLayout,
    IdColumn,
    Layout,
    NumericColumn,
    Slot,
    VectorColumn,
)

_SLOTS = (Slot("user", 40), Slot("item", 12), Slot("category", 6), Slot("hour", 5))
_IDS = (IdColumn("user", "user", "user"), IdColumn("item", "item", "item"), IdColumn("category", "category", "item"))
_NUMERIC = (NumericColumn("price", "item"), NumericColumn("age", "user"))
_PAIRED = (HistoryColumn("item", "item", "item"), HistoryColumn("category", "category", "category"))
_CLICKS = HistoryLayout("clicks", (*_PAIRED, HistoryColumn("gap", "gap", None)), 4)

LAYOUTS: dict[str, Layout] = {
    "ids": Layout(
        slots=_SLOTS,
        ids=(*_IDS, IdColumn("hour", "hour")),
        order=("user", "item", "category", "hour"),
    ),
    "numbers": Layout(
        slots=_SLOTS,
        ids=(*_IDS, IdColumn("hour", "hour")),
        numeric=_NUMERIC,
        order=("user", "age", "price", "item", "category", "hour"),
    ),
    "history": Layout(
        slots=(*_SLOTS, Slot("gap", 4)),
        ids=_IDS,
        histories=(_CLICKS,),
        order=("user", "item", "category"),
    ),
    "everything": Layout(
        slots=(*_SLOTS, Slot("gap", 4), Slot("tag", 7)),
        ids=_IDS,
        numeric=_NUMERIC,
        bags=(BagColumn("tags", "tag", 3, "item"), BagColumn("genres", "category", 2)),
        vectors=(VectorColumn("image", 3),),
        histories=(_CLICKS, HistoryLayout("carts", (HistoryColumn("item", "item", "item"),), 3)),
        domains=4,
        order=("user", "price", "tags", "item", "category", "image", "genres", "age"),
    ),
}
"""By name, from the plainest. `history` and `everything` also take batches where several rows share a user."""


def random_batch(layout: Layout, rows: int, *, seed: int = 0, users: int | None = None, missing: bool = True) -> Batch:
    """Return random rows of a layout; `users` histories shared by the rows, or one history per row.

    Ids are 1 (unseen) or more, numbers are sometimes NaN if `missing`, bags and histories are sometimes empty.
    """
    random = torch.Generator().manual_seed(seed)
    sizes = layout.rows

    def ids(slot: str, *shape: int) -> torch.Tensor:
        return torch.randint(1, sizes[slot], shape, generator=random, dtype=torch.int32)

    columns = [ids(c.slot, rows) for c in layout.ids]
    numeric = torch.randn(rows, len(layout.numeric), generator=random)
    if missing:
        numeric[torch.rand(numeric.shape, generator=random) < 0.3] = float("nan")
    bags = {c.name: ids(c.slot, rows, c.length) * _filled(random, rows, c.length) for c in layout.bags}
    vectors = {c.name: torch.randn(rows, c.dim, generator=random) for c in layout.vectors}
    owners = rows if users is None else users
    histories: dict[str, History] = {}
    for h in layout.histories:
        sequence = torch.stack([ids(c.slot, owners, h.length) for c in h.columns], -1)
        histories[h.name] = History.of(sequence * _filled(random, owners, h.length).flip(1).unsqueeze(-1))
    owner = domain = None
    if layout.histories and users is not None:
        owner = torch.randint(0, users, (rows,), generator=random, dtype=torch.int32)
    if layout.domains:
        domain = torch.randint(1, layout.domains, (rows,), generator=random, dtype=torch.int32)
    labels = torch.randint(0, 2, (rows, len(layout.labels)), generator=random).float()
    stacked = torch.stack(columns, 1) if columns else torch.zeros(rows, 0, dtype=torch.int32)
    inputs = Inputs(stacked, numeric, bags, vectors, histories, owner, domain)
    return Batch(inputs, Targets(labels, row=torch.arange(rows)))


def _filled(random: torch.Generator, rows: int, length: int) -> torch.Tensor:
    """Return 1 for the first k positions of each row, k random from 0 to `length`: [rows, length] int32."""
    lengths = torch.randint(0, length + 1, (rows, 1), generator=random)
    return (torch.arange(length) < lengths).int()
