"""The exporter: spans to MLflow by OTLP, and the trace metadata of their roots by REST."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from otel_mlflow_context.facts.metadata import metadata_from_attributes
from otel_mlflow_context.facts.span_metadata import metadata_from_span
from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.mlflow_client.metrics import (
    SHUTDOWN,
    UNAVAILABLE,
    ExporterMetrics,
)
from otel_mlflow_context.mlflow_client.span_attributes import with_attributes
from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID, MLFLOW_MODEL_ID, USER_ID
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

try:
    from otel_mlflow_context.mlflow_client.http.databricks import (
        TraceLocation,
        client_of,
        is_workspace_address,
    )
    from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
    from otel_mlflow_context.mlflow_client.http.logged_models import RestCalls
    from otel_mlflow_context.mlflow_client.http.otlp import OtlpSender
    from otel_mlflow_context.mlflow_client.http.rest import Client, TraceUpdate
    from otel_mlflow_context.mlflow_client.logged_models import LoggedModels
    from otel_mlflow_context.mlflow_client.retry_queue import RetryQueue
except ImportError as error:
    raise ImportError(
        f"{error}: MlflowSpanExporter needs more, `pip install 'otel-mlflow-context[otlp]'`"
    ) from error

_logger = logging.getLogger(__name__)

_TIMEOUT: Final = 10.0
"""Seconds for one export: the default of OTEL_EXPORTER_OTLP_TIMEOUT."""
_PLUGIN_TIMEOUT: Final = 1.0
"""Seconds for the question whether the server has the plugin."""
_WORKERS: Final = 8
"""Calls for metadata at once. Each waits 40 ms for the server's delayed acknowledgement."""
_MAX_FAILURES: Final = 3
"""Times that the server may fail at the metadata of a trace before it is given up."""
_INVALID: Final = frozenset({400, 413, 422, 500})
"""Answers that one bad span is enough for: MLflow takes or refuses a batch as a whole."""


