"""Composers nest, hand on reads and logits, and refuse what cannot be put together."""

from dataclasses import replace

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.fields.senet import SENet
from clicksmith.interact.attention import Attention
from clicksmith.interact.compose import Flat, Parallel, Stacked
from clicksmith.interact.copies import Copies, PerDomain
from clicksmith.interact.fm import FM
from clicksmith.interact.linear import FIRST_ORDER, FirstOrder
from clicksmith.interact.mlp import MLP

SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(3)), 4, extra=2, domains=5)


def fields(rows=6, domain=None):
    random = torch.Generator().manual_seed(rows)
    draw = lambda *size: torch.randn(*size, generator=random, dtype=torch.float64)  # noqa: E731
    return Fields(draw(rows, 3, 4), draw(rows, 2), {"first_order": draw(rows, 3, 1)}, domain)


def built(part):
    return part.build(SHAPE).double()


@pytest.mark.reference("flat")
def test_flat_lays_vectors_and_extras_side_by_side():
    given = fields()
    flat = built(Flat())(given).vector
    assert flat.shape == (6, Flat().out(SHAPE).width)
    for row, vectors, extra in zip(flat.tolist(), given.vectors.tolist(), given.extra.tolist(), strict=True):
        assert row == [number for vector in vectors for number in vector] + extra


@pytest.mark.reference("parallel")
def test_parallel_joins_vectors_and_adds_logits():
    part = Parallel(blocks=(FirstOrder(), Flat(), FM(), Flat()))
    given = fields()
    hidden = built(part)(given)
    for row, flat in enumerate(given.flat()):
        assert hidden.vector[row].tolist() == flat.tolist() + flat.tolist()
        first = sum(given.views["first_order"][row, i, 0] for i in range(3))
        pairs = sum(given.vectors[row, i] @ given.vectors[row, j] for i in range(3) for j in range(i))
        torch.testing.assert_close(hidden.logit[row, 0], first + pairs)
    assert (part.out(SHAPE).width, part.out(SHAPE).logit) == (28, True)


def test_reads_are_those_of_all_parts_once():
    part = Parallel(blocks=(FirstOrder(), Stacked(first=FM()), Stacked(then=(MLP(),)), FirstOrder()))
    assert part.reads() == (FIRST_ORDER, "vectors", "extra")


def test_a_constant_per_block_shifts_the_logit_only():
    with_bias, without = Parallel(blocks=(Flat(), Flat()), bias_each=True), Parallel(blocks=(Flat(), Flat()))
    module, given = built(with_bias), fields()
    assert (with_bias.out(SHAPE).logit, without.out(SHAPE).logit) == (True, False)
    assert sum(p.numel() for p in module.parameters()) == 1
    torch.nn.init.constant_(module.biases, 3.0)
    assert torch.equal(module(given).logit, torch.full((6, 1), 3.0, dtype=torch.float64))


@pytest.mark.reference("stacked")
def test_stacked_runs_transforms_block_and_layers_in_order():
    part = Stacked(transforms=(SENet(reduction=1),), first=Flat(), then=(MLP(units=(5,)), MLP(units=(3,))))
    module, given = built(part), fields()
    x = module.transforms[0](given).flat()
    for layer in module.then:
        x = layer(x)
    assert torch.equal(module(given).vector, x)
    assert part.out(SHAPE).width == 3


def test_stacked_hands_on_the_logit_of_its_first_block():
    part = Stacked(first=Parallel(blocks=(Flat(), FM())), then=(MLP(units=(3,)),))
    given = fields()
    assert torch.equal(built(part)(given).logit, built(FM())(given).logit)
    assert part.out(SHAPE).logit


def test_a_branch_changes_fields_for_itself_only():
    changed = Stacked(transforms=(Attention(layers=1, width=6, heads=2),))
    hidden = built(Parallel(blocks=(changed, Flat())))(fields())
    assert torch.equal(hidden.vector[:, 3 * 6 + 2 :], fields().flat())


def test_composers_nest():
    deep = Parallel(blocks=(Stacked(first=Parallel(blocks=(Flat(), Stacked(then=(MLP(units=(2,)),))))), FM()))
    assert built(deep)(fields()).vector.shape == (6, deep.out(SHAPE).width) == (6, 16)


