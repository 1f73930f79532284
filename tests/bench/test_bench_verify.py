"""Verification: a row comes out again, to the bit or within what other seeds leave open; what does not is flagged."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from world import copied, finished

from clicksmith.bench.cost import BASE
from clicksmith.bench.pool import Ended
from clicksmith.bench.results import Results, read_results
from clicksmith.bench.row import Measured, Row, read_row, write_array, write_row
from clicksmith.bench.verify import Verdict, allowed, auc_of, quickest, recompute, row_named, sentinels
from clicksmith.cli.main import main
from clicksmith.errors import DataError, UnknownNameError, UsageError
from clicksmith.evaluate import evaluate


def with_auc(row: Row, auc: float, seed: int) -> Row:
    test = row.done.test
    values = {**test.values, "auc": msgspec.structs.replace(test.values["auc"], value=auc)}
    done = msgspec.structs.replace(row.done, test=msgspec.structs.replace(test, values=values))
    return msgspec.structs.replace(row, seed=seed, outcome=done)


def measured(labels: NDArray[np.uint8], logits: NDArray[np.float16]) -> Measured:
    """Return what a row says of predictions."""
    found = evaluate(labels, logits=logits)
    return Measured(
        rows=found.rows, clicks=found.clicks, level=found.level, values=found.values, reliability=found.reliability
    )


def verify(*options: str) -> int:
    folder = finished()
    data = ["--data", str(folder / "shop.toml"), "--cache", str(folder / "cache")]
    return main(
        ["bench", "verify", *(options if options[0] != "." else (str(folder / "results"), *options[1:])), *data]
    )


def test_a_recomputed_row_comes_out_again_to_the_bit():
    results = read_results(finished() / "results")
    row = row_named(results, "shop/FM/1")
    toml = str(finished() / "shop.toml")
    (verdict,) = recompute(results, [row], folder=toml, cache=finished() / "cache", say=lambda _: None)
    assert verdict.agrees and verdict.largest == 0 and verdict.same_place
    assert str(verdict).startswith("shop/FM/1 agrees: AUC 0.")
    off = replace(verdict, largest=0.1, again=auc_of(row) + 5e-4)
    assert not off.agrees and "DOES NOT AGREE" in str(off) and "must agree to the bit here" in str(off)
    elsewhere = replace(off, same_place=False)
    assert elsewhere.agrees and "allowed: 0.001 around the row)" in str(elsewhere)
    assert not replace(elsewhere, again=auc_of(row) + 2e-3).agrees
    assert quickest(results) in results.rows
    with pytest.raises(UnknownNameError, match=r"no finished row named 'shop/FM/7'. Did you mean 'shop/FM/1'"):
        row_named(results, "shop/FM/7")


def recomputed(monkeypatch, changed=lambda row: row) -> tuple[list[Verdict], list[int]]:
    """Return the verdicts on rows that come out as they are but for one step of float16, and what trials need."""
    results, needs = read_results(finished() / "results"), []

    def run_jobs(jobs, *, at_once, memory, need, ended):
        needs.extend(map(need, jobs))
        for job in jobs:
            row = changed(row_named(results, f"shop/{job.model}/{job.configuration.seed}"))
            place = Path(job.results)
            logits = np.nextafter(results.predictions(row), np.float16(9))
            sha256 = write_array(row.path(place).with_suffix(".npy"), logits)
            done = msgspec.structs.replace(row.done, predictions=sha256)
            write_row(place, msgspec.structs.replace(row, outcome=done))
            ended(Ended(job, 1.0))

    monkeypatch.setattr("clicksmith.bench.verify.run_jobs", run_jobs)
    rows = [changed(row) for row in results.rows]
    toml = str(finished() / "shop.toml")
    found = recompute(results, rows, folder=toml, cache=finished() / "cache", say=lambda _: None)
    return found, needs


def test_a_trial_gets_the_memory_that_it_needs_as_in_a_run(monkeypatch):
    verdicts, needs = recomputed(monkeypatch)
    assert all(need > BASE for need in needs) and len(set(needs)) == 2  # FM holds more than LR
    assert all(verdict.same_place and not verdict.agrees for verdict in verdicts)


def test_bits_need_not_agree_where_a_gpu_adds_up(monkeypatch):
    def on_gpu(row: Row) -> Row:
        return msgspec.structs.replace(row, made_by=msgspec.structs.replace(row.made_by, gpu="H200"))

    verdicts, _ = recomputed(monkeypatch, on_gpu)
    assert not any(verdict.same_place for verdict in verdicts)
    assert all(verdict.agrees and 0 < verdict.largest < 0.1 for verdict in verdicts)


def test_other_data_cannot_verify_a_row(tmp_path):
    folder = copied(tmp_path)
    text = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join(text[:-1]) + "\n")
    results = read_results(folder / "results")
    toml = str(folder / "shop.toml")
    with pytest.raises(DataError, match="was made with another data"):
        recompute(results, results.rows[:1], folder=toml, cache=tmp_path / "c", say=lambda _: None)


def test_elsewhere_a_row_may_lie_where_one_more_seed_would():
    one = read_results(finished() / "results").models("shop")["FM"][0]
    aucs = [0.70, 0.71, 0.705, 0.702, 0.708]
    results = Results(finished(), [with_auc(one, auc, seed) for seed, auc in enumerate(aucs)])
    margin = stats.t.ppf(0.995, 4) * np.std(aucs, ddof=1) * np.sqrt(1.2)
    found = allowed(results, results.rows[0], 1e-3)
    assert (found.low + found.high) / 2 == pytest.approx(np.mean(aucs))
    assert (found.high - found.low) / 2 == pytest.approx(margin, rel=0.02)  # Student's t is approximated
    assert "one more of 5 seeds" in found.why
    wide = allowed(results, results.rows[0], 0.1)
    assert (wide.low, wide.high) == pytest.approx((0.6, 0.8))  # the tolerance, where it is wider
    few = allowed(Results(finished(), results.rows[:2]), results.rows[1], 1e-3)
    assert (few.low, few.high) == pytest.approx((0.709, 0.711))
    same = Results(finished(), [with_auc(one, 0.7, seed) for seed in range(3)])
    assert 0.7005 in allowed(same, same.rows[0], 1e-3) and 0.702 not in allowed(same, same.rows[0], 1e-3)


def test_one_more_seed_is_flagged_as_rarely_as_the_level_says():
    one = read_results(finished() / "results").models("shop")["FM"][0]
    drawn = 0.7 + 0.004 * np.random.default_rng(0).standard_normal((2000, 6))
    flagged = 0
    for aucs in drawn:
        results = Results(finished(), [with_auc(one, float(auc), seed) for seed, auc in enumerate(aucs[:5])])
        flagged += float(aucs[5]) not in allowed(results, results.rows[0], 0.0)
    assert 8 <= flagged <= 36  # 20 of 2,000, and four standard deviations


def test_each_model_is_recomputed_once_and_one_that_drifted_is_named(tmp_path, capsys):
    results = read_results(finished() / "results")
    assert [(row.model, row.seed) for row in sentinels(results)] == [("FM", 0), ("LR", 0)]
    assert verify(".", "--each") == 0
    said = capsys.readouterr().out
    assert "shop/FM/0 agrees" in said and "shop/LR/0 agrees" in said and said.endswith("2 of 2 models agree\n")

    folder = copied(tmp_path)
    path = folder / "results" / "shop" / "LR" / "0.json"
    row = read_row(path)
    path.unlink()
    logits = results.predictions(row)[::-1].copy()
    sha256 = write_array(path.with_suffix(".npy"), logits)
    done = msgspec.structs.replace(row.done, test=measured(results.labels("shop"), logits), predictions=sha256)
    elsewhere = msgspec.structs.replace(row.made_by, code="0" * 64)
    write_row(folder / "results", msgspec.structs.replace(row, outcome=done, made_by=elsewhere))
    assert verify(str(folder / "results"), "--each", "--jobs", "1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 2 models agree" and lines[-2].startswith("shop/LR/0 DOES NOT AGREE: AUC 0.")
    assert "(other code or machine, 0." in lines[-2] and "allowed: 0.001 around the row)" in lines[-2]


def test_a_trial_that_fails_when_recomputed_is_named_and_the_others_go_on(tmp_path, capsys):
    folder = copied(tmp_path)
    path = folder / "results" / "shop" / "FM" / "0.json"
    row = read_row(path)
    path.unlink()
    (path.parent / "1.json").unlink()
    spec = {**row.configuration.spec, "interact": {"kind": "nowhere"}}
    asked = msgspec.structs.replace(row.configuration, spec=spec)
    write_row(folder / "results", msgspec.structs.replace(row, configuration=asked, name=asked.name))
    assert verify(str(folder / "results"), "--each") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 2 models agree" and any(line.startswith("shop/LR/0 agrees") for line in lines)
    assert lines[-2].startswith("shop/FM/0 DOES NOT AGREE: it failed when recomputed: ") and "nowhere" in lines[-2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--each", "--row", "shop/FM/0"), "--each and --row: give one of them."),
        (("--each", "--check-only"), "--each and --check-only: give one of them."),
        (("--jobs", "0"), "--jobs 0: at least 1 is needed."),
    ],
)
def test_options_that_do_not_fit_are_refused(options, told, capsys):
    assert verify(".", *options) == 2
    assert told in capsys.readouterr().err


def test_no_finished_row_nothing_to_recompute():
    with pytest.raises(UsageError, match="holds no finished row to recompute"):
        sentinels(Results(finished() / "results"))
