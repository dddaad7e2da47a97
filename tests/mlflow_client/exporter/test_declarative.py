"""OpenTelemetry's declarative configuration: the YAML of the documentation's page, run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from conftest import track

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.configuration") is None,
    reason="opentelemetry-configuration is not installed; it needs OpenTelemetry 1.44",
)

PAGE = Path(__file__).parents[3] / "docs" / "opentelemetry.md"
INSTRUMENT = Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"
APP = """
from opentelemetry import trace
from otel_mlflow_context import trace_context
with trace_context(session_id="s-1", metadata={}):
    with trace.get_tracer("app").start_as_current_span("ask"):
        pass
active = getattr(trace.get_tracer_provider(), "_active_span_processor", None)
processors = getattr(active, "_span_processors", ())
print([type(processor).__name__ for processor in processors])
"""


def run(folder: Path, yaml: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "otel.yaml").write_text(yaml)
    (folder / "app.py").write_text(APP)
    if (folder / ".git").exists():
        track(folder, "app.py")
    return subprocess.run(
        [INSTRUMENT, sys.executable, "app.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OTEL_CONFIG_FILE": "otel.yaml", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.fixture
def yaml() -> str:
    [block] = re.findall(
        r"^```yaml\n(file_format.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    return block


def test_the_pages_file_is_all_that_is_needed(
    server: Any, traces: Any, repository: Path, commit: str, yaml: str
) -> None:
    changed = yaml.replace("http://localhost:5000", server.uri)
    result = run(repository, changed, APP_VERSION="1.10", TENANT="acme")
    assert "Traceback" not in result.stderr
    assert result.stdout.count("MlflowContextSpanProcessor") == 1
    [stored] = traces(server.uri, "qa-yaml")
    expected = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": "app.py",
        "mlflow.source.type": "LOCAL",
        "app_version": "1.10",
        "environment": "production",
        "service_name": "qa",
        "tenant": "acme",
        "mlflow.trace.session": "s-1",
    }
    assert stored.info.trace_metadata.items() >= expected.items()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("source_type: kind", "source_type: colour"), "source_type must be one of"),
        (("source_type: kind", "colour: red"), 'unknown option "colour"'),
        (("timeout: 10", "timeout: -1"), "timeout must be more than 0 seconds"),
    ],
)
def test_a_wrong_option_is_said_and_the_application_goes_on(
    tmp_path: Path, yaml: str, wrong: tuple[str, str], said: str
) -> None:
    result = run(tmp_path, yaml.replace(*wrong).replace("localhost:5000", "localhost:1"))
    assert said in result.stderr
    assert result.stdout
