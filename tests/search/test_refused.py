"""What the searches refuse, from the command line: one line that says what, where and what to do, and status 2."""

import json
from pathlib import Path

import pytest

from clicksmith.cli.main import main
from clicksmith.schema import Categorical, Label, Schema
from search.features_world import NAMES, planted

BASE = "TRAIN --valid VALID --label click --backbone fm --model.dim 4 --train.epochs 1 --train.batch-size 256 --quiet"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for name, rows in (("train", planted(2000, 1)), ("valid", planted(500, 2)), ("none", planted(500).head(0)),
                       ("other", planted(2000, 5, values=90))):  # fmt: skip
        rows.write_csv(folder / f"{name}.csv")
    planted(500, 2).with_columns(click=0).write_csv(folder / "one.csv")
    return folder


@pytest.fixture
def run(files, tmp_path, monkeypatch, capsys):
    """Return a function that runs a command with `TRAIN` and `VALID` in it, and gives status and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(words: str) -> tuple[int, str]:
        words = words.replace("TRAIN", str(files / "train.csv")).replace("VALID", str(files / "valid.csv"))
        status = main(words.split())
        return status, capsys.readouterr().err

    return command


def test_gates_that_cannot_reach_zero_are_told_apart_from_a_small_penalty(run):
    base = BASE.replace(" --quiet", "")
    status, told = run(f"search optfs {base} --out p.json --search.epochs 1 --search.penalty 10")
    assert status == 0 and told.index("note: no gate can close: 8 steps of") < told.index("train: ")
    assert "of 600 features are kept (after each epoch: 100.0%)\n" in told and "give --search.gate-rate" in told
    assert "control:" not in told  # as many features would be all
    status, told = run(f"search optfs {base} --out r.json --search.epochs 1 --search.penalty 10 --search.gate-rate .02")
    assert status == 0 and "a gate falls by about its rate in a step, 8 steps of 0.02" in told
    assert "try --search.gate-rate" in told and "no gate can close" not in told
    status, told = run(f"search optfs {base} --out q.json --search.epochs 1 --search.penalty 0 --search.gate-rate .1")
    assert status == 0 and "the penalty 0 is too small for this optimiser; try --search.penalty" in told


def test_plans_to_search_under_may_be_given_one_by_one(run):
    for name, share in (("a", 0.9), ("b", 0.5)):
        assert run(f"search frequent {BASE} --out {name}.json --search.share {share}")[0] == 0
    plans = ("a.json b.json", "a.json --plan b.json")
    together, apart = (run(f"search warm {BASE} --plan {words} --out w.json") for words in plans)
    assert together == apart and "--plan a.json b.json w.json" in together[1]


def test_a_model_without_vectors_can_memorise_pairs_and_nothing_else(run):
    base = BASE.replace("fm --model.dim 4", "lr")
    for mode in ("", "--search.mode random --search.drawn 1,1"):
        status, told = run(f"search optinter {base} --out p.json {mode}")
        assert status == 2 and "reads no field vectors" in told and "--search.mode counts" in told
    status, told = run(f"search optinter {base} --out p.json --search.mode random --seed 1")
    assert status == 0
    pairs = json.loads(Path("p.json").read_text())["parts"][0]["pairs"]
    assert {pair["op"] for pair in pairs} == {"memorise"}
    (line,) = [line for line in told.splitlines() if line.startswith("next:")]
    assert run(line.removeprefix("next:  clicksmith ") + " --epochs 1 --quiet --out run")[0] == 0
    Path("new.csv").write_text("f0,f1,f2,f3,f4,f5\n" + "v000,v001,v002,v003,v004,new\nnew,new,new,,new,new\n")
    status, told = run("predict run new.csv --out scores.csv")  # pairs of ids are new where ids are not
    assert status == 0 and len(Path("scores.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("optfs", "penalty -1", "--search.penalty -1: penalty is -1.0; it must be at least 0, and finite."),
        ("optfs", "temperature .5", "--search.temperature .5: temperature is 0.5; it must be at least 1, and finite."),
        ("optfs", "epochs 0", "--search.epochs 0: epochs is 0; it must be at least 1, and finite."),
        ("optfs", "rewind 5", "--search.rewind 5: rewind is 5; it must be from 0 to 4, the last epoch."),
        ("optfs", "rewind -1", "--search.rewind -1: rewind is -1; it must be from 0 to 4, the last epoch."),
        ("optfs", "start 0", "--search.start 0: start is 0.0; it must be above 0 (a gate at 0 is dropped already"),
        ("optfs", "gate_rate 1e39", "--search.gate-rate 1e39: gate_rate is 1e+39; it must be above 0, and at most"),
        ("optfs", "penalty 1e300", "--search.penalty 1e300: penalty is 1e+300; give at most 1e+09."),
        ("optfs", "epochs 3 --train.learning-rate .1 --search.penalty 10", "no feature is kept at penalty 10; use a s"),
        ("optembed", "alpha -1", "--search.alpha -1: alpha is -1.0; it must be at least 0, and finite."),
        ("optembed", "threshold-rate -1", "--search.threshold-rate -1: threshold_rate is -1.0; it must be at least 0"),
        ("optembed", "mutate 0", "--search.mutate 0: mutate is 0.0; it must be above 0 and at most 1."),
        ("optembed", "mutate 1.5", "--search.mutate 1.5: mutate is 1.5; it must be above 0 and at most 1."),
        ("optembed", "generations 0", "--search.generations 0: generations is 0; it must be at least 1, and finite."),
        ("optembed", "parents 0", "--search.parents 0: parents is 0; it must be at least 1, and finite."),
        ("optembed", "mutations -1", "--search.mutations -1: mutations is -1; it must be at least 0, and finite."),
        ("optembed", "max-parameters 0", "--search.max-parameters 0: max_parameters is 0; it must be at least 1, and"),
        ("optembed", "max-ratio 2", "--search.max-ratio 2: max_ratio is 2.0; it must be above 0 and at most 1."),
        ("optembed", "widths 0,2", "--search.widths 0,2: widths are (0, 2); they must rise, from 1 to at most the emb"),
        ("optembed", "widths 2,9", "--search.widths 2,9: widths are (2, 9); they must rise, from 1 to at most the emb"),
        ("optembed", "mode field --model.dim 1", "the embedding's dim is 1; OptEmbed chooses widths from 1 to dim, so"),
        ("optembed", "max-parameters 9", "--search.max-parameters 9: max_parameters is 9, and the smallest candidate "),
        ("optembed", "max-ratio .01", "--search.max-ratio .01: max_ratio is 0.01, 30 parameters, and the smallest can"),
        ("optembed", "max-ratio .01 --backbone lr", "--search.max-ratio .01: max_ratio is 0.01, 6 parameters, and the"),
        ("optembed", "alpha 1e8 --search.threshold-rate 1", "OptEmbed would prune every one of 600 ids (thresholds 1e"),
        ("optembed", "alpha 1e300", "--search.alpha 1e300: alpha is 1e+300; give at most 1e+09."),
        ("optembed", "threshold-rate 1e38", "a threshold of OptEmbed is not finite after 8 steps; lower the rate of t"),
        ("dnis", "blocks .5,.2", "--search.blocks .5,.2: the shares of the blocks (0.5, 0.2) sum to 0.7, not to 1 ("),
        ("dnis", "blocks .5,.8", "--search.blocks .5,.8: the shares of the blocks (0.5, 0.8) sum to 1.3, not to 1 ("),
        ("dnis", "blocks 9,999", "--search.blocks 9,999: blocks are (9, 999), which hold 1,008 features, and of all f"),
        ("dnis", "blocks 9,80 --search.group field", "--search.blocks 9,80: blocks are (9, 80), which hold 89 features"
         ", and of 'f0' there are 100; give shares, or rest=true for a last block of the rest."),
        ("dnis", "share 1", "--search.share 1: share is 1.0; it must be at least 0 and below 1."),
        ("dnis", "share -.1", "--search.share -.1: share is -0.1; it must be at least 0 and below 1."),
        ("dnis", "share .999", "--search.share .999: share=0.999 leaves room for 2 of 2,400 values, and a column "),
        ("dnis", "rate 1e300", "--search.rate 1e300: rate is 1e+300; give at most 1."),
        ("dnis", "l1 1e300", "--search.l1 1e300: l1 is 1e+300; give at most 1e+09."),
        ("dnis", "l1 1e9", "--search.l1 1e9: l1 is 1e+09, rate 0.01, and every alpha ended at 0; give smaller"),
        ("dnis", "knob-share 1", "--search.knob-share 1: knob_share is 1.0; it must be above 0 and below 1."),
        ("dnis", "warm-epochs 0", "--search.warm-epochs 0: warm_epochs is 0; it must be at least 1, and finite."),
        ("dnis", "epochs 1 --backbone lr", "dnis gives vectors their columns, and this backbone reads none from a ta"),
        ("dnis", "epochs 1 --train.learning-rate 1e30", "the loss is nan at step 2 (learning rate 1e+30, last finite "),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_told_with_its_value_and_bound(run, method, options, message):
    base = BASE.replace("--model.dim 4 ", "") if "dim" in options or "--backbone" in options else BASE
    base = base.replace("--backbone fm ", "") if "--backbone" in options else base
    status, error = run(f"search {method} {base} --out plan.json --search.{options}")
    lines = [line for line in error.splitlines() if not line.startswith("note: ")]  # what deserved a look before
    assert lines[-1].startswith(f"error: {message}")
    assert len(lines) == 1
    assert status == 2
    assert not Path("plan.json").exists()


@pytest.mark.parametrize("method", ["optfs", "optembed", "dnis"])
def test_validation_rows_that_select_nothing_are_told_before_anything_is_trained(run, files, method):
    for valid, message in (("none", "has a header but no rows."), ("one", "all 500 validation labels are 0, so monit")):
        status, error = run(f"search {method} {BASE.replace('VALID', str(files / f'{valid}.csv'))} --out {valid}.json")
        assert message in error and status == 2
        assert not list(Path().rglob("checkpoint"))


def test_a_plan_is_of_the_rows_it_was_found_on_and_of_no_others(run, files):
    """But for DNIS, whose blocks are ranks."""
    searches = {"optfs": "--search.epochs 2 --search.penalty 1e-3 --train.learning-rate .02",
                "optembed": "--search.max-ratio .5 --search.generations 1", "dnis": "--search.epochs 1"}  # fmt: skip
    for method, options in searches.items():
        assert run(f"search {method} {BASE} {options} --out {method}.json")[0] == 0
    fit = f"fit {files / 'other.csv'} --label click --model fm --model.dim 4 --epochs 1 --quiet --out run"
    for method in ("optfs", "optembed"):
        status, error = run(f"{fit} --plan {method}.json")
        assert status == 2
        assert f"(found by {method}) was found on another numbering of 'f" in error
        assert "(90 values)" in error and "or search again." in error
    status, error = run(f"{fit.replace('--quiet', '')} --plan dnis.json")
    assert status == 0
    assert "(found by dnis) was found on other rows, and goes by frequency rank here." in error
    assert "there and here: f0 100 and 90, f1 100 and 90" in error
    status, error = run("plan merge optembed.json dnis.json --out both.json")
    assert status == 2
    for words in ("(found by optembed)", "(found by dnis)", "both give the vocabulary 'f", "Leave one of them out."):
        assert words in error
    for method in ("dnis", "columns_size", "columns_random"):
        status, error = run(f"search {method} {BASE} --plan dnis.json --out {method}-more.json")
        assert status == 2
        assert f"{method} gives the vectors of a plain table their columns, and the table here is Mixed: un" in error
    found = json.loads(Path("dnis.json").read_text())
    found["parts"][0]["slots"]["f0"][0]["columns"] = [7]
    Path("dnis.json").write_text(json.dumps(found))
    for words in ("plan show dnis.json", f"fit TRAIN --valid VALID --label click --plan dnis.json --out {'bad'}"):
        status, error = run(words)
        assert status == 2
        assert "slot 'f0': columns (7,) are not in rising order, or not all within 0..3." in error


def test_what_a_search_did_not_do_is_noted_with_its_figures(run):
    base = BASE.replace(" --quiet", "")
    status, error = run(f"search optfs {base} --search.epochs 2 --search.penalty 0 --out features.json")
    assert status == 0
    assert "note: 600 of 600 features are kept (after each epoch: 100.0%, 100.0%): the penalty 0 is too small" in error
    status, error = run(f"search optembed {base} --search.threshold-rate 1e-9 --search.generations 1 --out dims.json")
    assert status == 0
    note = next(line for line in error.splitlines() if line.startswith("note: nothing was pruned"))
    assert note.endswith(
        "give a larger --train.table-l2 with --train.l2-mode dense, or a larger --search.alpha (0.0005)"
    )
    thresholds, sizes = note.split("; ")[:2]
    assert thresholds.startswith("note: nothing was pruned (thresholds ") and sizes.startswith("smallest sizes f")
    found = {word.split()[0]: float(word.split()[1]) for word in sizes.removeprefix("smallest sizes ").split(", ")}
    assert len(found) == 5
    assert all(size > float(thresholds.split()[-1]) for size in found.values())
    assert list(found.values()) == sorted(found.values())
    wide = "--search.threshold-rate 1e-9 --train.l2-mode dense"
    status, error = run(f"search optembed {base.replace('fm --model.dim 4', 'lr')} {wide} --out all.json")
    assert status == 0 and "give a larger --train.table-l2, or a larger --search.alpha" in error
    status, error = run(f"search optembed {base.replace('fm --model.dim 4', 'lr')} --out ids.json")
    assert status == 0
    assert "note: no widths are chosen: the backbone has no main table of vectors" in error


@pytest.mark.parametrize("method", ["optfs", "optembed", "dnis"])
def test_vocabularies_without_a_value_are_refused(method, run, tmp_path):
    fields = tuple(Categorical(name, min_count=3000) for name in NAMES)
    Schema(fields=fields, label=Label("click")).save(tmp_path / "schema.json")
    base = BASE.replace("--label click", "--schema schema.json")
    status, told = run(f"search {method} {base} --out p.json")
    assert status == 2 and f"{method} chooses among values of fields, and every value is rarer than its" in told
