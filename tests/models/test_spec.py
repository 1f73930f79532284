"""Specs as values, models built from them, and what cannot be combined."""

import json

import msgspec
import pytest

from clicksmith.embed.embedder import Embed
from clicksmith.embed.table import Plain
from clicksmith.errors import ArtifactError, CompositionError, SchemaError, UnknownNameError
from clicksmith.models.rules import IMPOSSIBLE
from clicksmith.models.spec import CTRModel, ModelSpec, shapes_of
from clicksmith.parts import from_plain, to_plain
from clicksmith.sequence import DIN
from clicksmith.testing.layouts import LAYOUTS, random_batch
from toys import ToyCrosses, ToyDeep, ToyDomainHead, ToyGated, ToyLinear, ToyPairs

EVERYTHING, IDS = LAYOUTS["everything"], LAYOUTS["ids"]


def deep(**options):
    return ModelSpec(embed=Embed(dim=4, **options), interact=ToyDeep())


def test_a_spec_survives_json_and_lists_every_field():
    spec = ModelSpec(
        embed=Embed(dim=4, table=ToyGated(inner=Plain(std=0.1)), pool=DIN(units=(8,), softmax=True)),
        transforms=(ToyPairs(), ToyCrosses(names=("a*b",))),
        interact=ToyDeep(width=3),
    )
    plain = json.loads(json.dumps(to_plain(spec)))
    assert from_plain(plain) == spec
    assert plain["kind"] == "model_spec" and plain["embed"]["pool"]["units"] == [8]
    assert hash(from_plain(plain)) == hash(spec)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (
            {"embed": {"kind": "embed", "dimm": 4}},
            SchemaError,
            "$.embed: no option of embed named 'dimm'. Did you mean 'dim'?",
        ),
        ({"interact": {"kind": "toy_dep"}}, UnknownNameError, "no part named 'toy_dep'. Did you mean 'toy_deep'?"),
        ({"interact": {"kind": "plain"}}, SchemaError, "$.interact: a plain does not fit here."),
        (
            {"embed": {"kind": "embed", "dim": "four"}},
            SchemaError,
            "$.embed.dim: Expected `int`, got `str`; got 'four'.",
        ),
    ],
)
def test_a_wrong_spec_says_where(edit, error, message):
    with pytest.raises(error) as caught:
        from_plain({**to_plain(deep()), **edit})
    assert str(caught.value) == message


def test_shapes_flow_from_socket_to_socket():
    spec = ModelSpec(embed=Embed(dim=4), transforms=(ToyPairs(),), interact=ToyDeep())
    shapes = shapes_of(spec, IDS)
    assert [len(shape.fields) for shape in shapes.fields] == [4, 5]
    assert shapes.hidden.width == 8 and shapes.hidden.logit
    assert CTRModel(spec, IDS).block.linear.in_features == 5 * 4


def test_parameters_are_counted_by_owner():
    counts = CTRModel(deep(), IDS).parameter_counts()
    rows = sum(slot.rows for slot in IDS.slots)
    assert counts.embedding == rows * (4 + 1)
    assert counts.dense == 4 * 4 * 8 + 8 + 8 + 1
    assert counts.total == counts.embedding + counts.dense


def test_a_head_that_reads_fields_makes_the_embedder_build_them():
    bare = ModelSpec(embed=Embed(dim=4), interact=ToyLinear())
    assert CTRModel(bare, EVERYTHING).shapes.fields[0].fields == ()
    routed = msgspec.structs.replace(bare, head=ToyDomainHead())
    model = CTRModel(routed, EVERYTHING)
    assert len(model.shapes.fields[0].fields) == len(EVERYTHING.order) + 4
    assert set(model(random_batch(EVERYTHING, 3).inputs).aux) == {"route"}


def test_the_digest_follows_spec_layout_and_field_order():
    moved = msgspec.structs.replace(IDS, order=tuple(reversed(IDS.order)))
    digests = {
        CTRModel(deep(), IDS).digest,
        CTRModel(deep(), moved).digest,
        CTRModel(deep(unseen_rate=0.1), IDS).digest,
        CTRModel(deep(), LAYOUTS["numbers"]).digest,
    }
    assert len(digests) == 4
    model = CTRModel(deep(), IDS)
    assert model.digest in digests
    model.check_digest(model.digest)
    with pytest.raises(ArtifactError) as error:
        model.check_digest("0" * 64)
    assert str(error.value) == (
        "the weights belong to another model or field order (digest 000000000000, this model has "
        f"{model.digest[:12]}); load them with the spec and encoder that they were saved with."
    )


LINEAR = ModelSpec(interact=ToyLinear())


@pytest.mark.parametrize(
    ("spec", "layout", "message"),
    [
        (
            msgspec.structs.replace(LINEAR, transforms=(ToyPairs(),)),
            IDS,
            "'toy_pairs' in front of 'toy_linear' writes field vectors that nothing after it reads; "
            "add a branch that reads them, such as an MLP beside it.",
        ),
        (
            msgspec.structs.replace(LINEAR, transforms=(ToyCrosses(names=("hour",)),)),
            IDS,
            "'toy_crosses' in front of 'toy_linear' writes flat extras that nothing after it reads; "
            "add a branch that reads them, such as an MLP beside it, or make them fields.",
        ),
        (
            msgspec.structs.replace(LINEAR, embed=Embed(pool=DIN())),
            EVERYTHING,
            "'din' in front of 'toy_linear' gives interests that nothing reads (views average their histories); "
            "add a branch that reads field vectors, such as an MLP beside it.",
        ),
        (
            msgspec.structs.replace(LINEAR, embed=Embed(table=ToyGated(inner=Plain()))),
            IDS,
            "'toy_gated' in front of 'toy_linear' holds vectors that nothing reads; "
            "set it as `view_table`, or add a branch that reads field vectors.",
        ),
        (
            ModelSpec(interact=ToyDeep(), head=ToyDomainHead()),
            IDS,
            "'toy_domain_head' reads the row's domain, which the data does not have; "
            "name the domain column in the schema, or choose a part that needs none.",
        ),
    ],
    ids=list(IMPOSSIBLE),
)
def test_what_cannot_be_combined_is_refused_by_name(spec, layout, message):
    with pytest.raises(CompositionError) as error:
        CTRModel(spec, layout)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("spec", "layout"),
    [
        (msgspec.structs.replace(LINEAR, transforms=(ToyPairs(),), head=ToyDomainHead()), EVERYTHING),
        (msgspec.structs.replace(LINEAR, embed=Embed(pool=DIN())), IDS),
        (msgspec.structs.replace(LINEAR, embed=Embed(view_table=ToyGated(inner=Plain()))), IDS),
        (ModelSpec(interact=ToyDeep(), transforms=(ToyCrosses(names=("hour",)), ToyPairs())), IDS),
    ],
)
def test_what_is_read_later_is_allowed(spec, layout):
    model = CTRModel(spec, layout)
    model(random_batch(layout, 4).inputs).logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
