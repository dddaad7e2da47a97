"""An application that is traced with OpenTelemetry and exports to a Collector."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_mlflow_context import MlflowContextSpanProcessor, detect_resource, trace_context

provider = TracerProvider(resource=detect_resource())
# MLflow turns these attributes into trace tags: see the README.
provider.add_span_processor(MlflowContextSpanProcessor(tags=True))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("app")


def main() -> None:
    with (
        trace_context(session_id="s-1", user_id="ada", request_id="r-1"),
        tracer.start_as_current_span("answer"),
        tracer.start_as_current_span("retrieve"),
    ):
        pass
    provider.shutdown()


if __name__ == "__main__":
    main()
