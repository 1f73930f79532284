"""The page in a real browser: figures, tooltips, sorting, filtering, narrow screens; no console message, no request."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clicksmith.report import ColumnProfile, ReportData, page

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason="no browser: /usr/bin/chromium is not installed (Debian's chromium)"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless browser for the file."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install clicksmith[test])"
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in the browser, and what it complained about or asked for."""

    def __init__(self, browser: Any, folder: Path, data: ReportData, **options: Any) -> None:
        path = folder / "report.html"
        path.write_text(page(data), encoding="utf-8")
        self.page = browser.new_page(**options)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.messages.append(m.text))
        self.page.on("pageerror", lambda e: self.messages.append(str(e)))
        self.page.on("dialog", lambda d: (self.messages.append(f"dialog {d.message}"), d.dismiss()))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(path.as_uri())
        self.address = path.as_uri()

    def close(self) -> None:
        """End the page, and hold it to its promise."""
        self.page.close()
        assert self.messages == []
        assert [url for url in self.requests if url not in (self.address, "data:,")] == []


@pytest.mark.parametrize("name", ["price", "<img src=x onerror=alert(1)><script>alert(2)</script>"])
def test_the_figures_are_drawn_without_a_console_message_or_a_request(
    browser: Any, tmp_path: Path, report_of: Callable[..., ReportData], name: str
) -> None:
    opened = Opened(browser, tmp_path, report_of(name))
    boxes = [svg.bounding_box() for svg in opened.page.locator("figure > svg").all()]
    assert len(boxes) == 17 and all(box["width"] > 200 and box["height"] > 20 for box in boxes)
    assert opened.page.locator("h1").inner_text() == f"deepfm on {name}"
    opened.close()


def test_pointer_and_arrow_keys_show_the_numbers(
    browser: Any, tmp_path: Path, report_of: Callable[..., ReportData]
) -> None:
    opened = Opened(browser, tmp_path, report_of())
    chart, tip = opened.page.locator("#training svg").first, opened.page.locator("#tip")
    assert tip.is_hidden()
    chart.scroll_into_view_if_needed()
    mark = chart.locator("circle.dot").first.bounding_box()
    opened.page.mouse.move(mark["x"] + 3, mark["y"] + 3)
    assert tip.inner_text() == "train · epoch 1: 0.5"
    opened.page.mouse.move(0, 0)
    assert tip.is_hidden()
    chart.focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowRight")
    assert tip.inner_text() == "train · epoch 2: 0.25"
    opened.page.keyboard.press("Escape")
    assert tip.is_hidden()
    opened.close()


def test_tables_sort_and_filter(browser: Any, tmp_path: Path) -> None:
    columns = tuple(ColumnProfile(f"c{i}", "numeric", 10 * (i % 7) + i) for i in range(15))
    opened = Opened(browser, tmp_path, ReportData(title="columns", profile=columns))
    names = lambda: opened.page.locator("#data tbody tr:visible td:first-child").all_inner_texts()  # noqa: E731
    button = opened.page.get_by_role("button", name="values")
    button.click()
    by_count = [c.name for c in sorted(columns, key=lambda c: -(c.unique or 0))]
    assert names() == by_count
    button.click()
    assert names() == by_count[::-1]
    assert opened.page.locator("#data th").nth(2).get_attribute("aria-sort") == "ascending"
    opened.page.get_by_label("filter columns of the data").fill("C1")
    assert sorted(names()) == ["c1", "c10", "c11", "c12", "c13", "c14"]
    opened.close()


def test_a_phone_needs_no_sideways_scrolling_and_dark_is_dark(
    browser: Any, tmp_path: Path, report_of: Callable[..., ReportData]
) -> None:
    opened = Opened(browser, tmp_path, report_of(), viewport={"width": 360, "height": 700}, color_scheme="dark")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(v) for v in background.strip("rgb()").split(",")) < 120
    opened.close()
