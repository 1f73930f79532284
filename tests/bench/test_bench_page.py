"""The site of a benchmark: what its pages say, and that they work in a browser without asking for anything."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from world import finished

from clicksmith.bench.results import Results, read_results
from clicksmith.bench.row import Searched
from clicksmith.bench.settings import BenchSettings, ModelSettings, read_settings
from clicksmith.bench.site import write_site
from clicksmith.bench.table import tables
from clicksmith.cli.main import main
from clicksmith.evaluate.auc import auc
from clicksmith.papers import PAPERS
from clicksmith.report.models import Spot, scatter_chart

CHROMIUM = Path("/usr/bin/chromium")


def site(out: Path, results: Results | None = None) -> Path:
    """Write the site of the finished benchmark into `out`."""
    settings = read_settings(finished() / "settings.toml")
    pages = write_site(results or read_results(finished() / "results"), out, PAPERS, settings=settings)
    assert pages == 3
    return out


def test_a_page_for_all_and_one_for_each_model(tmp_path):
    site(tmp_path)
    index = (tmp_path / "index.html").read_text()
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.html")} == {
        "index.html", "shop/FM.html", "shop/LR.html",
    }  # fmt: skip
    rows = {row.seed: row for row in read_results(finished() / "results").models("shop")["FM"]}
    home = finished() / "results" / "shop"  # the page's figures are those of the stored predictions
    labels, stored = np.load(home / "test_labels.npy"), [np.load(home / "FM" / f"{seed}.npy") for seed in rows]
    mean = sum(auc(labels, logits.astype(np.float32)) for logits in stored) / len(rows)
    assert mean == pytest.approx(sum(row.done.test.values["auc"].value for row in rows.values()) / len(rows), abs=1e-4)
    assert f"<b>{mean:.5f}</b>" in index
    assert "0.7000<small>as the settings say</small>" in index
    model = (tmp_path / "shop" / "FM.html").read_text()
    for row in rows.values():
        assert row.name[:12] in model
        assert row.done.predictions in model
    assert "clicksmith bench verify RESULTS --row shop/FM/0 --data shop.toml" in model
    assert "clicksmith bench run shop.toml --models FM --seeds 2\n" in model
    assert "AUC against ms for 100 rows" in index
    assert all(0 < row.done.cost.latency_ms <= row.done.cost.latency_p99_ms for row in rows.values())
    assert "<small>p99 " in index


def test_the_command_to_reproduce_says_what_training_was_told(tmp_path):
    with_more = msgspec.convert(
        {"train": {"batch_size": 64, "learning_rate": 1e-2, "plateau_factor": 0.5}}
        | {"models": {"FM": {"name": "fm", "options": {"dim": 4}, "epochs": 2}, "LR": {"name": "lr"}}},
        BenchSettings,
    )
    write_site(read_results(finished() / "results"), tmp_path, PAPERS, settings=with_more)
    told = (tmp_path / "shop" / "FM.html").read_text()
    assert "--models FM --seeds 2 --train.batch-size 128 --train.plateau-factor 0.1\n" in told
    results = read_results(finished() / "results")
    searched = Searched(
        trials=20, space={"train.batch_size": [64, 128]}, sampler="tpe", pruner="none", number=3,
        values={"train.batch_size": 128}, seeds=(0,), scores=(0.7,), seconds=9.0,
    )  # fmt: skip
    results.rows[:] = [msgspec.structs.replace(row, searched=searched) for row in results.rows]
    write_site(results, tmp_path, PAPERS, settings=with_more)  # what is given is not searched
    assert "--models FM --seeds 2 --tune 20 --train.plateau-factor 0.1\n" in (tmp_path / "shop" / "FM.html").read_text()


def test_the_command_to_reproduce_has_the_threads_and_says_what_a_model_of_ones_own_needs(tmp_path):
    results = read_results(finished() / "results")
    for i, row in enumerate(results.rows):
        results.rows[i] = msgspec.structs.replace(row, made_by=msgspec.structs.replace(row.made_by, threads=4))
    own = BenchSettings({"FM": ModelSettings("my_fm"), "LR": ModelSettings("lr")})
    write_site(results, tmp_path, PAPERS, settings=own)
    fm, lr = ((tmp_path / "shop" / f"{name}.html").read_text() for name in ("FM", "LR"))
    assert "--models FM --seeds 2 --threads 4\n" in fm and "--models LR --seeds 2 --threads 4" in lr
    assert "add --models FILE.py to the second, and FILE.py before the name to the first." in fm
    assert "FILE.py" not in lr


def test_a_model_names_its_paper_and_the_loop_that_holds_each_part(tmp_path):
    fm = (site(tmp_path) / "shop" / "FM.html").read_text()
    assert "<p>Rendle, ICDM 2010</p>" in fm
    loops = fm[fm.index("Looped references</h2>") : fm.index("Reproduce</h2>")]
    parts = re.findall(r"<tr><td>(\w+)</td><td></td><td>(.*?)</td></tr>", loops)
    assert [part for part, _ in parts] == ["parallel", "first_order", "fm", "plain", "scaled", "mean", "binary"]
    assert dict(parts)["fm"] == "<code>tests/interact/test_fm.py::test_fm_sums_the_dot_products_of_all_pairs</code>"


def test_a_section_of_the_paper_and_a_part_without_a_loop_are_named(tmp_path, monkeypatch):
    as_if = BenchSettings({"FM": ModelSettings("autoint_plus"), "LR": ModelSettings("lr")})
    monkeypatch.setattr("clicksmith.bench.site.kinds_in", lambda spec: ("attention", "my_own"))
    write_site(read_results(finished() / "results"), tmp_path, PAPERS, settings=as_if)
    page = (tmp_path / "shop" / "FM.html").read_text()
    assert f"{PAPERS['autoint'].title}</a>" in page and "CIKM 2019, section 5.5</p>" in page
    assert "<td>attention</td><td>section 4.4</td>" in page
    assert "<td>my_own</td><td></td><td>none</td>" in page


def test_the_same_rows_give_the_same_bytes(tmp_path):
    first, second = site(tmp_path / "a"), site(tmp_path / "b")
    for page in first.rglob("*.html"):
        assert page.read_bytes() == (second / page.relative_to(first)).read_bytes()


def test_a_damaged_row_is_named_and_left_out(tmp_path, capsys):
    import shutil

    shutil.copytree(finished() / "results", tmp_path / "results")
    path = tmp_path / "results" / "shop" / "FM" / "1.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 7', 1))
    settings = str(finished() / "settings.toml")
    assert main(["bench", "page", f"{tmp_path}/results", "--out", f"{tmp_path}/site", "--settings", settings]) == 0
    index = (tmp_path / "site" / "index.html").read_text()
    assert "shop/FM/1.json" in index
    assert "Left out" in index
    assert str(tmp_path) not in index
    assert "one seed" in index


def test_no_page_without_rows(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["bench", "page", f"{tmp_path}/empty", "--out", f"{tmp_path}/site"]) == 2
    assert not (tmp_path / "site").exists()
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: /usr/bin/chromium is not installed (Debian's chromium)")
def test_the_site_sorts_opens_a_model_and_asks_for_nothing(tmp_path):
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    more = {f"Absent {i:02}": ModelSettings("lr", reference=0.6 + i / 100) for i in range(12)}  # that there be a filter
    known = read_settings(finished() / "settings.toml")
    known = msgspec.structs.replace(known, models=known.models | more)
    write_site(read_results(finished() / "results"), tmp_path, PAPERS, settings=known)
    messages, requests = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda m: messages.append(m.text))
        page.on("pageerror", lambda e: messages.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto((tmp_path / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        board = page.locator("table").first
        shown = lambda: [row for row in board.locator("tbody tr").all() if row.is_visible()]  # noqa: E731
        names = lambda: [row.locator("a").inner_text() for row in shown() if row.locator("a").count()]  # noqa: E731
        search = page.get_by_label("filter leaderboard of shop")
        search.fill("absent 07")
        assert [row.locator("td").nth(1).inner_text() for row in shown()] == ["Absent 07\nnot measured"]
        search.fill("")
        assert sorted(names()) == ["FM", "LR"] and len(shown()) == 14
        parameters = board.locator("th button", has_text="parameters")
        parameters.click()
        first = names()
        parameters.click()
        assert names() == first[::-1]
        assert page.locator("svg").count() >= 4
        board.locator("a", has_text="FM").click()
        assert page.locator("h1").inner_text() == "FM on shop"
        page.locator("a", has_text="all models").click()
        assert page.locator("h1").inner_text() == "Click-through-rate benchmark"
        browser.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_published_models_without_rows_are_listed_as_not_measured(tmp_path, capsys):
    settings = tmp_path / "settings.toml"
    more = '[models.DNN]\nname = "dnn"\nreference = 0.81\n[models.Unknown]\nname = "dnn"\n'
    settings.write_text((finished() / "settings.toml").read_text() + more)
    (one,) = tables(read_results(finished() / "results"), settings=read_settings(settings))
    assert one.unmeasured == {"DNN": 0.81}  # without a published figure there is nothing to show
    argv = [f"{finished()}/results", "--settings", str(settings)]
    assert main(["bench", "page", *argv, "--out", f"{tmp_path}/site"]) == 0
    index = (tmp_path / "site" / "index.html").read_text()
    assert "DNN<small>not measured</small>" in index and "0.8100<small>as the settings say</small>" in index
    assert not (tmp_path / "site" / "shop" / "DNN.html").exists()
    assert main(["bench", "table", *argv]) == 0
    said = capsys.readouterr().out
    assert next(line.split() for line in said.splitlines() if "DNN" in line) == ["DNN", "not", "measured", "0.8100"]
    assert "processor s" in said


def test_pages_of_models_that_are_gone_are_deleted_and_other_files_are_not(tmp_path):
    site(tmp_path)
    gone = tmp_path / "shop" / "Gone.html"
    gone.write_bytes((tmp_path / "shop" / "FM.html").read_bytes())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "FM.html").write_bytes(gone.read_bytes())
    (tmp_path / "shop" / "notes.html").write_text("mine")
    site(tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "index.html", "shop", "shop/FM.html", "shop/LR.html", "shop/notes.html",
    ]  # fmt: skip


def test_names_in_a_scatter_lie_on_no_dot_and_on_no_other_name():
    spots = [Spot(f"model {i:02}", 10.0 ** (1 + i / 9), 0.9 + 0.001 * (i * 7 % 36)) for i in range(36)]
    image = scatter_chart("AUC against parameters", spots, "parameters", "AUC").image
    names = [
        (float(x), float(y), 6.5 * len(text))
        for x, y, text in re.findall(r'<text class="name" x="([\d.]+)" y="([\d.]+)">([^<]*)<', image)
    ]
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle[^>]* cx="([\d.]+)" cy="([\d.]+)"', image)]
    assert len(dots) == 36 and len(names) >= 2
    for x, y, wide in names:
        assert not any(x < cx < x + wide and y - 10 < cy < y for cx, cy in dots)
        assert all((a, b) == (x, y) or a > x + wide or a + w < x or abs(b - y) > 10 for a, b, w in names)
