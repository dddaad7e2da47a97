"""Sends one trace the way this environment would, and reads it back from the MLflow server."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.environment_variables import (
    OTEL_ATTRIBUTE_COUNT_LIMIT,
    OTEL_SDK_DISABLED,
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT,
    OTEL_TRACES_SAMPLER,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_mlflow_context.context.trace_context import trace_context
from otel_mlflow_context.facts.metadata import metadata_from_attributes
from otel_mlflow_context.mlflow_client.exporter import MlflowSpanExporter
from otel_mlflow_context.mlflow_client.http.databricks import (
    WorkspaceClient,
    client_of,
    is_workspace_address,
)
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.rest import Client
from otel_mlflow_context.mlflow_client.http.server import (
    is_server_address,
    without_credentials,
)
from otel_mlflow_context.mlflow_client.metrics import ERROR_TYPE, METADATA, SPANS
from otel_mlflow_context.processor.span_processor import MlflowContextSpanProcessor
from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID, PROCESS_FACTS, REQUEST_FACTS
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

NAME: Final = "otel-mlflow-context verify"
"""The name of the probe on the server: its root span, session and user."""

_NEVER: Final = ("always_off", "parentbased_always_off")
_NO_ROUTE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s]*@")
_MIN_SECRET: Final = 4
"""What is shorter is not replaced: it may be a part of words."""


@dataclass(frozen=True)
class FactCheck:
    """One fact, as it was sent and as the server has it; None where it is not there."""

    name: str
    key: str
    sent: str | None
    arrived: str | None = None

    @property
    def ok(self) -> bool:
        """Whether what is known arrived. A fact that is not known does not count."""
        return self.sent is None or self.arrived == self.sent


@dataclass
class Verification:
    """The result of one probe."""

    server: str | None = None
    """The address, without credentials."""
    trace_id: str | None = None
    """The trace that is stored; None when none is."""
    health: str = "sent nothing"
    """What the exporter has sent, dropped and not sent yet, by its own metrics."""
    problem: str | None = None
    """What went wrong, and what to do next."""
    facts: tuple[FactCheck, ...] = ()

    @property
    def ok(self) -> bool:
        return self.problem is None and all(fact.ok for fact in self.facts)

    def as_dict(self) -> dict[str, Any]:
        """The result for machines, without credentials."""
        return {
            "ok": self.ok,
            "server": self.server,
            "trace_id": self.trace_id,
            "problem": self.problem,
            "facts": [
                {name: _printable(value) for name, value in asdict(fact).items()}
                for fact in self.facts
            ],
        }

    def as_text(self) -> str:
        """The result for people: a line for each fact, without credentials."""
        names = max((len(fact.name) for fact in self.facts), default=0)
        keys = max((len(fact.key) for fact in self.facts), default=0)
        known = [fact for fact in self.facts if fact.sent is not None]
        return "\n".join(
            [
                f"server  {self.server or 'none'}",
                f"trace   {self.trace_id or 'none is stored'}",
                f"health  {self.health}",
                "",
                *(f"{it.name:{names}}  {it.key:{keys}}  {self._state(it)}" for it in self.facts),
                "",
                f"{sum(fact.ok for fact in known)} of {len(known)} known facts arrived",
            ]
        )

    def _state(self, fact: FactCheck) -> str:
        sent = _printable(fact.sent)
        if sent is None:
            return "not known"
        if fact.ok:
            return f"arrived: {sent}"
        if self.trace_id is None:
            return f"NOT SENT: {sent}"
        if fact.arrived is None:
            return f"MISSING: {sent}"
        return f"DIFFERS: {sent}, arrived as {_printable(fact.arrived)}"


class _Problem(Exception):  # noqa: N818  # what the user reads, not a mistake in the code
    """Why the probe ended, and what to do next."""


def verify(*, timeout: float = 10.0) -> Verification:
    """Send one probe trace as the environment configures it, and read it back from the server.

    Nothing that the environment or the server does wrong is raised: it is the result's `problem`.

    Args:
        timeout: seconds to wait for the server, at each step.
    """
    result = Verification()
    try:
        root = _probe()
        result.facts = _facts(root)
        with contextlib.closing(_client()) as client:
            result.server = client.server.name
            if isinstance(client, WorkspaceClient):
                _check_workspace(client, timeout)
            else:
                _check_experiment(client, timeout)
            errors = _send(root, client, timeout, result)
            metadata = _read_back(client, root, timeout, result)
        result.facts = tuple(replace(fact, arrived=metadata.get(fact.key)) for fact in result.facts)
        if not result.ok:
            advice = _first_advice(
                *(errors, client),
                permission="metadata needs EDIT permission on the experiment",
                no_route="({}) a proxy must let PATCH of /api/2.0/mlflow/traces/ pass",
            )
            what = "their metadata" if errors else "all their metadata"
            result.problem = _safe(f"the spans are stored, but not {what}: {advice}")
    except _Problem as problem:
        result.problem = _safe(str(problem))
    except Exception as error:
        result.problem = _safe(f"{type(error).__name__}: {error}")
    return result


# --- The steps -------------------------------------------------------------------------------


def _probe() -> ReadableSpan:
    """A root span that has ended, with the facts on it."""
    if (sampler := os.environ.get(OTEL_TRACES_SAMPLER, "").strip().lower()) in _NEVER:
        raise _Problem(f"{OTEL_TRACES_SAMPLER}={sampler}: nothing is sent from here; unset it")
    # A sampler that keeps a part of the traces must keep this one.
    provider = TracerProvider(resource=Resource.create(), sampler=ALWAYS_ON)
    provider.add_span_processor(MlflowContextSpanProcessor())
    with trace_context(session_id=NAME, user_id=NAME):
        span = provider.get_tracer("otel_mlflow_context").start_span(NAME)
    span.end()
    provider.shutdown()
    if not isinstance(span, ReadableSpan):
        raise _Problem(f"{OTEL_SDK_DISABLED} is set: nothing is sent from here; unset it")
    if span.dropped_attributes:
        raise _Problem(
            f"{span.dropped_attributes} facts find no place on the root span: raise "
            f"{OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT} or {OTEL_ATTRIBUTE_COUNT_LIMIT}"
        )
    return span


def _facts(root: ReadableSpan) -> tuple[FactCheck, ...]:
    declared = current_settings().metadata_keys
    sent = metadata_from_attributes(root.attributes or {}, declared)
    names = {
        fact.metadata: fact.name
        for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
        if fact.metadata != MLFLOW_CLIENT_REQUEST_ID  # no metadata, and no request is here
    }
    names |= {key: key for key in (*declared, *sent) if key not in names}
    return tuple(FactCheck(name, key, sent.get(key)) for key, name in names.items())


def _client() -> Client:
    uri = os.environ.get(env.MLFLOW_TRACKING_URI, "").strip()
    if not is_workspace_address(uri) and not is_server_address(uri):
        got = f"is {without_credentials(uri)!r}" if uri else "is not set"
        raise _Problem(
            f"{env.MLFLOW_TRACKING_URI} {got}: set it to the http(s) address of an MLflow server, "
            "for example http://localhost:5000, or to databricks"
        )
    try:
        return client_of(uri, connections=1)
    except ValueError as error:  # a package is missing
        raise _Problem(str(error)) from None


def _check_workspace(client: WorkspaceClient, timeout: float) -> None:
    """Check the login, and that it is known where traces are stored."""
    experiment_id = os.environ.get(env.MLFLOW_EXPERIMENT_ID)
    name = os.environ.get(env.MLFLOW_EXPERIMENT_NAME)
    try:
        _ = client.server.url  # logs in
        client.destination(experiment_id, name, time.monotonic() + timeout)
    except ServerUnavailable as error:
        raise _Problem(
            f"the workspace does not answer ({error}): set {env.DATABRICKS_HOST} and "
            f"{env.DATABRICKS_TOKEN}, or correct them, or the profile in ~/.databrickscfg"
        ) from None
    except RequestRejected as rejected:
        is_advice = rejected.status == HTTPStatus.NOT_FOUND
        raise _Problem(rejected.reason if is_advice else _advice(rejected, client)) from None


def _check_experiment(client: Client, timeout: float) -> None:
    """Check address, credentials and experiment, which is made when missing.

    As for the exporter, an id takes the place of a name.
    """
    deadline = time.monotonic() + timeout
    given = os.environ.get(env.MLFLOW_EXPERIMENT_ID)
    name = os.environ.get(env.MLFLOW_EXPERIMENT_NAME) or "Default"
    what = f"{env.MLFLOW_EXPERIMENT_ID}={given}" if given else f"experiment {name!r}"
    try:
        experiment_id = given or client.experiment_id(name, deadline)
        answer = client.call(
            "GET", "/api/2.0/mlflow/experiments/get", {"experiment_id": experiment_id}, deadline
        )
        deleted = answer["experiment"].get("lifecycle_stage") == "deleted"
    except ServerUnavailable as error:
        raise _Problem(_advice(error, client)) from None
    except RequestRejected as rejected:
        if given and rejected.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, 500):
            raise _Problem(
                f"{what} is no experiment of this server ({rejected}): correct it, or unset it "
                f"and set {env.MLFLOW_EXPERIMENT_NAME}"
            ) from None
        if rejected.status == HTTPStatus.NOT_FOUND:
            raise _Problem(
                f"this is no MLflow server's address, its REST API is not there ({rejected}): "
                f"correct {env.MLFLOW_TRACKING_URI}; a server behind a path needs the path too"
            ) from None
        raise _Problem(
            f"{what} can be neither found nor made: {_advice(rejected, client)}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _Problem(
            "what answers is no MLflow server, but perhaps a login page or a redirect: correct "
            f"{env.MLFLOW_TRACKING_URI} (http or https? a path?) and the credentials"
        ) from None
    if deleted:
        raise _Problem(
            f"{what} is deleted, nobody would see its traces: restore it "
            f"(`mlflow experiments restore --experiment-id {experiment_id}`) or choose another"
        )


def _send(
    root: ReadableSpan, client: Client, timeout: float, result: Verification
) -> list[Exception | str]:
    """Export the probe, and return what the exporter has logged."""
    reader = InMemoryMetricReader()
    with _logged_errors() as errors:
        exporter = MlflowSpanExporter(timeout=timeout, meter_provider=MeterProvider([reader]))
        stored = exporter.export([root]) is SpanExportResult.SUCCESS
        exporter.shutdown()
    result.health = _health(reader)
    if not stored:
        no_route = (
            "the server takes no traces at /v1/traces ({}): it is older than MLflow 3.6, upgrade "
            "it; or a proxy does not pass this path on"
        )
        advice = _first_advice(errors, client, no_route=no_route)
        raise _Problem(f"the trace is not stored: {advice}")
    return errors


def _health(reader: InMemoryMetricReader) -> str:
    labels = {SPANS: "spans", METADATA: "traces' metadata"}
    data = reader.get_metrics_data()
    counts = [
        (labels[metric.name], point)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name in labels
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint) and point.value
    ]
    return ", ".join(
        f"{point.value} {label} {f'dropped ({reason})' if reason else 'sent'}"
        for label, point in counts
        for reason in [(point.attributes or {}).get(ERROR_TYPE)]
    )


def _read_back(
    client: Client, root: ReadableSpan, timeout: float, result: Verification
) -> dict[str, str]:
    trace_id = f"{root.context.trace_id:032x}"
    try:
        metadata = client.metadata(trace_id, time.monotonic() + timeout)
    except (ServerUnavailable, RequestRejected) as error:
        if isinstance(error, RequestRejected) and error.status == HTTPStatus.NOT_FOUND:
            raise _Problem(
                "the server took the trace but does not have it: see that "
                f"{env.MLFLOW_TRACKING_URI} leads to MLflow itself and not to a Collector, and "
                "look at the server's log"
            ) from None
        problem = _advice(
            error, client, permission="reading needs READ permission on the experiment"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        problem = "the answer is not MLflow's; see what is between here and the server"
    else:
        problem = ""
    result.trace_id = client.mlflow_trace_id(trace_id)
    if problem:
        raise _Problem(f"the trace is stored, but cannot be read back: {problem}")
    return metadata


@contextlib.contextmanager
def _logged_errors() -> Iterator[list[Exception | str]]:
    """What the package logs: the errors in it where there are, else the message."""
    errors: list[Exception | str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arguments = record.args if isinstance(record.args, tuple) else ()
            raised = record.exc_info[1] if record.exc_info else None
            found = [it for it in (*arguments, raised) if isinstance(it, Exception)]
            errors.extend(found or [record.getMessage()])

    logger = logging.getLogger("otel_mlflow_context")
    listener, propagated = Listener(logging.WARNING), logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagated


# --- What to do next -------------------------------------------------------------------------


def _first_advice(errors: list[Exception | str], client: Client, **options: str) -> str:
    for error in errors:
        if isinstance(error, (RequestRejected, ServerUnavailable)):
            return _advice(error, client, **options)
    texts = [it if isinstance(it, str) else f"{type(it).__name__}: {it}" for it in errors]
    return "; ".join(texts) or "no reason was given, look at the server's log"


def _advice(
    error: RequestRejected | ServerUnavailable,
    client: Client,
    *,
    permission: str = "sending needs EDIT permission on the experiment",
    no_route: str = "",
) -> str:
    if isinstance(error, ServerUnavailable):
        if "SSLError" in str(error):
            return (
                f"the server's TLS certificate is not trusted ({error}): set "
                f"{env.MLFLOW_TRACKING_SERVER_CERT_PATH} to its authority's"
            )
        return (
            f"nobody answers there in time ({error}): see that the server runs, that "
            f"{env.MLFLOW_TRACKING_URI} is its address, and that no proxy or firewall is between"
        )
    if no_route and error.status in _NO_ROUTE:
        return no_route.format(error)
    advice = client.server.advice.get(error.status, "").removeprefix("; ")
    if error.status == HTTPStatus.UNAUTHORIZED:
        return f"the server does not accept the credentials ({error}): {advice}"
    if error.status == HTTPStatus.FORBIDDEN and isinstance(client, WorkspaceClient):
        return f"no permission ({error}): {advice}"
    if error.status == HTTPStatus.FORBIDDEN:
        return f"no permission ({error}): {permission}; ask for it, or use other credentials"
    return f"the server refuses ({error}): look at the server's log"


# --- Credentials -----------------------------------------------------------------------------


def _printable(value: str | None) -> str | None:
    return None if value is None else _USER_INFO.sub("", value)


def _safe(text: str) -> str:
    """A text without the credentials, which a server or a proxy may have quoted."""
    for secret in _secrets(os.environ):
        text = text.replace(secret, "***")
    return _printable(text) or ""


def _secrets(environ: Mapping[str, str]) -> list[str]:
    user = environ.get(env.MLFLOW_TRACKING_USERNAME, "")
    password = environ.get(env.MLFLOW_TRACKING_PASSWORD, "")
    try:
        in_uri = urlsplit(environ.get(env.MLFLOW_TRACKING_URI, "").strip())
        uri_user, uri_password = in_uri.username or "", in_uri.password or ""
    except ValueError:
        uri_user = uri_password = ""
    pairs = ((user, password), (uri_user, uri_password), (unquote(uri_user), unquote(uri_password)))
    basic = [base64.b64encode(f"{name}:{word}".encode()).decode() for name, word in pairs if word]
    tokens = (env.MLFLOW_TRACKING_TOKEN, env.DATABRICKS_TOKEN, env.DATABRICKS_CLIENT_SECRET)
    found = {password, *(environ.get(it, "") for it in tokens), *basic}
    found |= {word for _, word in pairs}
    return sorted((it for it in found if len(it) >= _MIN_SECRET), key=len, reverse=True)
