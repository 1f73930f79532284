"""`Sampled`: any table, with the vectors cut to widths that are drawn in training and chosen in the search."""

import torch
from torch import Tensor, nn

from clicksmith.embed.sockets import Table, TableShape
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import UsageError
from clicksmith.search.optembed.once import Once


class Sampled(Table, frozen=True):
    """Keep the first k columns of a vector; in training k is drawn uniformly for each row and vocabulary.

    A row draws once for the fields, the bag or the history that share a vocabulary, since one width is chosen for it.
    Padding and unseen ids stay whole. Paper: optembed, section 3.2.
    """

    inner: Table = Plain()
    widths: tuple[int, ...] = ()
    """The widths to draw from, rising; () means all."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table of a shape."""
        return SampledTable(self.inner.build(shape), shape, grid(self.widths, shape.dim))


def grid(widths: tuple[int, ...], dim: int) -> tuple[int, ...]:
    """Return the widths to choose from. Raises UsageError: they do not rise within 1..dim, or there is no choice."""
    found = widths or tuple(range(1, dim + 1))
    if list(found) != sorted(set(found)) or not 1 <= found[0] <= found[-1] <= dim:
        raise UsageError(f"widths are {found}; they must rise, from 1 to at most the embedding's dim {dim}.")
    if dim < 2:
        raise UsageError(
            f"the embedding's dim is {dim}; OptEmbed chooses widths from 1 to dim, so it must be 2 or more."
        )
    return found


class SampledTable(nn.Module):
    """The table in `inner`, times prefix masks.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    grid: Tensor
    prefixes: Tensor
    chosen: Tensor | None

    def __init__(self, inner: nn.Module, shape: TableShape, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.dim, self.once = inner, shape.dim, Once()
        self.slots = tuple(name for name, _ in shape.slots)
        self.register_buffer("grid", torch.tensor(widths, dtype=torch.int64), persistent=False)
        prefixes = torch.ones(shape.dim + 1, shape.dim).tril(-1)  # row k: k ones, then zeros
        self.register_buffer("prefixes", prefixes, persistent=False)
        self.register_buffer("chosen", None, persistent=False)

    def choose(self, widths: dict[str, int] | None) -> None:
        """Cut to these widths per slot from now on; None: to drawn ones in training, and to none in evaluation."""
        chosen = None if widths is None else torch.tensor([widths[slot] for slot in self.slots])
        self.chosen = None if chosen is None else chosen.to(self.grid.device)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        vectors = self.whole(ids, slots)
        if self.chosen is None and not self.training:
            return vectors
        return vectors * self.masks(ids, slots).to(vectors.dtype)

    def whole(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns] uncut."""
        return self.once("vectors", ids, slots, self.inner)

    def masks(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Return which columns stay: [..., columns, dim], 1 or 0."""
        if self.chosen is not None:
            width = self.chosen[[self.slots.index(slot) for slot in slots]]
        else:
            distinct = tuple(dict.fromkeys(slots))
            drawn = torch.randint(len(self.grid), (ids.shape[0], len(distinct)), device=ids.device)
            width = self.grid.index_select(0, drawn.flatten()).view(drawn.shape)
            if distinct != slots:
                width = width[:, [distinct.index(slot) for slot in slots]]
            width = width.reshape(ids.shape[0], *[1] * (ids.dim() - 2), len(slots))
        width = width.masked_fill(ids <= UNSEEN, self.dim)
        return self.prefixes.index_select(0, width.flatten()).view(*width.shape, self.dim)
