"""`fit --plan`: what is dropped takes no memory, raw rows are scored the same, what does not fit is refused first."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from clicks import clicks
from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import ArtifactError, UsageError
from clicksmith.fitting.asked import AskedSchema
from clicksmith.fitting.encoded import encoded
from clicksmith.fitting.job import fit
from clicksmith.fitting.split import parts_of
from clicksmith.fitting.told import Quiet
from clicksmith.plan import Block, Columns, FoundBy, IdMap, IdMaps, KeptFeatures, KeptFields, Plan, Ranks
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.merge import merge
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.schema.columns import Behaviour, Numeric
from clicksmith.serve.artifact import load as load_artifact
from clicksmith.serve.predictor import load
from clicksmith.serve.size import size_of

SCHEMA = Schema(
    fields=(Categorical("user"), Categorical("ad"), Categorical("device"), Numeric("price")),
    label=Label("click"),
    behaviours=(Behaviour("seen_ads", of="ad", separator="|"),),
)
BY = FoundBy(method="test", backbone="fm")
ROWS = clicks(600)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """What `fit` gives the training part."""
    return Encoder.fit(SCHEMA, parts_of(ROWS, None, None, schema=SCHEMA, how="auto", seed=0).train)


@pytest.fixture(scope="module")
def plan(encoder) -> Plan:
    """No device, half of the users, ads in groups, two columns for most users."""
    at = numbering(encoder)
    users, ads = encoder.layout.rows["user"], encoder.layout.rows["ad"]
    mask = np.arange(users) < 2 + (users - 2) // 2
    groups = np.concatenate([[0, 1], 2 + np.arange(ads - 2) % 5]).astype(np.int32)
    return Plan(
        parts=(
            KeptFields(drop={"device": "says nothing"}, found_by=BY),
            IdMaps(slots={"ad": IdMap(rows=7, ids=Array(groups))}, numbering={"ad": at["ad"]}, found_by=BY),
            KeptFeatures(slots={"user": Array(mask)}, numbering={"user": at["user"]}, found_by=BY),
            Columns(dim=8, slots={"user": (Block(4, users, (0, 1)),)}, numbering={"user": at["user"]}, found_by=BY),
        )
    )


QUICK = {"schema": SCHEMA, "model": "deepfm", "options": {"dim": 8, "units": (8,)}, "epochs": 1}


def test_the_model_is_small_and_scores_raw_rows(plan, encoder, tmp_path):
    plan.save(tmp_path / "plan.json")
    run = fit(ROWS, plan=tmp_path / "plan.json", out=tmp_path / "run", **QUICK)
    whole = fit(ROWS, out=tmp_path / "whole", **QUICK)
    artifact = load_artifact(run.path)
    assert artifact.plan == plan and run.record.plan == plan.digest
    assert Plan.load(run.path) == Plan.load(run.path / "model") == plan
    with pytest.raises(ArtifactError, match=r"the folder '.*whole' holds no Plan: name the JSON file of one, or a run"):
        Plan.load(whole.path)
    layout, users = artifact.encoder.layout, encoder.layout.rows["user"]
    assert layout.rows == {"user": 2 + (users - 2) // 2, "ad": 7}
    kept = 2 + (users - 2) // 2
    table = sum(p.numel() for name, p in artifact.model.named_parameters() if "embedder.columns.table" in name)
    # whole vectors: unseen and two frequent users, six rows of ads; two columns: the other users; paddings
    assert table == 8 * (3 + 6) + 2 * (kept - 4) + 8 * 2 + 2
    weights = (tmp_path / "run/model/weights.safetensors").stat().st_size
    assert weights < (tmp_path / "whole/model/weights.safetensors").stat().st_size
    small, large = size_of(run.path), size_of(whole.path)
    assert small.numbers == sum(t.numel() for t in artifact.model.state_dict().values()) < large.numbers
    assert small.memory == sum(t.numel() * t.element_size() for t in artifact.model.state_dict().values())
    assert small.memory <= weights and small.disk == sum(f.stat().st_size for f in (run.path / "model").rglob("*.*"))
    page = run.folder.report.read_text()
    assert "Share of features kept" in page and f"{small.memory:,} bytes in memory" in page
    assert "Share of features kept" not in whole.folder.report.read_text()
    rows = ROWS.head(30).drop("device", "click")
    scores = load(run.path).predict(rows)
    assert np.isfinite(scores).all() and len(scores) == 30
    assert run.metrics["test"]["rows"] == whole.metrics["test"]["rows"]
    again = fit(ROWS, plan=plan, out=tmp_path / "again", **QUICK)
    np.testing.assert_array_equal(load(again.path).predict(rows), scores)


def test_what_holds_on_other_rows_since_it_is_hashed_is_told(tmp_path):
    schema = Schema(fields=(Categorical("user", buckets=16), Categorical("ad")), label=Label("click"))
    parts = parts_of(ROWS, None, None, schema=schema, how="auto", seed=0)
    at = numbering(Encoder.fit(schema, parts.train))
    half = Array(np.arange(18) < 10)

    def notes(rows: dict[str, str]) -> tuple[str, ...]:
        by = FoundBy(method="test", data=rows)
        plan = Plan(parts=(KeptFeatures(slots={"user": half}, numbering={"user": at["user"]}, found_by=by),))
        return encoded(AskedSchema(schema), parts, plan, tmp_path, Quiet(), rows=parts.train.fingerprint())[0].notes

    assert notes({}) == notes(parts.fingerprints()) == ()
    (told,) = notes({"train": "of other rows"})
    assert "(found by test) was found on other rows, and holds here: the numbers of user are hashes" in told


def test_ranks_join_the_other_parts_and_hold_on_other_rows(plan, tmp_path):
    """A vocabulary that is mapped to fewer rows has these rows in factors; the others are as without ranks."""
    low = Ranks(slots={"ad": 3}, found_by=BY)
    both = merge(plan, Plan(parts=(low,)))
    run, without = (fit(ROWS, plan=p, out=tmp_path / n, **QUICK) for p, n in ((both, "low"), (plan, "without")))
    sizes = [
        sum(p.numel() for name, p in load_artifact(r.path).model.named_parameters() if "embedder.columns.table" in name)
        for r in (run, without)
    ]
    # rows of ads are seven, padding among them; a matrix makes eight columns of three numbers
    assert sizes[0] - sizes[1] == 7 * 3 + 3 * 8 - 7 * 8
    rows = ROWS.head(30).drop("device", "click")
    scores = load(run.path).predict(rows)
    assert np.isfinite(scores).all() and np.ptp(scores) > 0
    assert "Ranks" in run.folder.report.read_text()
    other = clicks(500, seed=5)
    fit(other, plan=Plan(parts=(low,)), out=tmp_path / "other", **QUICK)  # the features of `plan` would be refused


def test_a_rank_and_sums_of_two_rows_are_refused(encoder, tmp_path):
    ads = encoder.layout.rows["ad"]
    ids = Array(np.concatenate([[0, 1], 2 + np.arange(ads - 2) % 5]).astype(np.int32))
    double = IdMaps(
        slots={"ad": IdMap(rows=7, ids=ids, second=ids)}, numbering={"ad": numbering(encoder)["ad"]}, found_by=BY
    )
    plan = Plan(parts=(double, Ranks(slots={"ad": 3}, found_by=BY)))
    with pytest.raises(UsageError, match="gives 'ad' a rank, and its vectors are sums of two; leave one out"):
        fit(ROWS, plan=plan, out=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("model", ["lr", "ffm"])
def test_a_backbone_without_vectors_has_no_ranks_either(model, tmp_path):
    low = Plan(parts=(Ranks(slots={"ad": 3}, found_by=BY),))
    run, whole = (
        fit(ROWS, plan=p, out=tmp_path / n, schema=SCHEMA, model=model, epochs=1) for p, n in ((low, "a"), ((), "b"))
    )
    rows = ROWS.drop("click")
    np.testing.assert_array_equal(load(run.path).predict(rows), load(whole.path).predict(rows))


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ({"ads": 3}, "no vocabulary named 'ads'. Did you mean 'ad'"),
        (
            {"ad": 8},
            "'ranks'.*gives 'ad' rank 8, and the model's vectors have 8 columns: leave 'ad' out, or give --model.dim",
        ),
        ({"user": 2}, "the first gives the vocabulary 'user' its columns, the second its rank"),
    ],
)
def test_ranks_that_cannot_be_are_refused_before_training(slots, words, plan, tmp_path):
    low = Ranks(slots=slots, found_by=BY)
    with pytest.raises(UsageError, match=words):
        fit(ROWS, plan=Plan(parts=(*plan.parts, low)), out=tmp_path / "run", **QUICK)
    with pytest.raises(UsageError, match="'ad' has rank 0; give 1 or more"):
        Plan(parts=(Ranks(slots={"ad": 0}, found_by=BY),))


def test_the_model_loads_in_a_process_that_knows_no_plan(plan, tmp_path):
    run = fit(ROWS, plan=plan, out=tmp_path / "run", **QUICK)
    code = "import sys; from clicksmith.serve.artifact import load; print(type(load(sys.argv[1]).spec.embed.table))"
    told = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)
    assert "Mixed" in told.stdout, told.stderr


def test_the_empty_plan_gives_the_same_bits_as_none(tmp_path):
    rows = ROWS.drop("click")
    found = [
        load(fit(ROWS, plan=plan, out=tmp_path / str(i), **QUICK).path).predict(rows)
        for i, plan in enumerate(((), Plan()))
    ]
    np.testing.assert_array_equal(*found)


def test_a_plan_that_keeps_everything_gives_the_same_bits(encoder, tmp_path):
    at = numbering(encoder)
    masks = {slot: Array(np.ones(rows, bool)) for slot, rows in encoder.layout.rows.items()}
    everything = Plan(parts=(KeptFeatures(slots=masks, numbering=at, found_by=BY),))
    rows = ROWS.drop("click")
    one, two = (
        load(fit(ROWS, plan=p, out=tmp_path / n, **QUICK).path).predict(rows) for p, n in (((), "a"), (everything, "b"))
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("model", ["lr", "ffm"])
def test_a_backbone_without_vectors_has_no_columns_to_cut(plan, model, tmp_path):
    asked = {**QUICK, "model": model, "options": {}}
    first, last = (
        load_artifact(fit(ROWS, plan=Plan(parts=parts), out=tmp_path / name, **asked).path)
        for name, parts in (("whole", plan.parts), ("without", plan.parts[:-1]))
    )
    assert isinstance(plan.parts[-1], Columns) and first.spec == last.spec
    assert first.model.parameter_counts() == last.model.parameter_counts()


def test_a_plan_of_other_rows_is_refused_before_training(plan, tmp_path):
    with pytest.raises(UsageError, match="another numbering of 'ad'"):
        fit(ROWS.head(200), plan=plan, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run" / "training").exists()
    with pytest.raises(UsageError, match="8 columns, the model has 4; give --model"):
        fit(ROWS, plan=plan, out=tmp_path / "other", **{**QUICK, "options": {"dim": 4}})


def test_the_command_line_fits_shows_and_merges(plan, tmp_path, capsys):
    ROWS.write_csv(tmp_path / "rows.csv")
    SCHEMA.save(tmp_path / "schema.json")
    one, two = Plan(parts=plan.parts[:2]), Plan(parts=plan.parts[2:])
    one.save(tmp_path / "one.json"), two.save(tmp_path / "two.json")
    files = [str(tmp_path / name) for name in ("one.json", "two.json")]
    asked = ["fit", str(tmp_path / "rows.csv"), "--schema", str(tmp_path / "schema.json"), "--model", "fm", "--quiet"]
    asked += ["--model.dim", "8", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main([*asked, "--plan", files[0], "--plan", files[1]]) == 0
    assert json.loads((tmp_path / "run" / "model" / "plan.json").read_text())["version"] == 1
    capsys.readouterr()
    assert main(["plan", "merge", *files, "--out", str(tmp_path / "both.json")]) == 0
    assert Plan.load(tmp_path / "both.json").digest == plan.digest
    capsys.readouterr()
    assert main(["plan", "show", str(tmp_path / "both.json"), "--html", str(tmp_path / "plan.html")]) == 0
    told = capsys.readouterr().out
    assert "field device dropped: says nothing" in told and "share 5 rows" in told and "(columns: found by test" in told
    page = (tmp_path / "plan.html").read_text()
    assert "Rows per id" in page and "Columns by block of ids" in page
    new = pl.read_csv(tmp_path / "rows.csv").drop("device", "click").head(5)
    new.write_csv(tmp_path / "new.csv")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv"), "--out", str(tmp_path / "s.csv")]) == 0
    assert pl.read_csv(tmp_path / "s.csv").height == 5
