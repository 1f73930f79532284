"""The controls of a search of features."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from clicks import clicks
from clicksmith.cli.main import main
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import UsageError
from clicksmith.fitting.job import fit
from clicksmith.plan import FoundBy, KeptFeatures, Plan
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search import optfs
from clicksmith.search.dnis import method as dnis
from clicksmith.search.dnis.method import DNIS
from clicksmith.search.job import search, start_of
from clicksmith.search.optfs import OptFS

SCHEMA = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
ROWS, VALID = clicks(400), clicks(100, seed=1)
ASKED = {"valid": VALID, "schema": SCHEMA, "backbone": "fm", "model_options": {"dim": 4}}


def kept_of(plan: Plan) -> dict[str, np.ndarray]:
    (part,) = plan.parts
    assert isinstance(part, KeptFeatures)
    return {slot: mask.values[2:] for slot, mask in part.slots.items()}


def test_the_most_frequent_features_are_kept(tmp_path):
    plan = search("frequent", ROWS, options={"share": 0.3}, out=tmp_path / "plan.json", **ASKED)
    encoder = Encoder.fit(SCHEMA, ROWS)
    counts = {slot: Counter(ROWS[slot].cast(str).to_list()) for slot in ("user", "ad")}
    inside, outside = [], []
    for slot, kept in kept_of(plan).items():
        for value, stays in zip(encoder.values(slot), kept, strict=True):
            (inside if stays else outside).append(counts[slot][str(value)])
    assert len(inside) == round(0.3 * (len(inside) + len(outside)))
    assert min(inside) >= max(outside)


def test_chance_keeps_as_many_by_the_seed(tmp_path):
    plans = [
        search("random", ROWS, options={"share": 0.3}, seed=s, out=tmp_path / f"{i}.json", **ASKED)
        for i, s in enumerate((0, 0, 1))
    ]
    masks = [np.concatenate(list(kept_of(plan).values())) for plan in plans]
    assert {int(mask.sum()) for mask in masks} == {round(0.3 * len(masks[0]))}
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
    with pytest.raises(UsageError, match=r"share is 0\.0; it must be above 0"):
        search("random", ROWS, options={"share": 0}, out=tmp_path / "none.json", **ASKED)


def test_a_warm_start_chooses_nothing_and_gives_weights(tmp_path):
    out = tmp_path / "warm.json"
    assert search("warm", ROWS, out=out, **ASKED).parts == ()
    run = fit(ROWS, valid=VALID, schema=SCHEMA, model="fm", options={"dim": 4}, start=start_of(out), epochs=1,
              out=tmp_path / "run")  # fmt: skip
    assert run.record.start and not run.record.plan


def values_of(plan: Plan) -> int:
    """Return how many features or, of columns, values a Plan keeps."""
    if not plan.parts or isinstance(plan.parts[0], KeptFeatures):
        return sum(int(mask.sum()) for mask in kept_of(plan).values()) if plan.parts else 0
    return sum(len(b.columns) * (b.last - b.first) for blocks in plan.parts[0].slots.values() for b in blocks)


@pytest.mark.parametrize(
    ("method", "options", "wanted", "told"),
    [
        ("optfs", "--search.epochs 4 --search.penalty 1e-3 --search.gate-rate .02 --search.rewind 2",
         ["frequent", "random", "warm"], ["--search.epochs=2"]),
        ("optembed", "--search.generations 1 --search.max-ratio .5 --search.start supernet",
         ["frequent", "warm"], ["--search.epochs=1", "--model.dim=2"]),
        ("dnis", "--search.epochs 2 --search.blocks .3,.7 --search.share .4",
         ["columns_size", "columns_random", "warm"], ["--search.epochs=3", "--model.dim=2"]),  # one plain and two
        ("optinter", "--search.candidates 1 --search.epochs 3 --search.alpha-rate 1 --search.dim 3",
         ["optinter"], ["--search.mode=random", "--search.dim=3"]),
        ("graphhash", "--search.left user --search.rows 12 --search.edges all", ["graphhash", "graphhash", "graphhash"],
         ["--search.kind=random", "--search.kind=frequency", "--search.kind=rate"]),
    ],
)  # fmt: skip
def test_a_search_ends_with_the_commands_of_controls_of_its_size(
    method, options, wanted, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name, rows in (("t.csv", ROWS), ("v.csv", VALID)):
        rows.select("user", "ad", "click").write_csv(name)
    asked = "t.csv --valid v.csv --label click --backbone fm --model.dim 4 --epochs 1 --train.batch-size 50 --quiet"
    asked = asked.replace("--epochs 1", "--train.epochs 1") if method == "optfs" else asked  # it has epochs of its own
    assert main(f"search {method} {asked} {options} --out found.json".split()) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("control: clicksmith ")]
    assert all(any(one in line for line in lines) for one in told)
    searches = [line.split()[2:] for line in lines if line.split()[2] == "search"]
    assert [line[1] for line in searches] == wanted
    for line in lines:
        words = line.split()[2:]
        assert main([*words, "--quiet", *(["--out", "shorter"] if words[0] == "fit" else [])]) == 0
    found, *others = (Plan.load(name) for name in ("found.json", *(words[-1] for words in searches)))
    if method == "graphhash":
        rows = [{slot: one.rows for slot, one in plan.parts[0].slots.items()} for plan in (found, *others)]
        assert all(one == rows[0] for one in rows)
    elif method == "optinter":
        ops = [sorted(pair.op for pair in plan.parts[0].pairs) for plan in (found, *others)]
        assert ops[0] and all(one == ops[0] for one in ops)
    elif method == "optembed":
        assert values_of(others[-1]) == 0 < values_of(others[0]) < 65
    else:
        sizes = [values_of(plan) for plan in (found, *others)]
        assert sizes.pop() == 0  # the warm start chooses nothing
        if method == "optfs":
            assert len(set(sizes)) == 1 and 0 < sizes[0] < 65
        else:
            assert all(0.5 * 65 * 4 <= size <= 0.6 * 65 * 4 for size in sizes)


def test_controls_treat_what_is_dropped_as_the_search_does_and_train_as_long():
    made = {"kept": 0.4, "epochs": 14}
    by = FoundBy(method="optfs", scores=made)
    found = Plan(parts=(KeptFeatures(slots={}, numbering={}, found_by=by),))
    assert optfs.controls(OptFS(), found)["random"] == ("random", {"share": 0.4})
    forgotten = optfs.controls(OptFS(dropped_to="unseen"), found)
    assert forgotten["frequent"] == ("frequent", {"share": 0.4, "dropped_to": "unseen"})
    shorter = optfs.controls(OptFS(drop_from_history=True), found)
    assert shorter["random"][1] == {"share": 0.4, "drop_from_history": True}
    for share in (0.0, 1.0):
        none = msgspec.structs.replace(by, scores={"kept": share})
        assert optfs.controls(OptFS(), Plan(parts=(KeptFeatures(slots={}, numbering={}, found_by=none),))) == {}
    cut = dnis.controls(DNIS(warm_epochs=12), found)
    assert cut["columns_size"][1] == cut["columns_random"][1] == {"warm_epochs": 12}


def test_a_control_forgets_or_shortens_histories_when_it_is_told_to(tmp_path):
    for options in ({"dropped_to": "unseen"}, {"drop_from_history": True}):
        plan = search("frequent", ROWS, options=options, out=tmp_path / f"{next(iter(options))}.json", **ASKED)
        (part,) = plan.parts
        assert {name: getattr(part, name) for name in options} == options
    with pytest.raises(UsageError, match="drop_from_history goes with dropped_to='zero'"):
        search("random", ROWS, options=options | {"dropped_to": "unseen"}, out=tmp_path / "no.json", **ASKED)


def test_a_cut_by_size_trains_for_the_epochs_it_is_told(tmp_path):
    settings = {"epochs": 1, "batch_size": 100}
    for epochs in (1, 3):
        out = tmp_path / f"{epochs}.json"
        search("columns_size", ROWS, options={"warm_epochs": epochs}, settings=settings, out=out, **ASKED)
        log = (tmp_path / f"{epochs}.json.search" / "warm" / "log.jsonl").read_text()
        assert log.count('"kind":"evaluation"') + log.count('"kind": "evaluation"') == epochs
