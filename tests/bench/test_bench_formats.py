"""The benchmark end to end on real files of every format: Criteo's lines, Avazu's tables, wide text, sequences."""

import math

import pytest

from clicksmith.bench.results import read_results
from clicksmith.cli.main import main

FORMATS = {
    "criteo_sample": ("criteo_kaggle_10k", ["FM", "DCNv2"]),
    "avazu_sample": ("avazu_kaggle_9k", ["FM", "DCNv2"]),
    "taobao_ad_sample": ("taobao_ad_dmr_500", ["DIN"]),
    "next_item_lastfm": ("sequences_s3rec", ["DIN", "FM"]),
}
BACKBONES = {"FM": "fm", "DCNv2": "dcnv2", "DIN": "din"}


@pytest.mark.parametrize("dataset", FORMATS)
def test_real_files_become_rows_and_a_page(dataset, shared_data, tmp_path):
    folder, models = FORMATS[dataset]
    settings = tmp_path / "settings.toml"
    settings.write_text(
        "[train]\nepochs = 1\nbatch_size = 1024\n"
        + "".join(f'[models.{name}]\nname = "{BACKBONES[name]}"\noptions = {{ dim = 4 }}\n' for name in models)
    )
    results, cache = tmp_path / "results", tmp_path / "cache"
    argv = ["bench", "run", dataset, "--data", str(shared_data / folder), "--settings", str(settings), "--seeds", "1"]
    assert main([*argv, "--jobs", "1", "--quiet", "--results", str(results), "--cache", str(cache)]) == 0
    rows = read_results(results).models(dataset)
    assert sorted(rows) == sorted(models)
    for (row,) in rows.values():
        assert row.failure is None
        assert row.outcome.test_evaluations == 1
        assert 0 < row.outcome.test.values["auc"].value < 1 and math.isfinite(row.outcome.test.values["logloss"].value)
    page = ["bench", "page", str(results), "--out", str(tmp_path / "site"), "--settings", str(settings)]
    assert main(page) == 0
    assert dataset in (tmp_path / "site" / "index.html").read_text()
