import pytest

from clicksmith.errors import DataError, SchemaError
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Multimodal, Numeric, Schema, Side, SideTable, Time


def whole() -> Schema:
    return Schema(
        fields=(
            Categorical("user", role="user", min_count=2),
            Categorical("item", role="item", max_size=9),
            Categorical("last", share="item"),
            Categorical("ip", buckets=100),
            Numeric("price", scale="log_square", missing="zero"),
            Bag("tags", separator=";"),
            Multimodal("image", dim=4, by="item", file="images.parquet"),
        ),
        behaviours=(Behaviour("past", of="item", sides=(Side("gaps"),), newest="first"),),
        label=(Label("click"), Label("buy", positive="yes")),
        group="user",
        domain="ip",
        time=Time("when", unit="ms"),
        weight="w",
        tables=(SideTable("users", "users.parquet", "user"),),
        ignored=("row",),
    )


def test_a_saved_schema_is_the_same(tmp_path):
    whole().save(tmp_path / "schema.json")
    loaded = Schema.load(tmp_path / "schema.json")
    assert loaded == whole()
    assert loaded.digest == whole().digest


def test_the_digest_tells_schemas_apart():
    assert whole().digest != Schema(fields=(Categorical("user"),), label=Label("click")).digest


def test_toml_is_read(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_text('label = {kind = "label", name = "click"}\nfields = [{kind = "categorical", name = "ad"}]\n')
    assert Schema.load(path) == Schema(fields=(Categorical("ad"),), label=Label("click"))


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "bell\x07\x7f", "größe", "#=[a]", "日本"])
def test_a_schema_saved_as_toml_is_the_same(tmp_path, name):
    odd = Schema(fields=(Categorical(name), Bag("tags", separator="\t")), label=Label("click", positive=name))
    for schema in (whole(), odd):
        schema.save(tmp_path / "schema.toml")
        assert Schema.load(tmp_path / "schema.toml") == schema
        schema.save(tmp_path / "schema.json")
        assert Schema.load(tmp_path / "schema.json") == schema


