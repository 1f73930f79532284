"""A table of fewer rows than ids: all slots hashed into the same buckets (Weinberger et al., ICML 2009)."""

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.encode.hashing import hash64
from clicksmith.errors import CompositionError

PRIME = 2**31 - 1
"""Above every id, and so small that a product stays below 2^63."""
LARGEST = 30
"""Bits whose bucket numbers fit 32-bit ids."""


class Hashed(Table, frozen=True):
    """One vector per bucket; ids that fall into one bucket share it, whatever their slots."""

    bits: int = 18
    """There are 2^bits buckets."""
    std: float = 1e-4
    """Deviation of the normal distribution that the vectors are drawn from."""

    def __post_init__(self) -> None:
        """Check the bits."""
        if not 1 <= self.bits <= LARGEST:
            raise CompositionError(f"hashed bits={self.bits}: give 1 to {LARGEST}, as in bits=18 (262,144 buckets).")

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table of a shape."""
        return HashedTable(shape, self.bits, self.std)


class HashedTable(nn.Module):
    """`bucket = 1 + (a_s * id + b_s mod p) mod 2^bits`; a_s and b_s are hashes of the slot's name, id 0 is row 0.

    The same names give the same buckets on every machine. Sums and remainders only, so that the model exports.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    factors: Tensor
    shifts: Tensor

    def __init__(self, shape: TableShape, bits: int, std: float) -> None:
        super().__init__()
        self.buckets = 2**bits
        self.store = RowStore((("(hashed)", self.buckets + 1),), shape.dim, std=std)
        self.numbers = {name: i for i, (name, _) in enumerate(shape.slots)}
        factors = [1 + hash64(f"{name} *") % (PRIME - 1) for name in self.numbers]
        shifts = [hash64(f"{name} +") % PRIME for name in self.numbers]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.int64), persistent=False)
        self.register_buffer("shifts", torch.tensor(shifts, dtype=torch.int64), persistent=False)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        numbers = [self.numbers[s] for s in slots]
        mixed = (ids * self.factors[numbers] + self.shifts[numbers]) % PRIME % self.buckets
        rows = (mixed + 1).masked_fill(ids == 0, 0).int()
        return self.store(rows, torch.zeros(len(slots), dtype=torch.int64, device=ids.device))
