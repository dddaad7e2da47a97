"""The formats of a history, and what the command does when there is none.

`PYTHONPATH=tests python tests/compare/history/test_report.py FILE` makes the picture of the
documentation.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, DRIVER, open_browser
from versions import Row, rows_of, write

from otel_mlflow_context.compare import version_history

NASTY = "</style><img src=x onerror=document.title='caught'>&\x1b[31m"
FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def changed(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with three versions, of which the last one fails; two have hostile names."""
    names = ("1.0.0", NASTY, FORMULA)
    rows = [
        row
        for at, name in enumerate(names)
        for row in rows_of(
            name, 30, state="OK" if at < 2 else "ERROR", hours_ago=100 - 40 * at, latency_ms=100
        )
    ]
    path = tmp_path_factory.mktemp("changed") / "mlflow.db"
    shutil.copy(empty_store, path)
    write(f"sqlite:///{path}", rows)
    return f"sqlite:///{path}"


def test_people_get_a_table_and_sentences(command: Any, changed: str) -> None:
    status, out, err = command(changed)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split()[:4] == ["app_version", "first", "seen", "traces"]
    assert lines[0].split()[-1] == "change"
    assert f"worse from {FORMULA} on" in lines
    assert any(
        it.startswith("  errors: worse, 100 % instead of 0 %, +100.0 points") for it in lines
    )
    assert "\x1b" not in out + err


def test_machines_get_json(command: Any, changed: str) -> None:
    status, out, _ = command(changed, "--format", "json", "--fail-on", "worse")
    found = json.loads(out)
    assert status == 1
    assert (found["verdict"], found["order"]) == ("worse", "first seen")
    assert [it["value"] for it in found["versions"]] == ["1.0.0", NASTY, FORMULA]
    assert found["versions"][0]["error_rate"]["value"] == 0
    assert set(found["versions"][0]["latency_ms"]["p90"]) == {"value", "low", "high"}
    [change] = found["changes"]
    assert (change["value"], change["previous"]) == (FORMULA, NASTY)
    errors = change["metrics"]["errors"]
    assert (errors["before"], errors["after"], errors["verdict"]) == (0, 1, "worse")
    assert found["untestable"] == ["latency"]


def test_spreadsheets_get_rows_without_formulas(command: Any, changed: str) -> None:
    _, out, _ = command(changed, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [it["value"] for it in rows] == ["1.0.0", NASTY, f"'{FORMULA}"]
    assert [it["errors"] for it in rows] == ["0", "0", "30"]
    assert [(it["change"], it["changed"]) for it in rows][2] == ("worse", "errors")
    assert float(rows[2]["error_rate_low"]) > 0.8


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_page_has_a_timeline_of_each_metric(command: Any, changed: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    status, _, err = command(changed, "--format", "html", "-o", str(page))
    assert (status, err.splitlines()[-1]) == (0, f"otel-mlflow-context: written to {page}")
    text = page.read_text()
    found = Elements(text).found
    assert [them["aria-label"] for tag, them in found if tag == "svg"] == [
        f"{name} of each version" for name in ("errors", "latency", "tokens", "cost")
    ]
    assert {"script", "img", "link"}.isdisjoint(tag for tag, _ in found)
    assert "\x1b" not in text
    for _, them in found:
        for name in ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height"):
            if re.fullmatch(r"[-\d.]+", them.get(name) or ""):
                assert -1 <= float(them[name] or 0) <= 1100
    if not CHROMIUM or not DRIVER:
        pytest.skip("Chromium (Debian's packages chromium and chromium-driver) is not installed")
    browser = open_browser(tmp_path / "profile")
    try:
        browser.set_window_size(1160, 1200)
        browser.get(page.as_uri())
        assert browser.title.startswith("Worse from =cmd")
        sizes = browser.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth,"
            " ...[...document.querySelectorAll('svg')].map(it => it.clientHeight)]"
        )
    finally:
        browser.quit()
    assert sizes[0] <= sizes[1]
    assert all(height > 60 for height in sizes[2:])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--by", "nothing"), "no trace has the metadata 'nothing'; the newest have "),
        (("--experiment", "nowhere"), "there is no experiment 'nowhere' at "),
        (("--since", "yesterday"), "since must be a time back from now"),
        (("--metrics", "speed"), "there is no metric or assessment 'speed'; there are "),
        (("--repository", "/nowhere"), "/nowhere: "),
        (("--where", "nonsense ="), ""),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    arguments: tuple[str, ...], why: str, command: Any, changed: str
) -> None:
    status, out, err = command(changed, *arguments)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    lines = [it for it in err.splitlines() if it.startswith("otel-mlflow-context: ")]
    assert lines[-1].startswith(f"otel-mlflow-context: {why}")
    assert all("reading at most" in it for it in lines[:-1])


@pytest.mark.parametrize("arguments", [("--versions", "0"), ("--format", "pdf"), ("--sample", "x")])
def test_wrong_usage(arguments: tuple[str, ...], command: Any, changed: str) -> None:
    status, out, err = command(changed, *arguments)
    assert (status, out) == (2, "")
    assert "usage: " in err


def take_picture(file: str) -> None:
    """Of a history of twelve versions, of which one is slower and another one fails more."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        dice = random.Random(20261125)
        rows = [
            Row(
                f"1.{number}.0",
                state="ERROR" if dice.random() < (0.09 if number >= 8 else 0.02) else "OK",
                latency_ms=int((520 if number >= 5 else 420) * dice.lognormvariate(0, 0.45)),
                hours_ago=24 * (12 - number) - dice.uniform(0, 24),
            )
            for number in range(12)
            for _ in range(200)
        ]
        write(uri, rows)
        page = Path(folder, "page.html")
        page.write_text(version_history(tracking_uri=uri).as_html(), encoding="utf-8")
        browser = open_browser(Path(folder, "profile"))
        size = {"width": 1160, "height": 1225, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        browser.execute_script("document.body.style.overflow = 'hidden'")
        browser.save_screenshot(file)
        browser.quit()


if __name__ == "__main__":
    take_picture(sys.argv[1])
