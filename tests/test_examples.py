"""The examples and the documentation's pages do what they say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "examples" / "fastapi_service"
# A warning is an error, but not one that MLflow gives itself: it drops the trace that it is making.
STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"mlflow\\.")
"""
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def run(code: str, uri: str, folder: Path) -> str:
    """What the code of a page prints, with a real server at the address that it names."""
    result = subprocess.run(
        [sys.executable, "-c", STRICT + code.replace("http://localhost:5000", uri)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


@pytest.mark.skipif(os.name != "posix", reason="the example ends its processes by signals")
@pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.instrumentation.fastapi") is None,
    reason="opentelemetry-instrumentation-fastapi is not installed",
)
def test_a_service_without_a_line_of_tracing_is_found_by_version_session_and_user() -> None:
    result = subprocess.run(
        [sys.executable, SERVICE / "run.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    rows = [
        line.rsplit(maxsplit=1)
        for line in result.stdout.splitlines()
        if line.startswith("metadata.")
    ]
    assert {query: int(count) for query, count in rows} == {
        "metadata.`app_version` = '1.0.0'": 3,
        "metadata.`app_version` = '1.1.0'": 3,
        "metadata.`environment` = 'production'": 6,
        "metadata.`service_name` = 'chat'": 6,
        "metadata.`mlflow.source.name` = 'app:app'": 6,
        "metadata.`mlflow.trace.session` = 's-1'": 4,
        "metadata.`mlflow.trace.session` = 's-2'": 2,
        "metadata.`mlflow.trace.user` = 'grace'": 2,
    }
    assert "opentelemetry" not in (SERVICE / "app.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="the example ends its processes by signals")
def test_two_services_know_who_asks_and_the_vendor_does_not() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "two_services" / "run.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = result.stdout.splitlines()
    found = [line.strip() for line in lines if line.startswith("  session")]
    assert found == [
        "session s-1, user ada: 2 services know the session",
        "session s-1, user ada: 2 services know the session",
        "session s-2, user grace: 2 services know the session",
    ]
    seen = [line for line in lines if "traceparent" in line]
    assert len(seen) == 3
    assert all(re.fullmatch(r"  traceparent: 00-\w+-\w+-\w\w, baggage: None", it) for it in seen)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(page, "python"), 1)
    ],
)
def test_the_documentations_code_runs(code: str, server: Any, tmp_path: Path) -> None:
    output = run(code, server.uri, tmp_path)
    # What the block says that it prints is what it prints.
    assert output.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)


def test_the_trace_of_the_page_on_opentelemetry_arrives_with_its_facts(
    server: Any, traces: Any, tmp_path: Path
) -> None:
    code = blocks(ROOT / "docs" / "opentelemetry.md", "python")[0]
    run(code.replace("page-otel", "page-otel-arrives"), server.uri, tmp_path)
    [stored] = traces(server.uri, "page-otel-arrives")
    assert stored.info.trace_metadata["mlflow.trace.session"] == "s-1"
    assert stored.info.trace_metadata["service_name"] == "qa"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_documentations_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
