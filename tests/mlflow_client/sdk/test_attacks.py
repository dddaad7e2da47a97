"""What a stranger gets of a trace of MLflow's SDK, by headers and by attributes, on each path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attacks import KEYS, LISTED, MLFLOW_KEYS, READ_KEYS
from programs import DEPLOYMENT, DUAL, INSTRUMENT, UNIFIED

from otel_mlflow_context.facts.span_metadata import metadata_from_span
from otel_mlflow_context.settings import Settings

# Attributes that MLflow's SDK itself acts on, and those of the tables.
NOT_OURS = ("mlflow.traceRequestId", "mlflow.traceTag.mlflow.trace.spansLocation")
# MLflow stores no span with a lone surrogate, with us or without, nor those that it stores with it.
ATTACKS = [
    key[:5_000]
    for key in KEYS
    if key and key not in (*NOT_OURS, *READ_KEYS) and "\ud800" not in key
]
BY_MLFLOW = (
    *("mlflow.trace.sizeStats", "mlflow.trace.sizeBytes", "mlflow.trace_schema.version"),
    *("mlflow.traceInputs", "mlflow.traceOutputs", "mlflow.trace.infoFinalized"),
)

PROGRAM = f"""
{INSTRUMENT}
from urllib.parse import quote
import mlflow
from otel_mlflow_context.propagators import incoming_headers

def attack(number, key):
    name = quote(key, errors="replace")
    headers = {{
        "baggage": f"{{name}}=evil,feature_flag_/../{{name}}=evil,feature_flag_{{name}}%00=evil",
        "X-Mlflow-Metadata": f"{{name}}=evil",
    }}
    attributes = {{key: "{{{{not json", {LISTED!r}: key}} if key else {{}}
    with incoming_headers(headers), mlflow.start_span(str(number)) as span:
        for set_attributes in (span.set_attributes, span._span.set_attributes):
            try:
                set_attributes(attributes)
            except Exception as error:  # MLflow takes no such attribute
                pass

for number, key in enumerate(["", *{ATTACKS!a}]):
    attack(number, key)
"""
READ = """
mlflow.flush_trace_async_logging()
traces = mlflow.search_traces(return_type="list", order_by=["timestamp_ms ASC"], max_results=500)
found = [mlflow.get_trace(trace.info.trace_id).info for trace in traces]
report({info.tags["mlflow.traceName"]: [info.trace_metadata, info.tags] for info in found})
"""


@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["P1", "P2"])
def test_nothing_is_added_to_a_trace_in_memory(run: Any, store: str, mode: dict[str, str]) -> None:
    # One after the other: what SQLite refuses while another thread writes MLflow leaves out.
    one_by_one = {"MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"}
    environment = {"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **mode, **one_by_one}
    found = run(f"{PROGRAM}{READ}", environment=environment)
    benign = found.pop("0")
    for number, key in enumerate(ATTACKS, 1):
        metadata, tags = found[str(number)]
        assert own(metadata) == own(benign[0]), key
        assert metadata["mlflow.trace_schema.version"] == "3"
        assert json.loads(metadata.get("mlflow.trace.sizeStats", "{}")) is not None
        assert tags.keys() == benign[1].keys(), key


def own(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in BY_MLFLOW}


@pytest.mark.parametrize("mode", [{}, DUAL], ids=["P3", "P4"])
def test_nothing_is_added_at_the_other_end_of_otlp(
    run: Any, store: str, collector: Any, mode: dict[str, str]
) -> None:
    run(
        f"{PROGRAM}report(None)",
        environment={
            "MLFLOW_TRACKING_URI": store,
            "OTEL_MLFLOW_CONTEXT_TAGS": "true",
            **DEPLOYMENT,
            **collector.environment,
            **mode,
        },
    )
    benign, *attacked = collector.roots
    assert len(attacked) > 80
    expected = metadata_from_span(benign, {}, Settings())
    assert expected["app_version"] == "1.10"
    tags = {key for key in benign if key.startswith("mlflow.traceTag.")}
    assert len(tags) >= 8
    for root in attacked:
        assert metadata_from_span(root, {}, Settings()) == expected
        named = {key for key in root if key.startswith("mlflow.traceTag.")}
        assert named - {f"mlflow.traceTag.{key}" for key in MLFLOW_KEYS} == tags
