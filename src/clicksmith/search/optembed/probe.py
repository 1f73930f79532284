"""First candidates of the evolution: what narrowing each vocabulary alone does, and the cheapest way down from there.

Ours; the paper starts from chance. One probe cuts one vocabulary and leaves the others whole; it says where to begin,
and is no candidate itself.
"""

from collections.abc import Callable

from clicksmith.search.optembed.evolution import Widths

POINTS = 4
"""Widths probed per vocabulary; harm in between is interpolated."""
FIRST = 10
"""Candidates given to the evolution at most."""


def probed_widths(grid: Widths) -> Widths:
    """Return the widths to probe: the smallest, and others each about half the next; never the largest."""
    found, at = [grid[0]], grid[-1]
    while len(found) < POINTS and at // 2 > grid[0]:
        at = max(width for width in grid if width <= max(at // 2, grid[0]))
        if at not in found and at != grid[-1]:
            found.append(at)
    return tuple(sorted(found)) if len(grid) > 1 else ()


def probes(genes: int, grid: Widths) -> list[Widths]:
    """Return the probes: the whole candidate, then every vocabulary at every probed width."""
    whole = (grid[-1],) * genes
    return [whole] + [(*whole[:i], width, *whole[i + 1 :]) for i in range(genes) for width in probed_widths(grid)]


def first(
    scores: list[float], genes: int, grid: Widths, price: Callable[[Widths], int], budget: int | None
) -> tuple[Widths, ...]:
    """Return candidates along the cheapest way down: at each step the narrowing of least harm per parameter saved."""
    points, whole = probed_widths(grid), scores[0]
    harms: list[dict[int, float]] = []
    for i in range(genes):
        own = dict(zip(points, (whole - s for s in scores[1 + i * len(points) :]), strict=False))
        harms.append(_between(own, grid))
    at, path = (grid[-1],) * genes, list[Widths]()
    while True:
        steps = [
            ((harms[i][width] - harms[i][at[i]]) / (price(at) - price(lower)), -width, i, lower)
            for i in range(genes)
            for width in grid
            if width < at[i] and price(lower := (*at[:i], width, *at[i + 1 :])) < price(at)
        ]
        if not steps:
            break
        at = min(steps)[-1]
        path.append(at)
    fits = [one for one in path if budget is None or price(one) <= budget]
    every = max(1, -(-len(fits) // FIRST))
    return tuple(fits[::every])


def _between(known: dict[int, float], grid: Widths) -> dict[int, float]:
    """Return the harm of every width: never less where narrower, 0 at the largest, linear between known widths."""
    points = sorted([*known, grid[-1]])
    harm = {grid[-1]: 0.0}
    for narrow, wide in zip(reversed(points[:-1]), reversed(points[1:]), strict=True):
        harm[narrow] = max(known[narrow], harm[wide])
        for width in grid:
            if narrow < width < wide:
                share = (wide - width) / (wide - narrow)
                harm[width] = harm[wide] + share * (harm[narrow] - harm[wide])
    return harm
