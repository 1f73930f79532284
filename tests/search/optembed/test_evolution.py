"""The evolution on a known fitness: the best evaluated is returned, parents are not altered, budgets hold."""

import json
from itertools import product

import numpy as np
import pytest

from clicksmith.errors import UsageError
from clicksmith.search.optembed.evolution import Evolution, smallest_within
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.probe import first, probed_widths, probes

GRID = tuple(range(1, 9))


def price(widths):
    return 10 * sum(widths)


def fitness(widths):
    """Each field saturates at a width of its own."""
    return sum(min(w, 1 + i % 8) for i, w in enumerate(widths)) - 1e-3 * sum(widths)


def evolved(genes=9, grid=GRID, budget=None, seed=0, stop=None, **options):
    search = Evolution(genes, grid, OptEmbed(**options), price=price, budget=budget, seed=seed)
    told = []
    while children := search.ask():
        frozen = json.dumps(children)
        told.append((children, [fitness(c) for c in children]))
        before = dict(search.scored)
        search.tell(*told[-1])
        assert json.dumps(children) == frozen  # nothing is changed after it was scored
        assert all(search.scored[w] == one for w, one in before.items())
        if search.generation == stop:
            break
    return search, told


@pytest.mark.parametrize("seed", range(5))
def test_what_is_returned_is_the_best_that_was_evaluated(seed):
    search, told = evolved(seed=seed)
    assert search.best().score == max(score for _, scores in told for score in scores)
    assert search.best().score == fitness(search.best().widths)
    assert len(search.scored) == sum(len(children) for children, _ in told)  # nothing twice


@pytest.mark.parametrize("budget", [100, 250, 500])
def test_no_child_breaks_the_budget(budget):
    search, _ = evolved(budget=budget)
    assert all(one.parameters == price(one.widths) <= budget for one in search.scored.values())
    if budget > 100:
        assert len(search.scored) > 20


def test_every_width_is_reached_and_crossover_mixes():
    search, _ = evolved(generations=20, patience=20)
    for field in range(9):
        assert {one.widths[field] for one in search.scored.values()} == set(GRID)
    parents = [a for a in search.scored.values()][:2]
    mixed = [search._crossed(parents) for _ in range(200)]
    pure = {one.widths for one in parents}
    different = [m for m in mixed if m not in pure]
    assert different  # the point lies within the fields
    assert all(
        any(m[:k] == a.widths[:k] and m[k:] == b.widths[k:] for k in range(1, 9) for a in parents for b in parents)
        for m in mixed
    )


@pytest.mark.parametrize(("rise", "ends"), [(0.0, 5), (2e-5, 5), (3e-5, 20), (2e-4, 20)])
def test_it_ends_where_the_best_score_rises_no_more(rise, ends):
    """Small rises add up: four of 3e-5 are one that counts, four of 2e-5 are not."""
    search, best = Evolution(9, GRID, OptEmbed(patience=4), price=price), 0.9
    while children := search.ask():
        best += rise
        search.tell(children, [best] * len(children))
        resumed = Evolution(9, GRID, OptEmbed(patience=4), price=price)
        resumed.load(json.loads(json.dumps(search.state())))
        search = resumed
    assert search.generation == ends


@pytest.mark.parametrize(("genes", "mutations", "crossovers"), [(1, 1, 0), (1, 0, 1), (1, 10, 10), (5, 1, 0)])
def test_one_field_and_a_population_of_one_work(genes, mutations, crossovers):
    search, _ = evolved(genes=genes, mutations=mutations, crossovers=crossovers)
    assert search.scored
    if mutations + crossovers > 1:
        assert search.best().widths == (1,)


def test_the_front_is_what_nothing_beats():
    search, _ = evolved()
    front = search.front()
    every = list(search.scored.values())
    for one in every:
        beaten = any(
            o.score >= one.score
            and o.parameters <= one.parameters
            and (o.score, -o.parameters) != (one.score, -one.parameters)
            for o in every
        )
        same = any(f.score == one.score and f.parameters == one.parameters for f in front)
        assert same != beaten
    assert smallest_within(front, 0.0) == front[-1]
    assert smallest_within(front, 1e9) == front[0]


def test_a_resumed_evolution_goes_the_same_way():
    whole, _ = evolved(seed=3)
    half, _ = evolved(seed=3, stop=3)
    again = Evolution(9, GRID, OptEmbed(), price=price, seed=99)
    again.load(json.loads(json.dumps(half.state())))
    while children := again.ask():
        again.tell(children, [fitness(c) for c in children])
    assert again.scored == whole.scored


def test_probes_lead_down_the_cheapest_way():
    grid = (1, 2, 4, 8)
    assert probed_widths(grid) == (1, 2, 4)

    def score(widths):  # the second field needs eight columns, the first one
        return 0.1 * (widths[1] - 8)

    found = first([score(w) for w in probes(2, grid)], 2, grid, price, 100)
    assert found[0] == (2, 8)
    assert all(price(w) <= 100 for w in found)
    assert found[-1][0] == 1


def test_probing_finds_what_chance_does_not():
    best = max(product((1, 8), repeat=2), key=lambda w: fitness(w))
    assert best[0] == 1
    scores = [fitness(w) for w in probes(9, GRID)]
    search = Evolution(9, GRID, OptEmbed(), price=price)
    search.start(first(scores, 9, GRID, price, None))
    search.tell(children := search.ask(), [fitness(c) for c in children])
    chance = Evolution(9, GRID, OptEmbed(), price=price)
    chance.tell(children := chance.ask(), [fitness(c) for c in children])
    assert search.best().score > chance.best().score
    assert np.isfinite(search.best().score)


def test_where_ids_are_few_whole_vectors_may_be_the_cheapest():
    def few(widths):  # two ids: a narrow vector has padding of its own, beside the whole one of unseen values
        return sum(32 if width == 8 else 3 * width + 16 for width in widths)

    search = Evolution(2, (7, 8), OptEmbed(patience=2), price=few, budget=69)
    search.start(((7, 7),))
    while children := search.ask():
        search.tell(children, [fitness(child) for child in children])
    assert set(search.scored) == {(8, 8), (7, 8), (8, 7)}
    assert Evolution(2, (5, 7, 8), OptEmbed(), price=few).cheapest == (5, 5)
    with pytest.raises(
        UsageError, match=r"max_parameters is 63, and the smallest candidate \(width 8 everywhere\) has 64"
    ):
        Evolution(2, (7, 8), OptEmbed(max_parameters=63), price=few, budget=63)


def test_bad_numbers_are_refused_with_name_value_and_bound():
    with pytest.raises(UsageError, match=r"max_parameters is 89, and the smallest candidate .* has 90"):
        Evolution(9, GRID, OptEmbed(), price=price, budget=89)
    for options, told in [
        ({"mutate": 0}, "mutate is 0; it must be above 0"),
        ({"mutate": 1.5}, r"mutate is 1\.5"),
        ({"mutations": 0, "crossovers": 0}, "needs a child"),
        ({"generations": 0}, "generations is 0; it must be at least 1"),
        ({"alpha": -1}, "alpha is -1; it must be at least 0"),
        ({"threshold_rate": -0.1}, r"threshold_rate is -0\.1"),
        ({"max_ratio": 0}, "max_ratio is 0"),
        ({"max_ratio": 0.5, "max_parameters": 9}, "both; give one"),
    ]:
        with pytest.raises(UsageError, match=told):
            OptEmbed(**options)
