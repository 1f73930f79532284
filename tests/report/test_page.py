"""The page: what it shows, that it is self-contained, and that no text of the data becomes markup."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import polars as pl
import pytest

from clicksmith.evaluate import evaluate, scored
from clicksmith.plan import FoundBy, KeptFeatures, Plan
from clicksmith.plan.arrays import Array
from clicksmith.report import (
    Bar,
    Curves,
    Ranking,
    ReportData,
    Series,
    curves_of,
    distribution_of,
    page,
    profile_of,
)
from clicksmith.report.charts import bar_chart, calibration_chart, histogram_chart, line_chart, roc_chart
from clicksmith.report.models import Placed, tie_chart
from clicksmith.report.page import plan_page
from clicksmith.report.svg import horizontal, log_ticks, nice_ticks, vertical
from clicksmith.report.tables import Cell, table
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.schema.infer import infer

ReportOf = Callable[..., ReportData]
HOSTILE = "<script>alert(1)</script>\"'&</svg>"
VOID = {"meta", "link", "input", "br", "img"}


class Checked(HTMLParser):
    """Collects tags; fails on one that is closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.tags)


def test_every_part_is_on_the_page(report_of: ReportOf) -> None:
    html = Checked(page(report_of()))
    sections = [a["id"] for t, a in html.tags if t == "section"]
    assert sections == [
        "notes", "metrics", "search", "trials", "plan", "training", "quality", "importance", "slices", "data",
        "settings", "environment",
    ]  # fmt: skip
    assert html.count("svg") == html.count("figure") == 4 + 3 + 3 + 1 + 6
    assert {a["href"] for t, a in html.tags if t == "a" and "class" not in a} == {f"#{s}" for s in sections}
    text = " ".join(html.text)
    assert (
        "of a possible 0.9000" in text
        and "train.rate" in text
        and "25%" in text
        and "best valid: 0.8 at epoch 2" in text
    )


def test_an_empty_report_is_still_a_page() -> None:
    html = Checked(page(ReportData(title="nothing yet")))
    assert html.count("section") == html.count("svg") == 0 and "nothing yet" in html.text


def test_no_text_of_the_data_becomes_markup(report_of: ReportOf) -> None:
    clean, hostile = Checked(page(report_of("price"))), Checked(page(report_of(HOSTILE)))
    assert [t for t, _ in hostile.tags] == [t for t, _ in clean.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in clean.tags]
    assert page(report_of(HOSTILE)).count("<script>") == 1
    assert sum(HOSTILE in text for text in hostile.text) >= 8


