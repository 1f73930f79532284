"""Sums of the products of every k fields, at the cost of the fields and not of their subsets."""

import torch
from torch import Tensor


def symmetric_sums(vectors: Tensor, order: int) -> list[Tensor]:
    """Return `e_k = sum_{i1<...<ik} v_i1 * ... * v_ik`, coordinate by coordinate, for k = 1 ... order.

    By Newton's identities, `k e_k = sum_{i=1..k} (-1)^(i-1) e_{k-i} p_i` with `p_i = sum_f v_f^i`. The terms of high
    orders cancel each other, hence float32 at least; sums of more fields than there are are zero, up to rounding.

    Shape:
        vectors: [batch, fields, dim]
        out:     order times [batch, dim]
    """
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    power, powers, sums = wide, [wide.sum(1)], list[Tensor]()
    for _ in range(order - 1):
        power = power * wide
        powers.append(power.sum(1))
    for k in range(1, order + 1):
        total = powers[k - 1] if k % 2 else -powers[k - 1]
        for i, before in enumerate(reversed(sums), 1):  # e_{k-1} p_1, e_{k-2} p_2, ...
            total = torch.addcmul(total, before, powers[i - 1], value=1 if i % 2 else -1)
        sums.append(total / k)
    return sums
