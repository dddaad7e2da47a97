"""The exporter: spans to MLflow by OTLP, and the facts on their roots as trace metadata by REST."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from otel_mlflow_context.facts.metadata import metadata_from_attributes
from otel_mlflow_context.facts.received_span import metadata_from_span
from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.mlflow_client.span_attributes import with_attributes
from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID, USER_ID
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

try:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from otel_mlflow_context.mlflow_client.rest import (
        Client,
        RequestRejected,
        ServerUnavailable,
        TraceUpdate,
        server_from,
    )
except ImportError as error:
    raise ImportError(
        f"{error}: MlflowSpanExporter needs more, `pip install 'otel-mlflow-context[otlp]'`"
    ) from error

_logger = logging.getLogger(__name__)

_TIMEOUT: Final = 10.0
"""Seconds for one export: the default of OTEL_EXPORTER_OTLP_TIMEOUT."""
_QUESTION: Final = 1.0
"""Seconds for the question whether the server has the plugin."""
_WORKERS: Final = 8
"""Calls for metadata at once. Each waits 40 ms for the server's delayed acknowledgement."""
_MAX_WAITING: Final = 10_000
"""Traces whose metadata waits for a server: a few megabytes."""
_MAX_FAILURES: Final = 3
"""Times that the server may fail at the metadata of a trace before it is given up."""
_INVALID: Final = frozenset({400, 413, 422, 500})
"""Answers that one bad span is enough for: MLflow takes or refuses a batch as a whole."""

_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        f"; set {env.MLFLOW_TRACKING_USERNAME} and {env.MLFLOW_TRACKING_PASSWORD}, or "
        f"{env.MLFLOW_TRACKING_TOKEN}, or correct them"
    ),
    HTTPStatus.FORBIDDEN: "; the user needs EDIT permission on the experiment",
}
"""What to do about an answer that concerns all traces."""


