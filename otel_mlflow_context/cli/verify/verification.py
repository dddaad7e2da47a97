"""Whether traces of this environment reach MLflow with all their facts: sends one and looks."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.environment_variables import (
    OTEL_ATTRIBUTE_COUNT_LIMIT,
    OTEL_SDK_DISABLED,
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT,
    OTEL_TRACES_SAMPLER,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_mlflow_context.context.trace_context import trace_context
from otel_mlflow_context.facts.metadata import metadata_from_attributes
from otel_mlflow_context.mlflow_client.exporter import MlflowSpanExporter
from otel_mlflow_context.mlflow_client.rest import (
    Client,
    RequestRejected,
    ServerUnavailable,
    server_from,
    without_credentials,
)
from otel_mlflow_context.processor.span_processor import MlflowContextSpanProcessor
from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID, PROCESS_FACTS, REQUEST_FACTS
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

NAME: Final = "otel-mlflow-context verify"
"""What the probe is called on the server: its root span, session and user."""

_NEVER: Final = ("always_off", "parentbased_always_off")
_TOO_OLD: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_VALUE_USER_INFO: Final = re.compile(r"(?<=://)[^/\s]*@")
_NO_SECRET: Final = 3
"""What is not longer than this is hidden nowhere: it would take parts of words with it."""


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


@dataclass(frozen=True)
class Verification:
    """What came of one probe."""

    server: str | None
    """The address, without credentials."""
    trace_id: str | None
    """The trace that is stored; None when none is."""
    problem: str | None
    """What went wrong, and what to do next."""
    facts: tuple[FactCheck, ...]

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
                {
                    "name": fact.name,
                    "key": fact.key,
                    "sent": _printable(fact.sent),
                    "arrived": _printable(fact.arrived),
                }
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
                "",
                *(
                    f"{fact.name:{names}}  {fact.key:{keys}}  {self._state(fact)}"
                    for fact in self.facts
                ),
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


def verify(*, timeout: float = 10.0) -> Verification:
    """Send one probe trace as the environment says, and read it back from the server.

    Nothing that the environment or the server does wrong is raised: it is the result's `problem`.

    Args:
        timeout: seconds to wait for the server, at each step.
    """
    result = Verification(server=None, trace_id=None, problem=None, facts=())
    try:
        root = _probe()
        result = replace(result, facts=_facts(root))
        client = _client()
        result = replace(result, server=without_credentials(client.server.url))
        with contextlib.closing(client):
            _check_experiment(client, timeout)
            said = _send(root, timeout)
            trace_id, metadata = _read_back(client, root, timeout)
        arrived = tuple(replace(fact, arrived=metadata.get(fact.key)) for fact in result.facts)
        result = replace(result, trace_id=trace_id, facts=arrived)
        if not result.ok:
            result = replace(result, problem=_safe(_why_missing(said)))
    except _Problem as problem:
        result = replace(result, trace_id=problem.trace_id, problem=_safe(str(problem)))
    except Exception as error:
        result = replace(result, problem=_safe(f"{type(error).__name__}: {error}"))
    return result


class _Problem(Exception):  # noqa: N818  # what the user reads, not a mistake in the code
    """Why the probe ended, and what to do next; with the trace that is stored nevertheless."""

    def __init__(self, text: str, trace_id: str | None = None) -> None:
        super().__init__(text)
        self.trace_id = trace_id


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
    sent = metadata_from_attributes(root.attributes or {})
    names = {
        fact.metadata: fact.name
        for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
        if fact.metadata != MLFLOW_CLIENT_REQUEST_ID  # no metadata, and no request is here
    }
    names |= {key: key for key in (*current_settings().metadata_keys, *sent) if key not in names}
    return tuple(FactCheck(name, key, sent.get(key)) for key, name in names.items())


def _client() -> Client:
    uri = os.environ.get(env.MLFLOW_TRACKING_URI, "").strip()
    try:
        return Client(server_from(os.environ), connections=1)
    except ValueError:
        got = f"is {without_credentials(uri)!r}" if uri else "is not set"
        raise _Problem(
            f"{env.MLFLOW_TRACKING_URI} {got}: set it to the http(s) address of an MLflow server, "
            "for example http://localhost:5000"
        ) from None


def _check_experiment(client: Client, timeout: float) -> None:
    """See that somebody answers, knows us, and has the experiment, which is made when missing.

    The exporter chooses in the same way: an id takes the place of a name.
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
        raise _Problem(_why_unavailable(error)) from None
    except RequestRejected as refused:
        if given and refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, 500):
            raise _Problem(
                f"{what} is no experiment of this server ({refused}): correct it, or unset it "
                f"and set {env.MLFLOW_EXPERIMENT_NAME}"
            ) from None
        if refused.status == HTTPStatus.NOT_FOUND:
            raise _Problem(
                f"this is no MLflow server's address, its REST API is not there ({refused}): "
                f"correct {env.MLFLOW_TRACKING_URI}; a server behind a path needs the path too"
            ) from None
        raise _Problem(f"{what} can be neither found nor made: {_why_refused(refused)}") from None
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


