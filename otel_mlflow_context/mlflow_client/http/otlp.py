"""Spans to MLflow's OTLP endpoint, by OpenTelemetry's exporter over a `Client`'s connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.rest import Client


class OtlpSender:
    """Sends spans with OpenTelemetry's exporter, encoded as its own variables configure it.

    What to do with an answer is decided here: versions of the OTLP exporter differ in what they
    try again and for how long, and none returns why it failed.
    """

    def __init__(self, client: Client, headers: Mapping[str, str]) -> None:
        self._session = _Session(client)
        endpoint = f"{client.server.url}{client.spans_path}"
        self._exporter = OTLPSpanExporter(endpoint, headers=dict(headers), session=self._session)

    def send(self, spans: Sequence[ReadableSpan], deadline: float) -> None:
        """Send spans as one request.

        Raises:
            ServerUnavailable, RequestRejected: they are not stored.
        """
        self._session.deadline = deadline
        self._session.error = None
        result = self._exporter.export(spans)
        if self._session.error is not None:
            raise self._session.error
        if result is not SpanExportResult.SUCCESS:
            raise RequestRejected(HTTPStatus.BAD_REQUEST, "the spans cannot be encoded")


class _Session(requests.Session):
    """Sends with a `Client`, and answers OK to the OTLP exporter whatever comes back."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.deadline = 0.0
        self.error: ServerUnavailable | RequestRejected | None = None

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        try:
            return self._client.send(request, self.deadline)
        except (ServerUnavailable, RequestRejected) as error:
            self.error = error
            answer = requests.Response()
            answer.status_code = HTTPStatus.OK
            answer._content = b""  # noqa: SLF001  # requests' way to make one by hand
            return answer
