"""The pages of docs/: their code runs, their tables are the package's, their links resolve."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from documentation.code import run_code
from documentation.markdown import DOCS, PAGES, ROOT, anchors, block, blocks, links, rows

from otel_mlflow_context.facts.metadata import MAX_FEATURE_FLAGS, MAX_SIZE
from otel_mlflow_context.mlflow_client import metrics
from otel_mlflow_context.semconv import (
    MAX_DECLARED,
    MAX_KEY_LENGTH,
    PROCESS_FACTS,
    REQUEST_FACTS,
)
from otel_mlflow_context.settings import Settings, environment_variables, settings_from

DATABRICKS = ROOT / "docs" / "databricks.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
PREFIX = "OTEL_MLFLOW_CONTEXT_"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in DOCS
        if page != DATABRICKS
        for number, code in enumerate(blocks(page, "python"), 1)
    ],
)
def test_the_documentations_code_runs(code: str, server: Any, tmp_path: Path) -> None:
    output = run_code(code, server.uri, tmp_path)
    # The output is that of the comments behind each print.
    assert output.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)


def test_the_trace_of_the_page_on_opentelemetry_arrives_with_its_facts(
    server: Any, traces: Any, tmp_path: Path
) -> None:
    code = blocks(ROOT / "docs" / "opentelemetry.md", "python")[0]
    run_code(code.replace("page-otel", "page-otel-arrives"), server.uri, tmp_path)
    [stored] = traces(server.uri, "page-otel-arrives")
    assert stored.info.trace_metadata["mlflow.trace.session"] == "s-1"
    assert stored.info.trace_metadata["service_name"] == "qa"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documentations_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path) if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    assert {path for path, _ in links(index)} >= {page.name for page in DOCS if page != index}


def test_the_table_of_trace_metadata_is_the_packages() -> None:
    table = {row[0]: row for row in rows(ROOT / "docs" / "trace-metadata.md")}
    for fact in (*PROCESS_FACTS, *REQUEST_FACTS):
        _, source, _, metadata = table[fact.name]
        assert source.startswith(f"`{fact.source}`")
        expected = "client request id" if fact.name == "request" else f"`{fact.metadata}`"
        assert expected in metadata


def test_the_table_of_settings_has_each_with_its_default() -> None:
    defaults = {
        name: default for name, _, default in (row for row in rows(CONFIGURATION) if len(row) == 3)
    }
    names = [name for name in vars(environment_variables) if name.startswith(PREFIX)]
    assert names
    for name in names:
        default = defaults[f"`{name}`"]
        if default.startswith("`"):
            assert settings_from({name: default.strip("`")}) == Settings(), name
        else:
            field = name.removeprefix(PREFIX).lower()
            assert default == "none" or default.startswith("searched"), name
            assert not getattr(Settings(), field), name


def test_the_table_of_metrics_has_those_of_the_exporter() -> None:
    table = {row[0].strip("`") for row in rows(ROOT / "docs" / "opentelemetry.md")}
    names = {metrics.SPANS, metrics.METADATA, metrics.WAITING}
    assert {name for name in table if name.startswith("otel_mlflow_context.")} == names


def test_the_limits_of_metadata_are_the_packages() -> None:
    text = (ROOT / "docs" / "trace-metadata.md").read_text()
    limits = f"at most {MAX_DECLARED} such keys and {MAX_FEATURE_FLAGS} feature flags, "
    assert f"{limits}and {MAX_SIZE // 1_024} KiB of metadata" in text
    assert f"1 to {MAX_KEY_LENGTH} ASCII letters" in text


def test_a_setting_is_a_flag_of_opentelemetry_instrument(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from otel_mlflow_context.settings import current_settings\n"
        "print(current_settings().trace_boundary)\n"
    )
    scripts = sysconfig.get_path("scripts")
    result = subprocess.run(
        ["sh", "-ec", block(CONFIGURATION, "sh", "opentelemetry-instrument")],
        cwd=tmp_path,
        env={
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "service\n"