def _send(root: ReadableSpan, timeout: float) -> list[Exception | str]:
    """Export the probe, and return what the exporter had to complain about."""
    with _complaints() as said:
        exporter = MlflowSpanExporter(timeout=timeout)
        stored = exporter.export([root]) is SpanExportResult.SUCCESS
        exporter.shutdown()
    if not stored:
        raise _Problem(_why_not_stored(said))
    return said


def _read_back(client: Client, root: ReadableSpan, timeout: float) -> tuple[str, dict[str, str]]:
    trace_id = f"tr-{root.context.trace_id:032x}"
    try:
        answer = client.call(
            "GET", f"/api/3.0/mlflow/traces/{trace_id}", {}, time.monotonic() + timeout
        )
        return trace_id, dict(answer["trace"]["trace_info"].get("trace_metadata") or {})
    except ServerUnavailable as error:
        why = _why_unavailable(error)
    except RequestRejected as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            raise _Problem(
                "the server took the trace but does not have it: see that "
                f"{env.MLFLOW_TRACKING_URI} leads to MLflow itself and not to a Collector, and "
                "look at the server's log"
            ) from None
        why = _why_refused(refused, "reading needs READ permission on the experiment")
    except (ValueError, KeyError, TypeError, AttributeError):
        why = "the answer is not MLflow's; see what stands between here and the server"
    raise _Problem(f"the trace is stored, but cannot be read back: {why}", trace_id)


@contextlib.contextmanager
def _complaints() -> Iterator[list[Exception | str]]:
    """What the package logs: the errors in it where there are, else the message."""
    said: list[Exception | str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arguments = record.args if isinstance(record.args, tuple) else ()
            raised = record.exc_info[1] if record.exc_info else None
            errors = [it for it in (*arguments, raised) if isinstance(it, Exception)]
            said.extend(errors or [record.getMessage()])

    logger = logging.getLogger("otel_mlflow_context")
    listener, propagated = Listener(logging.WARNING), logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagated


# --- What to do next -------------------------------------------------------------------------


def _why_unavailable(error: ServerUnavailable) -> str:
    if "SSLError" in str(error):
        return (
            f"the server's TLS certificate is not trusted ({error}): set "
            f"{env.MLFLOW_TRACKING_SERVER_CERT_PATH} to its authority's"
        )
    return (
        f"nobody answers there in time ({error}): see that the server runs, that "
        f"{env.MLFLOW_TRACKING_URI} is its address, and that no proxy or firewall is between"
    )


def _why_refused(refused: RequestRejected, needed: str = "") -> str:
    if refused.status == HTTPStatus.UNAUTHORIZED:
        return (
            f"the server does not know who asks ({refused}): set {env.MLFLOW_TRACKING_USERNAME} "
            f"and {env.MLFLOW_TRACKING_PASSWORD}, or {env.MLFLOW_TRACKING_TOKEN}, or correct them"
        )
    if refused.status == HTTPStatus.FORBIDDEN:
        needed = needed or "sending needs EDIT permission on the experiment"
        return f"no permission ({refused}): {needed}; ask for it, or use other credentials"
    return f"the server refuses ({refused}): look at the server's log"


def _why_not_stored(said: list[Exception | str]) -> str:
    for error in said:
        if isinstance(error, RequestRejected) and error.status in _TOO_OLD:
            return (
                f"the server takes no traces at /v1/traces ({error}): it is older than MLflow 3.6, "
                "upgrade it; or a proxy does not pass this path on"
            )
        if isinstance(error, RequestRejected):
            return f"the trace is not stored: {_why_refused(error)}"
        if isinstance(error, ServerUnavailable):
            return f"the trace is not stored: {_why_unavailable(error)}"
    return f"the trace is not stored: {_listed(said)}"


def _why_missing(said: list[Exception | str]) -> str:
    for error in said:
        if isinstance(error, RequestRejected) and error.status in _TOO_OLD:
            return (
                f"the spans are stored, but not their metadata ({error}): a proxy must let PATCH "
                "of /api/2.0/mlflow/traces/ pass"
            )
        if isinstance(error, RequestRejected):
            why = _why_refused(error, "metadata needs EDIT permission on the experiment")
            return f"the spans are stored, but not their metadata: {why}"
        if isinstance(error, ServerUnavailable):
            return f"the spans are stored, but not their metadata: {_why_unavailable(error)}"
    return f"the spans are stored, but not all their metadata: {_listed(said)}"


def _listed(said: list[Exception | str]) -> str:
    texts = [it if isinstance(it, str) else f"{type(it).__name__}: {it}" for it in said]
    return "; ".join(texts) or "no reason was given, look at the server's log"


# --- Credentials -----------------------------------------------------------------------------


def _printable(value: str | None) -> str | None:
    return None if value is None else _VALUE_USER_INFO.sub("", value)


def _safe(text: str) -> str:
    """A text without our credentials, which a server or a proxy may have quoted."""
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
    found = {password, environ.get(env.MLFLOW_TRACKING_TOKEN, ""), *basic}
    found |= {word for _, word in pairs}
    return sorted((it for it in found if len(it) > _NO_SECRET), key=len, reverse=True)