def test_errors_in_files_name_the_place(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_text(
        'label = {kind = "label", name = "click"}\nfields = [{kind = "categorical", name = "ad", min_count = "2"}]\n'
    )
    with pytest.raises(SchemaError, match=r"`\$.fields\[0\].min_count`"):
        Schema.load(path)
    path.write_text(
        'label = {kind = "label", name = "click"}\nfields = [{kind = "categorical", name = "ad", min_cuont = 2}]\n'
    )
    with pytest.raises(SchemaError, match="min_cuont"):
        Schema.load(path)
    with pytest.raises(DataError, match=r"cannot read the schema '.*none.json': No such file"):
        Schema.load(tmp_path / "none.json")


def refused(text: str, **parts) -> None:
    fields = parts.pop("fields", (Categorical("ad"), Categorical("user")))
    with pytest.raises(SchemaError) as error:
        Schema(fields=fields, label=parts.pop("label", Label("click")), **parts)
    assert str(error.value) == text


def test_contradictions_are_refused_in_words():
    refused("the schema has no field; declare at least one Categorical or Numeric column.", fields=())
    refused("column 'ad' is declared 2 times; declare it once.", fields=(Categorical("ad"), Numeric("ad")))
    refused("column 'ad' is declared 2 times; declare it once.", label=Label("ad"))
    refused("a column has an empty name; give every column of the schema a name.", fields=(Categorical(""),))
    refused(
        "Behaviour('past', of='add'): no categorical field named 'add'. Did you mean 'ad'?",
        behaviours=(Behaviour("past", of="add"),),
    )
    refused(
        "Behaviour('past'): max_length is 0; it must be at least 1.",
        behaviours=(Behaviour("past", of="ad", max_length=0),),
    )
    refused("'ad': min_count is 0; it must be at least 1.", fields=(Categorical("ad", min_count=0),))
    refused("'ad': buckets is 1; it must be at least 2.", fields=(Categorical("ad", buckets=1),))
    refused(
        "'old' shares the vocabulary of 'item': no categorical field named 'item'. Known: ad, old.",
        fields=(Categorical("ad"), Categorical("old", share="item")),
    )
    refused(
        "'ad' shares the vocabulary of 'ad', which shares another; name the owner.",
        fields=(Categorical("ad", share="ad"),),
    )


def test_values_of_another_kind_are_refused_on_construction_too():
    scales = "standard, log, raw, quantile, log_square"
    refused(f"'p': scale is 'lgo'; it must be one of {scales}.", fields=(Numeric("p", scale="lgo"),))
    refused(
        "'p': missing is 'drop'; it must be one of embed, mean, zero, refuse.", fields=(Numeric("p", missing="drop"),)
    )
    refused("'ad': min_count is '2'; expected `int`, got `str`.", fields=(Categorical("ad", min_count="2"),))
    refused(
        "'past': newest is 'left'; it must be one of last, first.",
        behaviours=(Behaviour("past", of="ad", newest="left"),),
    )
    refused("'click': task is 'ctr'; it must be one of binary, rating, time.", label=Label("click", task="ctr"))
    refused("'at': unit is 'us'; it must be one of s, ms, text.", time=Time("at", unit="us"))


def test_options_that_would_do_nothing_or_harm_are_refused():
    refused(
        "'tags': separator is empty; give the text between two values, as in '|'.", fields=(Bag("tags", separator=""),)
    )
    refused(
        "'past': separator is empty; give the text between two values, as in '|'.",
        behaviours=(Behaviour("past", of="ad", separator=""),),
    )
    for option in ("min_count", "max_size"):
        refused(
            f"'ad': {option} cuts a vocabulary, and buckets have none; leave one out.",
            fields=(Categorical("ad", buckets=8, **{option: 2}),),
        )
    refused(
        "'v': dim is 3 and 2 columns are named; give one each.",
        fields=(Multimodal("v", dim=3, columns=("v0", "v1")),),
    )


def test_a_column_is_found_by_name_or_suggested():
    assert whole().column("past").name == "past"
    with pytest.raises(SchemaError, match=r"no column named 'prise'. Did you mean 'price'"):
        whole().column("prise")


@pytest.mark.parametrize(
    ("field", "near"),
    [
        ('{"kind": "categoricl", "name": "a"}', "categorical"),
        ('{"kind": "categorical", "name": "a", "min_cout": 2}', "min_count"),
        ('{"kind": "numeric", "name": "a", "scale": "standrd"}', "standard"),
    ],
)
def test_a_misspelt_schema_file_names_place_nearest_name_and_remedy(tmp_path, field, near):
    path = tmp_path / "schema.json"
    path.write_text(f'{{"fields": [{field}], "label": {{"kind": "label", "name": "c"}}}}')
    with pytest.raises(SchemaError) as error:
        Schema.load(path)
    assert "`$.fields[0]" in str(error.value)
    assert f"Did you mean '{near}'? Correct the schema at that place" in str(error.value)


def test_a_schema_is_not_written_under_a_name_that_says_something_else(tmp_path):
    with pytest.raises(SchemaError, match=r"schema.yaml' is named neither; let it end in .json or .toml"):
        whole().save(tmp_path / "schema.yaml")
    assert not (tmp_path / "schema.yaml").exists()


def test_a_schema_that_is_not_utf8_is_told(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_bytes("# pr\xe9f\n".encode("latin-1"))
    with pytest.raises(SchemaError, match="byte 4 is not UTF-8 text"):
        Schema.load(path)


def test_what_is_read_from_a_file_of_its_own_has_no_colon_in_its_name():
    fields, label = (Categorical("a"), Multimodal("img:1", dim=2, file="img.parquet", by="a")), Label("click")
    with pytest.raises(SchemaError, match="the name 'img:1' of a vector with a file has a colon"):
        Schema(fields=fields, label=label)
    with pytest.raises(SchemaError, match="the name 'x:y' of a side table has a colon"):
        Schema(fields=fields[:1], label=label, tables=(SideTable("x:y", "t.csv", "a"),))
