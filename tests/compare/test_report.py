"""The report: a page that opens in a real browser, in light and dark, and asks nobody.

`PYTHONPATH=tests python tests/compare/test_report.py FOLDER` makes the pictures of the
documentation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import CHROMIUM, DRIVER, open_browser
from versions import rows_of, write

from otel_mlflow_context.compare import Comparison, compare_versions
from otel_mlflow_context.compare.report.spreadsheet import csv_of

NASTY = "</style><img src=x onerror=document.title='caught'>&"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def comparison(written: str) -> Comparison:
    return compare_versions(baseline="1.0.0", tracking_uri=written)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_refers_to_nothing_outside_itself(comparison: Comparison) -> None:
    page = comparison.as_html()
    elements = Elements(page).found
    assert {"script", "link", "img", "iframe", "object", "image", "use"}.isdisjoint(
        tag for tag, _ in elements
    )
    assert not [it for _, them in elements for it in them if it in ("src", "href", "xlink:href")]
    assert "url(" not in page
    assert "@import" not in page
    policy = next(them for _, them in elements if "http-equiv" in them)
    assert str(policy["content"]).startswith("default-src 'none'")


def test_the_page_has_a_picture_of_each_kind_and_a_row_for_each_group(
    comparison: Comparison,
) -> None:
    elements = Elements(comparison.as_html()).found
    labels = [them["aria-label"] for tag, them in elements if tag == "svg"]
    assert labels == [
        "Distribution of the latency of each group",
        "Error rate of each group with its interval",
        "Error rate of each group over time",
        "Median latency of each group over time",
    ]
    assert sum(tag == "tr" for tag, _ in elements) == 1 + len(comparison.groups)
    assert sum(tag == "polygon" for tag, _ in elements) == len(comparison.groups) - 1  # running


def test_every_number_of_a_picture_is_one(comparison: Comparison) -> None:
    page = comparison.as_html()
    assert "nan" not in page
    assert "inf" not in page.lower().replace("info", "")
    for _, them in Elements(page).found:
        for name in ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy"):
            assert -1 <= float(them.get(name) or 0) <= 1100


def test_groups_without_latency_or_outcome_have_a_page_too(written: str) -> None:
    found = compare_versions(baseline="running", candidate="one", tracking_uri=written)
    assert "not known" in found.as_html()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("Chromium (Debian's packages chromium and chromium-driver) is not installed")
    made = open_browser(tmp_path / "profile")
    made.implicitly_wait(0)
    yield made
    made.quit()


def show(browser: Any, page: Path, scheme: str, width: int = 1160) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(page.as_uri())


def test_a_browser_shows_it_in_light_and_dark_without_a_request(
    browser: Any, store: str, tmp_path: Path
) -> None:
    write(store, [*rows_of("1.0.0", 40), *rows_of("other", 30, metadata=())])
    write(store, [*rows_of(NASTY, 40), *rows_of("x" * 250, 20)], experiment="nasty")
    for experiment, baseline in ((None, "1.0.0"), ("nasty", "x" * 250)):
        found = compare_versions(baseline=baseline, experiment=experiment, tracking_uri=store)
        page = tmp_path / f"{experiment}.html"
        page.write_text(found.as_html(), encoding="utf-8")
        colours = {}
        for scheme in ("light", "dark"):
            show(browser, page, scheme)
            colours[scheme] = browser.execute_script(
                "return getComputedStyle(document.body).backgroundColor"
            )
            # Nothing is wider than the page, and each picture has a size.
            sizes = browser.execute_script(
                "return [document.documentElement.scrollWidth, innerWidth,"
                " ...[...document.querySelectorAll('svg')].map(it => it.clientHeight)]"
            )
            assert sizes[0] <= sizes[1]
            assert len(sizes) == 6
            assert all(height > 60 for height in sizes[2:])
        assert _brightness(colours["light"]) > 200
        assert _brightness(colours["dark"]) < 60
        loaded = browser.execute_script(
            "return performance.getEntriesByType('resource').map(it => it.name)"
        )
        assert loaded == []
        assert browser.title != "caught"
        assert baseline[:40] in browser.find_element("tag name", "body").text
    assert NASTY in browser.find_element("tag name", "body").text


def test_the_page_fits_a_telephone(browser: Any, comparison: Comparison, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(comparison.as_html(), encoding="utf-8")
    show(browser, page, "light", width=390)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390


def _brightness(colour: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return (red + green + blue) / 3


def take_pictures(folder: str) -> None:
    """Of the example's report."""
    with tempfile.TemporaryDirectory() as temporary:
        page = Path(temporary, "report.html")
        subprocess.run(
            [sys.executable, ROOT / "examples" / "regression" / "main.py", page],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        chrome = open_browser(Path(temporary, "profile"))
        for scheme, name in (("light", "compare.png"), ("dark", "compare-dark.png")):
            show(chrome, page, scheme)
            # Where this was made, and when.
            chrome.execute_script("document.querySelector('footer').lastChild.remove()")
            size = chrome.execute_script("return document.documentElement.scrollHeight")
            chrome.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 1160, "height": size, "deviceScaleFactor": 1, "mobile": False},
            )
            chrome.save_screenshot(str(Path(folder, name)))
        chrome.quit()


if __name__ == "__main__":
    take_pictures(sys.argv[1])


def test_no_cell_and_no_heading_of_csv_is_a_formula() -> None:
    table = pd.DataFrame({"=cmd|' /C'!A0": ["@SUM(1)", None], "score": [-1.5, None]})
    assert csv_of(table).splitlines() == ["'=cmd|' /C'!A0,score", "'@SUM(1),-1.5", ","]