def test_nothing_is_asked_of_the_network_and_the_policy_forbids_it(report_of: ReportOf) -> None:
    text = page(report_of())
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"<script>.*?</script>", "", text, flags=re.S))
    assert not re.search(r"\b(src|@import|url\()", text.replace("src data:", "").replace("-src", ""))
    policy = next(a["content"] for t, a in Checked(text).tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy


def test_every_picture_is_read_out_and_every_table_has_a_name(report_of: ReportOf) -> None:
    html = Checked(page(report_of()))
    assert all(a.get("aria-label") and a.get("tabindex") == "0" for t, a in html.tags if t == "svg")
    assert all(a.get("aria-label") for t, a in html.tags if a.get("role") == "region")
    assert all(a.get("scope") == "col" for t, a in html.tags if t == "th")
    ids = [a["id"] for _, a in html.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_a_log_of_any_columns_gives_its_curves() -> None:
    log = [
        {
            "epoch": 1,
            "step": 10,
            "loss": 0.6,
            "valid_logloss": 0.5,
            "valid": {"auc": 0.7},
            "seconds": 3.0,
            "state": "a",
        },
        {
            "epoch": 2,
            "step": 20,
            "loss": 0.4,
            "valid_logloss": 0.6,
            "valid": {"auc": 0.8},
            "seconds": 4.0,
            "note": None,
        },
        {"epoch": 3, "step": 30, "loss": float("nan"), "same": 1},
    ]
    loss, auc = curves_of(log)
    assert (loss.title, loss.best, auc.title, auc.best) == ("loss", "low", "AUC", "high")
    assert loss.series == (Series("train", ((1, 0.6), (2, 0.4))), Series("valid", ((1, 0.5), (2, 0.6))))
    assert "best valid: 0.5 at epoch 1" in line_chart(loss).note
    assert curves_of([]) == () == curves_of([{"epoch": 1, "loss": 0.3}])
    assert curves_of([{"step": 5, "loss": 1.0}, {"step": 10, "loss": 0.5}])[0].x_title == "step"


def test_several_evaluations_of_an_epoch_each_have_their_place() -> None:
    log = [{"epoch": 1 + i // 2, "step": 10 * (i + 1), "valid": {"auc": 0.6 + i / 100}} for i in range(4)]
    (chart,) = curves_of(log)
    assert chart.x_title == "step" and [x for x, _ in chart.series[0].points] == [10, 20, 30, 40]
    assert curves_of(log[::2])[0].x_title == "epoch"


@pytest.mark.parametrize("kept", [{}, {"a": Array(np.array([1, 1], bool))}])
def test_a_plan_that_keeps_of_nothing_is_a_page_without_its_chart(kept: dict[str, Array]) -> None:
    numbering = dict.fromkeys(kept, "n")
    plan = Plan(parts=(KeptFeatures(slots=kept, numbering=numbering, found_by=FoundBy(method="optfs")),))
    text = plan_page(plan)
    assert "where the Plan comes from" in text and "Share of features kept" not in text


def test_lines_of_steps_have_a_chart_of_their_own_and_leave_the_others_alone() -> None:
    log: list[dict[str, Any]] = [{"epoch": e, "step": 500 * e, "loss": 1 / e, "valid": {"auc": e / 10}} for e in (1, 2)]
    steps = [{"kind": "step", "epoch": 1, "step": i, "loss": 1 / i, "learning_rate": 0.1} for i in range(1, 601)]
    *before, chart = curves_of([*steps, *({"kind": "evaluation", **line} for line in log)])
    assert tuple(before) == curves_of(log)
    assert (chart.title, chart.x_title, chart.best) == ("loss between evaluations", "step", None)
    (line,) = chart.series
    assert len(line.points) == 300 and line.points[0] == (2, 0.75)
    assert curves_of(steps[:1]) == ()


def test_the_roc_curve_has_the_area_of_the_auc_and_reaches_both_corners() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=20_000)
    labels = random.random(20_000) < 1 / (1 + np.exp(-logits))
    rows = scored(labels, logits=logits)
    roc = np.array(distribution_of(rows).roc)
    assert roc[0].tolist() == [0, 0] and roc[-1].tolist() == [1, 1] and len(roc) <= 201
    assert (np.diff(roc, axis=0) >= 0).all()
    area = np.sum(np.diff(roc[:, 0]) * (roc[1:, 1] + roc[:-1, 1]) / 2)
    assert area == pytest.approx(evaluate(labels, logits=logits)["auc"], abs=1e-3)


def test_the_histogram_holds_every_row_once() -> None:
    rows = scored([0, 1, 0, 1, 1], logits=[-50.0, 0.0, 1.0, 50.0, 0.5])
    found = distribution_of(rows, bins=7)
    assert sum(found.clicks) == pytest.approx(1) and sum(found.others) == pytest.approx(1)
    assert len(found.edges) == 8
    constant = distribution_of(scored([0, 0], logits=[1.0, 1.0]))
    assert constant.roc == () and sum(constant.clicks) == 0
    assert "<svg" in histogram_chart(constant).image and "<svg" in roc_chart({"test": constant}).image


def test_marks_stay_inside_their_picture_and_say_their_numbers(report_of: ReportOf) -> None:
    data = report_of()
    charts = [
        calibration_chart(data.metrics["test"].reliability, 0.95),
        roc_chart(data.distributions),
        histogram_chart(data.distributions["test"]),
        *(line_chart(c) for c in data.curves),
        *(bar_chart(r) for r in data.rankings),
    ]
    for chart in charts:
        tags = Checked(chart.image).tags
        width, height = (float(v) for v in str(tags[0][1]["viewbox"]).split()[2:])
        marks = [a for _, a in tags if "data-tip" in a]
        assert marks
        assert all(0 <= float(a["data-x"] or -1) <= width and 0 <= float(a["data-y"] or -1) <= height for a in marks)


def test_extreme_numbers_make_pictures_too() -> None:
    bars = (Bar("a", 0.0, 0.0, 0.0), Bar("b", -1e-12), Bar("c", float(10**9)))
    for chart in (
        bar_chart(Ranking("r", bars)),
        bar_chart(Ranking("zeros", (Bar("a", 0.0),))),
        line_chart(Curves("c", (Series("train", ((0, 5.0), (1, 5.0))),))),
        line_chart(Curves("c", (Series("valid", ((7, 1e-9),)),), best="low")),
        calibration_chart(evaluate([0, 0], logits=[-30.0, -30.0]).reliability, 0.95),
        calibration_chart(evaluate([1, 1, 0], logits=[9.0, 9.0, -9.0]).reliability, 0.95),
    ):
        Checked(chart.image)
        assert "nan" not in chart.image and "inf" not in chart.image


def test_a_chart_says_what_its_axes_and_faint_bars_are() -> None:
    sure, unsure = Bar("a", 0.2, 0.1, 0.3), Bar("b", 0.1, -0.1, 0.3)
    assert bar_chart(Ranking("r", (sure, unsure), "nats")).note == "nats; faint: the interval reaches 0"
    assert bar_chart(Ranking("r", (sure,), "nats")).note == "nats"
    axes = re.findall(
        r'<text class="axis"[^>]*>([^<]*)<', line_chart(Curves("AUC", (Series("train", ((1, 1),)),))).image
    )
    assert axes == ["epoch", "AUC"]


def test_a_long_ranking_is_whole_in_the_table_only() -> None:
    chart = bar_chart(Ranking("r", tuple(Bar(f"field {i}", 100.0 - i) for i in range(60))), most=25)
    assert chart.image.count("<rect") == 25 and len(chart.rows) == 60 and chart.note.endswith("35 more in the table")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.71, 0.7104), (-3e-7, 5e-7), (0, 1e9), (-10, -9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 7 and ticks[0] >= low - 1e-12 and ticks[-1] <= high + abs(high) * 1e-9
    axis = horizontal(low, high, str)
    assert axis.at(low - 1) == axis.at(low) < axis.at(high) == axis.at(high + 1)
    assert vertical(low, high, str).at(low) > vertical(low, high, str).at(high)


def test_logarithmic_ticks_lie_inside() -> None:
    assert log_ticks(0.008, 0.3) == pytest.approx((0.01, 0.02, 0.05, 0.1, 0.2))
    assert log_ticks(1e-9, 1.0)[0] == pytest.approx(1e-9)


def test_the_data_section_tells_what_infer_found() -> None:
    frame = pl.DataFrame(
        {
            "user": [f"u{i % 9}" for i in range(200)],
            "price": [None if i % 4 == 0 else i / 7 for i in range(200)],
            "click": [i % 3 == 0 for i in range(200)],
        }
    )
    proposal = infer(frame, label="click")
    columns = {c.name: c for c in profile_of(proposal)}
    assert set(columns) == {"user", "price", "click"}
    assert columns["price"].missing == 0.25 and columns["user"].unique == 9
    assert columns["click"].kind == "label" and columns["user"].kind.startswith("categorical")
    assert "u0" in columns["user"].example and "…" in columns["price"].example
    assert columns["user"].reason == proposal.reasons["user"] != ""
    used = Schema(fields=(Categorical("user"),), label=Label("click"), group="user")
    kinds = {c.name: c.kind for c in profile_of(proposal, used)}
    assert kinds == {"user": "categorical, group", "price": "not used", "click": "label"}


def test_cells_are_sorted_by_numbers_that_a_browser_reads_with_all_their_digits() -> None:
    orders = [float("-inf"), float("inf"), 0.98512341, 0.98512342, 12345678, 12345679, 1e-9, 3, 0.0]
    cells = [Cell("", order) for order in orders]
    found = re.findall(r'data-order="([^"]*)"', table(("a",), [[cell] for cell in cells], "a"))
    assert found[:2] == ["-Infinity", "Infinity"]  # what Number() reads; of "-inf" it makes NaN
    assert found[2:] == ["0.98512341", "0.98512342", "12345678", "12345679", "1e-09", "3", "0"]


def test_models_that_are_all_perfect_are_drawn_where_they_are() -> None:
    models = [Placed(name, 1.0, 1.0, 1.0, ("b" if name == "a" else "a",)) for name in ("a", "b")]
    dots = [a for t, a in Checked(tie_chart("ties", models, "AUC", 0.95).image).tags if t == "circle"]
    assert len(dots) == 2 and dots[0]["cx"] == dots[1]["cx"]


def test_five_seeds_have_five_colours_on_light_and_on_dark() -> None:
    series = tuple(Series(f"seed {i}", ((0, 0.1 * i), (1, 0.2 * i))) for i in range(5))
    tones = {tone for tone, _ in line_chart(Curves("AUC", series)).key}
    assert len(tones) == 5
    style = page(ReportData(title="colours"))
    for tone in tones:
        assert f".{tone} {{ color: var(--{tone}); }}" in style
        shades = re.findall(rf"--{tone}: (#[0-9a-f]{{6}});", style)
        assert len(set(shades)) == 2