class MlflowSpanExporter(SpanExporter):
    """Exports spans to an MLflow server, and writes their traces' metadata.

    MLflow's OTLP endpoint makes trace metadata of session and user only. This exporter sends
    spans with OpenTelemetry's own OTLP exporter, and then, for each trace whose root (or entry
    span, by the setting `trace_boundary`) was among them, writes the facts that
    `MlflowContextSpanProcessor` put there, in one call; a server with this package's plugin does
    that itself, and is asked for it once. It needs no mlflow installed.

    A batch that the server refuses as invalid is sent again in halves, until only the bad trace
    is left out. Metadata that could not be written is kept, and tried again at the next export,
    flush and at shutdown. Use it behind a `BatchSpanProcessor`: an export waits for the server.

    Args:
        tracking_uri: the http(s) address of the server; by default ``MLFLOW_TRACKING_URI``.
        experiment_name: is made when missing; by default ``MLFLOW_EXPERIMENT_NAME``, else
            ``Default``.
        experiment_id: takes the place of the name; by default ``MLFLOW_EXPERIMENT_ID``.
        metadata_keys: more attributes of the root span to write as metadata.
        timeout: seconds for one export, with all its attempts; by default 10.

    User, password, token, TLS, workspace and run are taken from MLflow's own variables.

    Raises:
        ValueError: an argument that is not allowed; the message names it.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment_name: str | None = None,
        experiment_id: str | None = None,
        metadata_keys: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}")
        if experiment_name and experiment_id:
            raise ValueError("experiment_name and experiment_id: only one of them can be given")
        self._settings = current_settings().with_options(metadata_keys=metadata_keys)
        self._timeout = timeout or _TIMEOUT
        self._experiment_name = experiment_name
        self._experiment_id = experiment_id
        if not experiment_name and not experiment_id:
            self._experiment_id = os.environ.get(env.MLFLOW_EXPERIMENT_ID) or None
            self._experiment_name = os.environ.get(env.MLFLOW_EXPERIMENT_NAME) or "Default"
        self._client = _client(tracking_uri)
        self._otlp: _OtlpSender | None = None
        self._stored_in = ""
        """The id of the experiment, once it is known."""
        self._has_plugin = False
        """Whether the server makes metadata of root spans itself, once that is known."""
        self._waiting: deque[TraceUpdate] = deque(maxlen=_MAX_WAITING)
        self._logged: set[str] = set()
        self._shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._client is None or self._shut_down:
            return SpanExportResult.FAILURE
        deadline = time.monotonic() + self._timeout
        if current_settings().user_id != "plain":
            spans = [_with_protected_user(span) for span in spans]
        stored: list[ReadableSpan] = []
        uncertain: list[TraceUpdate] = []
        announced: set[str] = set()
        try:
            if self._otlp is None:
                self._otlp = self._connected(self._client, deadline)
            self._announce(self._client, spans, _halfway_to(deadline), announced)
            self._store(self._otlp, list(spans), deadline, stored)
        except (ServerUnavailable, RequestRejected) as error:
            self._log_once("spans are not stored in", self._client, error)
            if isinstance(error, ServerUnavailable) and error.uncertain:
                lost = self._updates([span for span in spans if span not in stored])
                uncertain = [replace(update, uncertain=True) for update in lost]
        except Exception:
            _logger.exception("spans are not stored in MLflow")
        try:
            updates = [it for it in self._updates(stored) if it.trace_id not in announced]
            updates = [*self._take_waiting(), *updates]
            self._waiting.extend(uncertain)  # for later: the server may still be at work
            self._write(self._client, updates, deadline)
        except Exception:
            _logger.exception("metadata is not written to MLflow")
        return SpanExportResult.SUCCESS if len(stored) == len(spans) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Try again to write the metadata that waits. True when none is left."""
        if self._client is None:
            return True
        deadline = time.monotonic() + timeout_millis / 1_000
        try:
            self._write(self._client, self._take_waiting(), deadline)
        except Exception:
            _logger.exception("a flush to MLflow failed")
        return not self._waiting

    def shutdown(self) -> None:
        if self._client is None or self._shut_down:
            return
        if self._waiting and not self.force_flush(int(self._timeout * 1_000)):
            _logger.warning(
                "%d traces are stored in %s without their metadata",
                len(self._waiting),
                self._client.server.name,
            )
        self._shut_down = True
        self._client.close()

    # --- Spans -------------------------------------------------------------------------------

    def _store(
        self,
        otlp: _OtlpSender,
        spans: list[ReadableSpan],
        deadline: float,
        stored: list[ReadableSpan],
    ) -> None:
        """Send spans, in parts if need be; those that are stored are added to `stored`.

        Raises:
            ServerUnavailable, RequestRejected: the server takes none of the rest.
        """
        try:
            otlp.send(spans, deadline)
            stored += spans
        except RequestRejected as refused:
            if refused.status not in _INVALID:
                raise
            trace_ids, traces = zip(*_by_trace(spans).items(), strict=True)
            if len(traces) == 1:
                _logger.warning("MLflow refused %s, it is left out: %s", trace_ids[0], refused)
                return
            middle = len(traces) // 2
            for half in (traces[:middle], traces[middle:]):
                self._store(otlp, [span for trace in half for span in trace], deadline, stored)

    def _connected(self, client: Client, deadline: float) -> _OtlpSender:
        experiment_id = self._experiment_id or client.experiment_id(
            self._experiment_name or "Default", deadline
        )
        self._stored_in = experiment_id
        # Not worth a wait: without an answer the exporter writes the metadata, as ever.
        with contextlib.suppress(ServerUnavailable):
            self._has_plugin = client.has_plugin(min(deadline, time.monotonic() + _QUESTION))
        headers = {"x-mlflow-experiment-id": experiment_id}
        if run_id := os.environ.get(env.MLFLOW_RUN_ID):
            headers["x-mlflow-run-id"] = run_id
        return _OtlpSender(client, headers)

    # --- Metadata ----------------------------------------------------------------------------

    def _updates(self, spans: Sequence[ReadableSpan]) -> list[TraceUpdate]:
        """What to write of the traces whose speaking span is among the spans."""
        updates = []
        for trace_id, trace in _by_trace(spans).items():
            speaking = next((span for span in trace if self._speaks(span)), None)
            metadata = self._facts_of(speaking) if speaking is not None else {}
            if speaking is None or not metadata or self._is_left_to_server(speaking, metadata):
                continue
            update = TraceUpdate(
                trace_id,
                # A field of the trace's own, among the facts for its way here only.
                client_request_id=metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None),
                metadata=metadata,
                start_ns=min(span.start_time or 0 for span in trace),
                end_ns=max(span.end_time or 0 for span in trace),
                state="ERROR" if speaking.status.status_code is StatusCode.ERROR else "OK",
            )
            updates.append(update)
        return updates

    def _is_left_to_server(self, span: ReadableSpan, facts: Mapping[str, str]) -> bool:
        """Whether a server with the plugin writes all of it, as it stores the span."""
        return (
            self._has_plugin
            and span.parent is None
            and facts == metadata_from_attributes(span.attributes or {})
        )

    def _speaks(self, span: ReadableSpan) -> bool:
        if span.parent is None:
            return True
        return self._settings.trace_boundary == "service" and span.parent.is_remote

    def _facts_of(self, span: ReadableSpan) -> dict[str, str]:
        return metadata_from_span(span.attributes or {}, {}, self._settings)

    def _take_waiting(self) -> list[TraceUpdate]:
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def _announce(
        self, client: Client, spans: Sequence[ReadableSpan], deadline: float, done: set[str]
    ) -> None:
        """Write what an old server takes before the spans only; the traces are added to `done`.

        Where this fails the metadata is written after the spans, without the request id.
        """
        with_request_id = [it for it in self._updates(spans) if it.client_request_id]

        def announce(item: TraceUpdate) -> None:
            with contextlib.suppress(ServerUnavailable, RequestRejected):
                client.announce(item, self._stored_in, deadline)
                done.add(item.trace_id)

        with contextlib.suppress(ServerUnavailable):
            if with_request_id and not client.sets_request_ids(deadline):
                _for_each(with_request_id, announce)

    def _write(self, client: Client, items: list[TraceUpdate], deadline: float) -> None:
        _for_each(items, lambda item: self._write_one(client, item, deadline))

    def _write_one(self, client: Client, item: TraceUpdate, deadline: float) -> None:
        try:
            client.write(item, self._stored_in, deadline)
        except ServerUnavailable as error:
            self._keep(item, client, error)
        except RequestRejected as refused:
            if item.uncertain and refused.status == HTTPStatus.NOT_FOUND:
                if item.failures < _MAX_FAILURES:
                    self._waiting.append(replace(item, failures=item.failures + 1))
            elif (
                refused.status == HTTPStatus.INTERNAL_SERVER_ERROR and item.failures < _MAX_FAILURES
            ):
                # A database that is locked answers so as well as a bug that stays.
                self._keep(replace(item, failures=item.failures + 1), client, refused)
            elif refused.status in _INVALID:
                _logger.warning("MLflow refused the metadata of %s: %s", item.trace_id, refused)
            else:
                self._log_once("no metadata is written to", client, refused)

    def _keep(self, item: TraceUpdate, client: Client, error: Exception) -> None:
        if len(self._waiting) == _MAX_WAITING:
            self._log_once(
                "metadata of the oldest traces is lost, too much waits for", client, error
            )
        self._log_once("metadata waits for", client, error)
        self._waiting.append(item)

    def _log_once(self, what: str, client: Client, error: Exception) -> None:
        if what not in self._logged:
            self._logged.add(what)
            advice = _ADVICE.get(error.status, "") if isinstance(error, RequestRejected) else ""
            _logger.warning("%s %s: %s%s", what, client.server.name, error, advice)


