"""What a stranger may put on a span, into a header or a resource, to change more than allowed."""

from __future__ import annotations

from typing import Any

LISTED = "otel_mlflow_context.metadata_keys"

# MLflow's own metadata, and what MLflow parses or follows (FACTS of a real server: text that is
# no JSON in one of these makes the whole experiment unreadable).
MLFLOW_KEYS = (
    "mlflow.trace_schema.version",
    "mlflow.trace.sizeStats",
    "mlflow.trace.sizeBytes",
    "mlflow.trace.tokenUsage",
    "mlflow.trace.cost",
    "mlflow.trace.infoFinalized",
    "mlflow.trace.spansLocation",
    "mlflow.trace.archiveLocation",
    "mlflow.trace.archivalFailure",
    "mlflow.trace.sourceScorer",
    "mlflow.artifactLocation",
    "mlflow.traceInputs",
    "mlflow.traceOutputs",
    "mlflow.traceName",
    "mlflow.traceRequestId",
    "mlflow.sourceRun",
    "mlflow.user",
    "mlflow.runName",
    "mlflow.parentRunId",
    "mlflow.linkedPrompts",
    "mlflow.eval.requestId",
    "mlflow.gateway.endpointId",
    "mlflow.gateway.requestType",
    "mlflow.gateway.caller",
    "mlflow.auth.userId",
    "mlflow.auth.username",
    "mlflow.databricks.notebookPath",
    "mlflow.assessment.sourceRunId",
    "mlflow.spanInputs",
    "mlflow.experimentId",
    "mlflow.otel_mlflow_context.entry",
    "mlflow.traceTag.mlflow.trace.spansLocation",
    "mlflow.x",
    "mlflow.",
)
# The names of the tables are set by the tables' attributes, and by nothing else.
TABLE_KEYS = (
    "mlflow.trace.session",
    "mlflow.trace.user",
    "client_request_id",
    LISTED,
)
# What a database without case, an eye or a file system takes for another name.
VARIANTS = (
    *("MLflow.trace.tokenUsage", "MLFLOW.TRACE.COST", "mlFlow.traceInputs", "Mlflow.sourceRun"),
    *("App_Version", "ENVIRONMENT", "Mlflow.Trace.Session", "USER.ID", "Client_Request_Id"),
    *("\uff4dlflow.trace.cost", "mlfl\u043ew.trace.cost", "ml\ufb02ow.trace.cost", "mlflo\u0175.x"),
    *("mlflow\u200b.trace.cost", "mlflow\u2024trace.cost", "\u202emlflow.trace.cost"),
    *("app_versi\u043en", "\u0430pp_version", "app\u00adversion", "environment\u0301"),
)
MALFORMED = (
    *("", " ", "\t", "\n", "\x00", "\x7f", "\u2028", "\ud800"),
    *(" mlflow.trace.cost", "mlflow.trace.cost ", "\nmlflow.trace.cost", "\x00mlflow.trace.cost"),
    *(" tenant", "tenant ", "tenant\n", "tenant\x00", "ten\x1bant", "ten\rant", "tenant\u2029"),
    *("-tenant", ".tenant", "/tenant", "../tenant", "a/../b", "a//b", "a/./b", "a/..", "tenant/"),
    *("`tenant`", "'tenant'", '"tenant"', "tenant`='x' OR `a", "<script>", "a;b", "a\\b", "${x}"),
    *("%2e%2e", "a=b", "a&b", "a?b", "a#b", "a|b", "{{a}}", "a\U0001f600"),
    "x" * 251,
    "x" * 100_000,
)
# Attributes that MLflow reads session, user or content from.
READ_KEYS = ("session.id", "user.id", "gen_ai.conversation.id", "gen_ai.request.model", "GEN_AI.x")

KEYS = (*MLFLOW_KEYS, *TABLE_KEYS, *VARIANTS, *MALFORMED, *READ_KEYS)

VALUES: dict[str, Any] = {
    "no JSON": "{not json",
    "JSON": '{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}',
    "empty": "",
    "true": "true",
    "number": 3,
    "long": "x" * 100_000,
    "control characters": "a\x00b\r\nc\x1b[31m",
    "a list": ["a", "b"],
}


def claiming(*keys: str, value: Any = "{not json") -> dict[str, Any]:
    """Attributes of a span that lists the keys as trace metadata."""
    return {**dict.fromkeys(keys, value), LISTED: ",".join(keys)}