class MlflowSpanExporter(SpanExporter):
    """Exports spans to an MLflow server, and writes their traces' metadata.

    MLflow's OTLP endpoint makes trace metadata of session and user only. This exporter sends
    spans with OpenTelemetry's own OTLP exporter, and then, for each trace whose root (or entry
    span, by the setting `trace_boundary`) was among them, writes the facts that
    `MlflowContextSpanProcessor` put there, in one call; a server with this package's plugin does
    that itself, and the exporter looks for it once. It needs no mlflow installed.

    A batch that the server refuses as invalid is sent again in halves, until only the bad trace
    is left out. Metadata that could not be written is kept, and tried again at the next export,
    flush and at shutdown, and while there are none after 5 seconds, 10, and so on to once a minute.
    Use it behind a `BatchSpanProcessor`: an export waits for the server.

    Args:
        tracking_uri: the http(s) address of the server, or ``databricks`` or
            ``databricks://<profile>``; by default ``MLFLOW_TRACKING_URI``.
        experiment_name: is made when missing; by default ``MLFLOW_EXPERIMENT_NAME``, else
            ``Default``.
        experiment_id: takes the place of the name; by default ``MLFLOW_EXPERIMENT_ID``.
        uc_table: with a Databricks workspace, the spans table in Unity Catalog,
            ``<catalog>.<schema>.<prefix>_otel_spans``; by default that of
            ``MLFLOW_TRACING_DESTINATION``, else that which the experiment is linked to.
        metadata_keys: more attributes of the root span to write as metadata.
        versions: link traces to the LoggedModel of their service, version and commit, which is made
            at first sight; by default the setting's.
        timeout: seconds for one export, with all its attempts; by default 10.
        meter_provider: of the exporter's own metrics; by default the global one.

    Credentials, TLS, workspace and run are those of MLflow's own client: of its variables, its file
    and its plugins.

    Raises:
        ValueError: an argument that is not allowed; the message names it.
    """

    def __init__(  # noqa: PLR0913  # by name, each with a default
        self,
        tracking_uri: str | None = None,
        *,
        experiment_name: str | None = None,
        experiment_id: str | None = None,
        uc_table: str | None = None,
        metadata_keys: Iterable[str] | None = None,
        versions: bool | None = None,
        timeout: float | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}")
        if experiment_name and experiment_id:
            raise ValueError("experiment_name and experiment_id: only one of them can be given")
        location = None if uc_table is None else TraceLocation.of_table(uc_table)
        self._settings = current_settings().with_options(
            metadata_keys=metadata_keys, versions=versions
        )
        self._timeout = timeout or _TIMEOUT
        self._experiment_id = experiment_id
        self._experiment_name = experiment_name
        if not experiment_name and not experiment_id:
            self._experiment_id = os.environ.get(env.MLFLOW_EXPERIMENT_ID)
            self._experiment_name = os.environ.get(env.MLFLOW_EXPERIMENT_NAME)
        self._otlp: OtlpSender | None = None
        self._stored_in = ""
        """The id of the experiment, once it is known."""
        self._has_plugin = False
        """Whether the server makes metadata of root spans itself, once that is known."""
        self._metrics = ExporterMetrics(meter_provider)
        self._retry_queue = RetryQueue(self._write_again, self._metrics)
        self._logged: set[str] = set()
        self._shut_down = False
        try:
            self._client = _client(tracking_uri, location)
        except ValueError as error:
            if tracking_uri is not None:
                raise
            # The environment is nobody's code: the application goes on, without its traces.
            _logger.warning("no span is exported to MLflow: %s", error)
            self._shut_down = True
            return
        self._models = LoggedModels(RestCalls(self._client)) if self._settings.versions else None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._shut_down:
            self._metrics.spans(len(spans), SHUTDOWN)
            return SpanExportResult.FAILURE
        deadline = time.monotonic() + self._timeout
        if current_settings().user_id != "plain":
            spans = [_with_allowed_user(span) for span in spans]
        stored: list[ReadableSpan] = []
        uncertain: list[TraceUpdate] = []
        left_out: list[ReadableSpan] = []
        created: set[str] = set()
        error_type: str | None = None
        try:
            if self._otlp is None:
                self._otlp = self._connected(deadline)
            self._create_trace_infos(spans, _halfway_to(deadline), created)
            self._store(self._otlp, list(spans), deadline, stored, left_out)
        except (ServerUnavailable, RequestRejected) as error:
            self._log_once("spans are not stored in", error)
            error_type = _error_type(error)
            if isinstance(error, ServerUnavailable) and error.uncertain:
                lost = self._updates([span for span in spans if span not in stored])
                uncertain = [replace(update, uncertain=True) for update in lost]
        except Exception as error:  # what answers is no MLflow, or a mistake of ours
            self._log_once("spans are not stored in", error, with_traceback=True)
            error_type = type(error).__name__
        self._metrics.spans(len(stored))
        self._metrics.spans(len(spans) - len(stored) - len(left_out), error_type)
        try:
            updates = [it for it in self._updates(stored) if it.trace_id not in created]
            updates = [*self._retry_queue.take(), *updates]
            for update in uncertain:  # for later: the server may still be at work
                self._retry_queue.add(update)
            self._write(updates, deadline)
        except Exception as error:
            self._log_once("metadata is not written to", error, with_traceback=True)
        return SpanExportResult.SUCCESS if len(stored) == len(spans) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Try again to write the metadata in the retry queue. True when none is left."""
        deadline = time.monotonic() + timeout_millis / 1_000
        if not self._shut_down:
            self._write_again(self._retry_queue.take(), deadline)
        return self._retry_queue.join(deadline - time.monotonic())

    def shutdown(self) -> None:
        if self._shut_down:
            return
        self._retry_queue.close()
        self.force_flush(int(self._timeout * 1_000))
        if lost := len(self._retry_queue.take()):
            _logger.warning(
                "%d traces are stored in %s without their metadata", lost, self._client.server.name
            )
            self._metrics.metadata(lost, UNAVAILABLE)
        self._shut_down = True
        self._client.close()

    # --- Spans -------------------------------------------------------------------------------

    def _connected(self, deadline: float) -> OtlpSender:
        self._stored_in = self._client.destination(
            self._experiment_id, self._experiment_name, deadline
        )
        # Not worth a wait: without an answer the exporter writes the metadata, as ever.
        with contextlib.suppress(ServerUnavailable):
            until = min(deadline, time.monotonic() + _PLUGIN_TIMEOUT)
            self._has_plugin = self._client.has_plugin(until)
        return OtlpSender(self._client, self._client.spans_headers(self._stored_in))

    def _store(
        self,
        otlp: OtlpSender,
        spans: list[ReadableSpan],
        deadline: float,
        stored: list[ReadableSpan],
        left_out: list[ReadableSpan],
    ) -> None:
        """Send spans, in parts if need be; they are added to `stored` or to `left_out`.

        Raises:
            ServerUnavailable, RequestRejected: the server takes none of the rest.
        """
        try:
            otlp.send(spans, deadline)
            stored += spans
        except RequestRejected as rejected:
            if rejected.status not in _INVALID:
                raise
            trace_ids, traces = zip(*_by_trace(spans).items(), strict=True)
            if len(traces) == 1:
                _logger.warning("MLflow refused %s, it is left out: %s", trace_ids[0], rejected)
                left_out += spans
                self._metrics.spans(len(spans), _error_type(rejected))
                return
            middle = len(traces) // 2
            for half in (traces[:middle], traces[middle:]):
                part = [span for trace in half for span in trace]
                self._store(otlp, part, deadline, stored, left_out)

    # --- Metadata ----------------------------------------------------------------------------

    def _updates(self, spans: Sequence[ReadableSpan]) -> list[TraceUpdate]:
        """The metadata of the traces whose root or entry span is among the spans."""
        updates = []
        for trace_id, trace in _by_trace(spans).items():
            entry = next(
                (span for span in trace if self._settings.is_trace_boundary(span.parent)), None
            )
            if entry is None:
                continue
            attributes = entry.attributes or {}
            metadata = metadata_from_span(attributes, {}, self._settings)
            is_written_by_plugin = (
                self._has_plugin
                and entry.parent is None
                and metadata == metadata_from_attributes(attributes)
                and (self._models is None or MLFLOW_MODEL_ID in metadata)
            )
            if not metadata or is_written_by_plugin:
                continue
            update = TraceUpdate(
                trace_id,
                # A field of the trace info, among the metadata for its way here only.
                client_request_id=metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None),
                metadata=metadata,
                start_ns=min(span.start_time or 0 for span in trace),
                end_ns=max(span.end_time or 0 for span in trace),
                state="ERROR" if entry.status.status_code is StatusCode.ERROR else "OK",
            )
            updates.append(update)
        return updates

    def _create_trace_infos(
        self, spans: Sequence[ReadableSpan], deadline: float, created: set[str]
    ) -> None:
        """Write request ids before the spans where an old server takes none afterwards.

        The traces are added to `created`. Where this fails the metadata is written after the
        spans, without the request id.
        """
        with_request_id = [it for it in self._updates(spans) if it.client_request_id]

        def create(update: TraceUpdate) -> None:
            with contextlib.suppress(ServerUnavailable, RequestRejected):
                try:
                    linked = self._linked(update, deadline)
                except ServerUnavailable:  # the link is written after the spans
                    self._client.create_trace_info(update, self._stored_in, deadline)
                    return
                self._client.create_trace_info(linked, self._stored_in, deadline)
                created.add(update.trace_id)
                self._metrics.metadata()

        with contextlib.suppress(ServerUnavailable):
            if with_request_id and not self._client.sets_request_ids(deadline):
                _for_each(with_request_id, create)

    def _write_again(self, updates: list[TraceUpdate], deadline: float | None = None) -> None:
        try:
            self._write(updates, deadline or time.monotonic() + self._timeout)
        except Exception as error:
            self._log_once("metadata is not written to", error, with_traceback=True)

    def _write(self, updates: list[TraceUpdate], deadline: float) -> None:
        _for_each(updates, lambda update: self._write_one(update, deadline))

    def _write_one(self, update: TraceUpdate, deadline: float) -> None:
        try:
            try:
                linked = self._linked(update, deadline)
            except ServerUnavailable:  # only the link waits
                self._client.write(update, self._stored_in, deadline)
                raise
            self._client.write(linked, self._stored_in, deadline)
            self._metrics.metadata()
        except ServerUnavailable as error:
            self._retry(update, error)
        except RequestRejected as rejected:
            again = replace(update, failures=update.failures + 1)
            may_retry = update.failures < _MAX_FAILURES
            if update.uncertain and rejected.status == HTTPStatus.NOT_FOUND:
                if may_retry:
                    self._retry_queue.add(again)
                else:
                    self._metrics.metadata(1, _error_type(rejected))
            elif rejected.status == HTTPStatus.INTERNAL_SERVER_ERROR and may_retry:
                # A database that is locked answers so as well as a bug that stays.
                self._retry(again, rejected)
            else:
                self._metrics.metadata(1, _error_type(rejected))
                if rejected.status in _INVALID:
                    message = "MLflow refused the metadata of %s: %s"
                    _logger.warning(message, update.trace_id, rejected)
                else:
                    self._log_once("no metadata is written to", rejected)

    def _linked(self, update: TraceUpdate, deadline: float) -> TraceUpdate:
        """The metadata, with the LoggedModel of its version.

        Raises:
            ServerUnavailable: it is not known yet.
        """
        if self._models is None or not self._stored_in:
            return update
        until = _halfway_to(deadline)
        model_id = self._models.link(update.metadata, self._stored_in, until)
        link = {MLFLOW_MODEL_ID: model_id} if model_id else {}
        return replace(update, metadata={**update.metadata, **link})

    def _retry(self, update: TraceUpdate, error: Exception) -> None:
        self._log_once("metadata waits for", error)
        if not self._retry_queue.add(update):
            self._log_once("metadata of the oldest traces is lost, too much waits for", error)

    def _log_once(self, what: str, error: Exception, *, with_traceback: bool = False) -> None:
        if what not in self._logged:
            self._logged.add(what)
            status = error.status if isinstance(error, RequestRejected) else 0
            advice = self._client.server.advice.get(status, "")
            traceback = error if with_traceback else None
            server = self._client.server.name
            _logger.warning("%s %s: %s%s", what, server, error, advice, exc_info=traceback)


def _client(tracking_uri: str | None, location: TraceLocation | None) -> Client:
    uri = tracking_uri or os.environ.get(env.MLFLOW_TRACKING_URI, "")
    if location is not None and not is_workspace_address(uri):
        if tracking_uri is not None:
            raise ValueError(
                "uc_table can be given only with a Databricks workspace as tracking_uri, "
                "databricks or databricks://<profile>"
            )
        _logger.warning(
            "uc_table is not used: %s is no Databricks workspace", env.MLFLOW_TRACKING_URI
        )
    run_id = os.environ.get(env.MLFLOW_RUN_ID)
    return client_of(uri, connections=_WORKERS, run_id=run_id, location=location)


def _error_type(error: ServerUnavailable | RequestRejected) -> str:
    return str(error.status) if isinstance(error, RequestRejected) else UNAVAILABLE


def _halfway_to(deadline: float) -> float:
    """What comes before the spans may fail, and must leave them time."""
    now = time.monotonic()
    return now + (deadline - now) / 2


def _for_each(updates: list[TraceUpdate], do: Callable[[TraceUpdate], None]) -> None:
    """Do something with each, several at once."""
    remaining = iter(updates)  # of a list: threads may share it

    def work() -> None:
        for update in remaining:
            do(update)

    count = min(_WORKERS, len(updates)) - 1
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    # When Python is ending it starts no thread any more: then this one does all.
    with contextlib.suppress(RuntimeError):
        for thread in threads:
            thread.start()
    work()
    for thread in threads:
        if thread.ident is not None:
            thread.join()


def _with_allowed_user(span: ReadableSpan) -> ReadableSpan:
    """The span with the user's id as the setting `user_id` allows it, whoever wrote it."""
    attributes = span.attributes
    if not attributes or USER_ID not in attributes:
        return span
    others = {key: value for key, value in attributes.items() if key != USER_ID}
    user_id = request_value(USER_ID, attributes[USER_ID], current_settings())
    return with_attributes(span, {**others, USER_ID: user_id} if user_id else others)


def _by_trace(spans: Iterable[ReadableSpan]) -> dict[str, list[ReadableSpan]]:
    """Spans by MLflow's trace id: ``tr-`` and the 32 hex digits of OpenTelemetry's."""
    traces: dict[str, list[ReadableSpan]] = {}
    for span in spans:
        traces.setdefault(f"tr-{span.context.trace_id:032x}", []).append(span)
    return traces
