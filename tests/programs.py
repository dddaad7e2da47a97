"""The programs that the tests run, in pieces to put together."""

from __future__ import annotations

UNIFIED = {"MLFLOW_USE_DEFAULT_TRACER_PROVIDER": "false"}
DUAL = {"MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT": "true"}
DEPLOYMENT = {
    "APP_VERSION": "1.10",
    "APP_ENVIRONMENT": "staging",
    "DEPLOYMENT_ID": "7",
    "REGION": "eu-west-1",
    "OTEL_SERVICE_NAME": "qa",
}

INSTRUMENT = """
from otel_mlflow_context import MlflowContextInstrumentor
MlflowContextInstrumentor().instrument()
"""
ASK = """
import mlflow
from otel_mlflow_context import trace_context

@mlflow.trace
def retrieve(question):
    return question

@mlflow.trace
def ask(question, **update):
    if update:
        mlflow.update_current_trace(**update)
    return retrieve(question)
"""
# The newest trace, or each, as MLflow's public API returns it.
READ = """
def read():
    mlflow.flush_trace_async_logging()
    traces = mlflow.search_traces(return_type="list", order_by=["timestamp_ms ASC"])
    return [
        {
            "metadata": trace.info.trace_metadata,
            "client_request_id": trace.info.client_request_id,
            "root": trace.data.spans[0].attributes,
            "children": [span.attributes for span in trace.data.spans[1:]],
        }
        for trace in traces
    ]
"""
ASK_FOR_ADA = """
with trace_context(session_id="12345", user_id="ada", request_id="r-1", metadata={"tenant": "42"}):
    ask("q")
"""
REPORT = "report(read())"


def expected(commit: str) -> dict[str, str]:
    """The metadata of the trace of `ASK_FOR_ADA` with `DEPLOYMENT`, in the repository."""
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.repoURL": "https://github.com/acme/app",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.name": "app.py",
        "mlflow.source.type": "staging",
        "app_version": "1.10",
        "environment": "staging",
        "deployment_id": "7",
        "region": "eu-west-1",
        "service_name": "qa",
        "mlflow.trace.session": "12345",
        "mlflow.trace.user": "ada",
        "tenant": "42",
    }
