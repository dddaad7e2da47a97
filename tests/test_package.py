"""What the package promises as a whole: light to import, typed, found by OpenTelemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import otel_mlflow_context
from otel_mlflow_context import semconv

ROOT = Path(__file__).parent.parent


def test_importing_it_loads_nothing_that_a_plain_process_does_not_need() -> None:
    code = """
import json, sys
import otel_mlflow_context
from otel_mlflow_context import MlflowContextSpanProcessor, detect_resource, trace_context
heavy = {"mlflow", "git", "requests", "pandas", "rich", "click"}
print(json.dumps(sorted(heavy & sys.modules.keys())))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(result.stdout) == []


def test_what_the_exporter_needs_is_said_where_it_is_missing() -> None:
    code = """
import sys
sys.modules["requests"] = None
from otel_mlflow_context import MlflowSpanExporter
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "pip install 'otel-mlflow-context[otlp]'" in result.stderr


def test_every_public_name_is_there() -> None:
    for name in otel_mlflow_context.__all__:
        assert getattr(otel_mlflow_context, name).__doc__
    assert set(otel_mlflow_context.__all__) <= set(dir(otel_mlflow_context))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        otel_mlflow_context.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("opentelemetry_resource_detector", {"git", "mlflow_source", "deployment"}),
        ("opentelemetry_traces_exporter", {"mlflow"}),
        ("opentelemetry_instrumentor", {"mlflow_context"}),
        ("opentelemetry_propagator", {"mlflow_headers", "trusted_baggage"}),
        ("hatch", {"otel-mlflow-context"}),
        ("opentelemetry_environment_variables", {"mlflow_context"}),
    ],
)
def test_others_find_it_by_its_entry_points(group: str, expected: set[str]) -> None:
    ours = [entry for entry in entry_points(group=group) if "otel_mlflow_context" in entry.value]
    assert {entry.name for entry in ours} == expected
    for entry in ours:
        assert entry.load() is not None


def test_the_sdk_runs_the_detectors_by_their_names() -> None:
    code = """
import json
from opentelemetry.sdk.resources import Resource
print(json.dumps(dict(Resource.create().attributes)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": "",
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "git,mlflow_source,deployment",
            "APP_VERSION": "1.2.0",
        },
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    attributes = json.loads(result.stdout)
    assert attributes["service.version"] == "1.2.0"
    assert attributes["mlflow.source.type"] == "LOCAL"


def test_the_variables_are_flags_of_opentelemetry_instrument() -> None:
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    result = subprocess.run([instrument, "--help"], capture_output=True, text=True, check=True)
    assert "--mlflow_context_trace_boundary" in result.stdout


def test_it_is_typed() -> None:
    assert (Path(otel_mlflow_context.__file__).parent / "py.typed").exists()


def test_the_tables_have_no_name_twice() -> None:
    facts = (*semconv.PROCESS_FACTS, *semconv.REQUEST_FACTS)
    for column in ("name", "source", "metadata", "attribute"):
        values = [getattr(fact, column) for fact in facts]
        assert len(values) == len(set(values))


def test_the_constraints_name_versions_and_no_addresses() -> None:
    for path in ROOT.glob("constraints*.txt"):
        for line in path.read_text().splitlines():
            assert line.startswith("#") or line.count("==") == 1, line
            assert "/" not in line
            assert ":" not in line