@pytest.mark.reference("copies")
def test_copies_are_groups_with_weights_of_their_own():
    part = Copies(block=Stacked(then=(MLP(units=(3,)),)), count=4)
    module, given = built(part), fields()
    hidden = module(given)
    assert (part.out(SHAPE).groups, hidden.vector.shape) == (4, (6, 4, 3))
    for i, block in enumerate(module.blocks):
        assert torch.equal(hidden.vector[:, i], block(given).vector)
    assert not torch.equal(hidden.vector[:, 0], hidden.vector[:, 1])


DOMAIN = torch.tensor([2, 1, 4, 2, 3, 1], dtype=torch.int32)


def per_domain(**options):
    return PerDomain(block=Parallel(blocks=(Stacked(then=(MLP(units=(3,), **options),)), FM())))


@pytest.mark.reference("per_domain")
def test_each_row_goes_through_its_domains_block_and_an_unseen_one_through_all():
    module, given = built(per_domain()).eval(), fields(domain=DOMAIN)
    every = [block(given).vector for block in module.blocks]
    assert len(every) == 3
    hidden = module(given)
    for row, domain in enumerate(DOMAIN.tolist()):
        expected = every[domain - 2][row] if domain > 1 else sum(every)[row] / 3
        torch.testing.assert_close(hidden.vector[row], expected)
    torch.testing.assert_close(hidden.logit, built(FM())(given).logit)


def test_exported_dispatch_gives_the_same(monkeypatch):
    module, given = built(per_domain(batch_norm=True)).eval(), fields(domain=DOMAIN)
    grouped = module(given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(module(given).vector, grouped.vector)


def test_a_traced_program_sends_rows_of_other_domains_to_theirs():
    module, given = built(per_domain()).eval().requires_grad_(False), fields()

    def routed(domain):
        return module(replace(given, domain=domain)).vector

    traced = torch.jit.trace(routed, torch.full_like(DOMAIN, 2))
    torch.testing.assert_close(traced(DOMAIN), routed(DOMAIN))


def test_normalisation_of_absent_domains_stands_still_and_single_rows_do_not_fail():
    module = built(per_domain(batch_norm=True)).train()
    module(fields(domain=torch.tensor([2, 2, 2, 2, 2, 3], dtype=torch.int32)))
    norms = [next(m for m in block.modules() if isinstance(m, torch.nn.BatchNorm1d)) for block in module.blocks]
    assert [int(norm.num_batches_tracked) for norm in norms] == [1, 0, 0]
    assert all(m.training for m in module.modules())


def test_no_rows_give_no_rows():
    hidden = built(per_domain()).eval()(fields(rows=0, domain=torch.zeros(0, dtype=torch.int32)))
    assert (hidden.vector.shape, hidden.logit.shape) == ((0, 3), (0, 1))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            Stacked(first=FM(), then=(MLP(),)),
            r"^'mlp' follows 'fm', which gives a logit and no vector; put the two side by side with Parallel, "
            r"or choose a block that gives a vector\.$",
        ),
        (
            Stacked(first=Copies(block=Flat()), then=(MLP(),)),
            r"^'mlp' follows 4 groups; put the layers inside Copies\.$",
        ),
        (
            Stacked(first=FirstOrder(), transforms=(SENet(),)),
            r"^'se_?net' writes vectors, and 'first_order' after it reads none; "
            r"choose a block that reads vectors, such as Flat\(\)\.$",
        ),
        (Parallel(blocks=()), r"^Parallel got no blocks; give at least one\.$"),
        (
            Parallel(blocks=(Flat(), Copies(block=Flat()))),
            r"^Parallel joins blocks of 1 and 4 groups; put Copies around all\.$",
        ),
        (Copies(block=FM()), r"^Copies of 'fm', count=4: gives no vector; copy a block that gives one vector"),
        (Copies(block=Copies(block=Flat())), r"^Copies of 'copies', count=4: gives groups already;"),
        (Copies(block=Flat(), count=0), r"^Copies of 'flat', count=0: count < 1;"),
    ],
)
def test_what_cannot_be_composed_is_refused(part, message):
    with pytest.raises(CompositionError, match=message):
        part.out(SHAPE)


def test_domains_and_fields_must_be_there():
    bare = FieldShape((), 4)
    with pytest.raises(CompositionError, match=r"^'per_domain' needs the row's domain, and the data has none;"):
        PerDomain(block=Flat()).out(bare)
    with pytest.raises(CompositionError, match=r"^'flat' has nothing to flatten: the data has no fields;"):
        Flat().out(bare)