def _halfway_to(deadline: float) -> float:
    """What comes before the spans may fail, and must leave them time."""
    now = time.monotonic()
    return now + (deadline - now) / 2


def _for_each(items: Iterable[TraceUpdate], do: Callable[[TraceUpdate], None]) -> None:
    """Do something with each, several at once."""
    remaining = deque(items)
    workers = min(_WORKERS, len(remaining)) - 1

    def do_some() -> None:
        while remaining:
            try:
                item = remaining.popleft()
            except IndexError:  # another worker was quicker
                return
            do(item)

    threads = [threading.Thread(target=do_some, daemon=True) for _ in range(workers)]
    # When Python is ending it starts no thread any more: then this one does all.
    with contextlib.suppress(RuntimeError):
        for thread in threads:
            thread.start()
    do_some()
    for thread in threads:
        if thread.ident is not None:
            thread.join()


def _client(tracking_uri: str | None) -> Client | None:
    try:
        return Client(server_from(os.environ, tracking_uri), connections=_WORKERS)
    except ValueError as error:
        if tracking_uri is not None:
            raise
        # The environment is nobody's code: the application goes on, without its traces.
        _logger.warning("no span is exported to MLflow: %s", error)
        return None


class _OtlpSender:
    """OpenTelemetry's OTLP exporter over our connections.

    It encodes and compresses as its own variables say, but what to do with an answer is decided
    here: its versions differ in what they try again and for how long, and none says why it failed.
    """

    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self._session = _Session(client)
        self._exporter = OTLPSpanExporter(
            endpoint=f"{client.server.url}/v1/traces", headers=headers, session=self._session
        )

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
    """Sends with a `Client`, and tells the OTLP exporter that all went well."""

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


def _with_protected_user(span: ReadableSpan) -> ReadableSpan:
    """What the application itself wrote on a span is bound to the setting `user_id` too."""
    attributes = span.attributes
    if not attributes or USER_ID not in attributes:
        return span
    plain = {key: value for key, value in attributes.items() if key != USER_ID}
    user_id = request_value(USER_ID, attributes[USER_ID], current_settings())
    return with_attributes(span, {**plain, USER_ID: user_id} if user_id else plain)


def _by_trace(spans: Iterable[ReadableSpan]) -> dict[str, list[ReadableSpan]]:
    """Spans by MLflow's trace id: ``tr-`` and the 32 hex digits of OpenTelemetry's."""
    traces: dict[str, list[ReadableSpan]] = {}
    for span in spans:
        traces.setdefault(f"tr-{span.context.trace_id:032x}", []).append(span)
    return traces
