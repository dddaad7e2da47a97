"""A client of MLflow's REST API that does without mlflow.

Address and credentials come from MLflow's own variables (mlflow/environment_variables.py and
mlflow/utils/rest_utils.py document them).
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, Final

import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation
from urllib3.exceptions import NewConnectionError

from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.server import Server
from otel_mlflow_context.semconv import PLUGIN_PATH

_TRANSIENT: Final = frozenset({429, 502, 503, 504})
"""Statuses that ask for a retry: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes"""
_OF_PROXIES: Final = frozenset({502, 504})
"""Those of them that a proxy gives for a server that may still be at work."""
_NO_CONNECTION: Final = "QueuePool limit of size"
"""In MLflow's 400 where its database had no connection free for 30 s (mlflow/store/db/utils.py
makes BAD_REQUEST of SQLAlchemy's TimeoutError)."""
_DICE: Final = random.Random()  # noqa: S311  # the application's own stays as it is seeded
_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 5.0
_NUMBER: Final = re.compile("[0-9]{1,4}")
_REASON_LENGTH: Final = 200
_NO_SECRETS: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length"),
        *("content-type", "host", "user-agent"),
        *("x-mlflow-experiment-id", "x-mlflow-run-id", "x-mlflow-workspace"),
    }
)
"""The names of all request headers but those of plugins and credentials."""
_MIN_SECRET: Final = 4
"""Characters: shorter ones are in every text."""
_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1_000
_SETS_REQUEST_IDS: Final = (3, 11)
"""Since then a trace that has spans takes a client request id; 3.10 lost its previews over it, and
before, the call failed or was lost. There it is made before the spans, which finds no fault with
any version; but from 3.12 on spans with tokens that come after it do not extend the trace."""


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Metadata, tags or params as MLflow's REST API takes them.

    >>> pairs({"app_version": "1.10"})
    [{'key': 'app_version', 'value': '1.10'}]
    """
    return [{"key": key, "value": value} for key, value in values.items()]


@dataclass(frozen=True)
class TraceUpdate:
    """Metadata for a trace whose spans are stored."""

    trace_id: str
    """``tr-`` and the 32 hex digits of OpenTelemetry's id."""
    metadata: Mapping[str, str]
    client_request_id: str | None
    start_ns: int
    end_ns: int
    state: str
    """"OK" or "ERROR"."""
    failures: int = 0
    """How often the server has failed at it."""
    uncertain: bool = False
    """Whether its spans may not be stored: the server took them and gave no answer."""


class Client:
    """The calls to one server, over connections that are kept. May be used by many threads.

    Args:
        server: the server.
        connections: that are kept at most.
        run_id: of the run that spans are linked to.
    """

    spans_path = "/v1/traces"
    """Of its OTLP endpoint."""

    def __init__(self, server: Server, *, connections: int, run_id: str | None = None) -> None:
        self.server = server
        self.run_id = run_id
        self._connections = connections
        self._session = self._new_session()
        self._process = os.getpid()
        self._version: tuple[int, ...] | None = None

    def send(self, request: requests.PreparedRequest, deadline: float) -> requests.Response:
        """Send a request, with credentials, until there is an answer that is not "later".

        Args:
            request: with its URL and body.
            deadline: of `time.monotonic`, in seconds; no attempt goes past it.

        Raises:
            ServerUnavailable, RequestRejected
        """
        return _retry(deadline, lambda timeout: self._attempt(request, timeout))

    def call(self, method: str, path: str, body: dict[str, Any], deadline: float) -> Any:
        """Call a path of MLflow's REST API, and return its answer."""
        request = requests.Request(
            method,
            f"{self.server.url}{path}",
            params=body if method == "GET" else None,
            json=None if method == "GET" else body,
        )
        answer = self.send(request.prepare(), deadline)
        return answer.json() if answer.content else {}

    def destination(
        self, experiment_id: str | None, experiment_name: str | None, deadline: float
    ) -> str:
        """Find where spans are stored, by the id or the name of an experiment; returns its id.

        Raises:
            ServerUnavailable, RequestRejected
        """
        return experiment_id or self.experiment_id(experiment_name or "Default", deadline)

    def spans_headers(self, experiment_id: str) -> dict[str, str]:
        """Headers of OTLP requests: where the spans are stored, and the run."""
        run = {"x-mlflow-run-id": self.run_id} if self.run_id else {}
        return {"x-mlflow-experiment-id": experiment_id, **run}

    def experiment_id(self, name: str, deadline: float) -> str:
        """The id of the experiment of a name, which is made when there is none."""
        path = "/api/2.0/mlflow/experiments/"
        for _ in range(2):
            try:
                found = self.call("GET", f"{path}get-by-name", {"experiment_name": name}, deadline)
                return str(found["experiment"]["experiment_id"])
            except RequestRejected as refused:
                if refused.status != HTTPStatus.NOT_FOUND:
                    raise
            try:
                made = self.call("POST", f"{path}create", {"name": name}, deadline)
                return str(made["experiment_id"])
            except RequestRejected as refused:
                # Another process was quicker: then it is there by now.
                if refused.status != HTTPStatus.BAD_REQUEST:
                    raise
        raise ServerUnavailable(f"experiment {name!r} can be neither found nor made")

    def write(self, trace: TraceUpdate, experiment_id: str, deadline: float) -> None:
        """Write metadata, and the client request id, beside spans that are stored already."""
        if trace.uncertain:  # a POST would make a trace without spans
            self._patch_trace_info(trace, deadline)
        if trace.client_request_id and self.sets_request_ids(deadline):
            try:
                self.create_trace_info(trace, experiment_id, deadline)
            except (
                RequestRejected
            ):  # 3.11 and 3.12 do so where somebody has tagged the trace: then without
                self._patch_trace_info(trace, deadline)
        elif not trace.uncertain:
            self._patch_trace_info(trace, deadline)

    def _patch_trace_info(self, trace: TraceUpdate, deadline: float) -> None:
        """The one call that has no side effect on any server since 3.6.

        Spans that come later still extend the trace.
        """
        self.call(
            "PATCH",
            f"/api/2.0/mlflow/traces/{trace.trace_id}",
            {
                "request_id": trace.trace_id,
                "timestamp_ms": trace.end_ns // _NS_PER_MS,
                "status": trace.state,
                "request_metadata": pairs(trace.metadata),
                "tags": [],
            },
            deadline,
        )

    def create_trace_info(self, trace: TraceUpdate, experiment_id: str, deadline: float) -> None:
        """The one call that sets a client request id.

        It overwrites time, duration and state with what is sent, and from 3.12 on spans that
        come later and carry tokens, a cost or a session do not extend the trace any more.
        """
        location = {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": experiment_id},
        }
        info = {**self.trace_info(trace), "trace_location": location}
        self.call("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}}, deadline)

    def trace_info(self, trace: TraceUpdate) -> dict[str, Any]:
        """MLflow's `TraceInfo` as JSON, without its location."""
        # As MLflow rounds: each end by itself, and not what lies between.
        start_ms, end_ms = trace.start_ns // _NS_PER_MS, trace.end_ns // _NS_PER_MS
        start = datetime.fromtimestamp(start_ms / _MS_PER_S, tz=timezone.utc)
        request_id = trace.client_request_id
        return {
            "trace_id": trace.trace_id,
            **({"client_request_id": request_id} if request_id else {}),
            "request_time": start.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "execution_duration": f"{(end_ms - start_ms) / _MS_PER_S:.3f}s",
            "state": trace.state,
            "trace_metadata": dict(trace.metadata),
            "tags": {},
        }

    def mlflow_trace_id(self, otel_trace_id: str) -> str:
        """MLflow's id of a trace, by the 32 hex digits of OpenTelemetry's."""
        return f"tr-{otel_trace_id}"

    def metadata(self, otel_trace_id: str, deadline: float) -> dict[str, str]:
        """Read the metadata of a trace that is stored.

        Raises:
            ServerUnavailable, RequestRejected
            ValueError, KeyError, TypeError, AttributeError: the answer is not MLflow's.
        """
        answer = self._trace(otel_trace_id, deadline)
        return dict(answer["trace"]["trace_info"].get("trace_metadata") or {})

    def _trace(self, otel_trace_id: str, deadline: float) -> Any:
        path = f"/api/3.0/mlflow/traces/{self.mlflow_trace_id(otel_trace_id)}"
        return self.call("GET", path, {}, deadline)

    def sets_request_ids(self, deadline: float) -> bool:
        """Whether a trace whose spans are stored can still get a client request id.

        Raises:
            ServerUnavailable: the server does not answer.
        """
        if self._version is None:
            request = requests.Request("GET", f"{self.server.url}/version")
            try:
                text = self.send(request.prepare(), deadline).text
            except RequestRejected:  # something in between that lets only the API pass
                text = ""
            self._version = tuple(int(number) for number in _NUMBER.findall(text)[:2])
        return self._version >= _SETS_REQUEST_IDS

    def has_plugin(self, deadline: float) -> bool:
        """Whether the server makes metadata of the spans itself: see `otel_mlflow_context.server`.

        Raises:
            ServerUnavailable: it gives no answer.
        """
        try:
            answer = self.call("GET", PLUGIN_PATH, {}, deadline)
        except (RequestRejected, ValueError):  # a page, from something in between
            return False
        return isinstance(answer, dict) and "version" in answer

    def close(self) -> None:
        self._session.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=self._connections)
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session

    def _attempt(self, request: requests.PreparedRequest, timeout: float) -> requests.Response:
        answer = self._once(request, timeout)
        if answer.status_code == HTTPStatus.UNAUTHORIZED and self.server.credentials.renew():
            answer = self._once(request, timeout)  # a token may have expired
        return answer

    def _once(self, request: requests.PreparedRequest, timeout: float) -> requests.Response:
        if self._process != os.getpid():
            # A forked process must not use its parent's connections.
            self._session, self._process = self._new_session(), os.getpid()
        with suppress_instrumentation():
            self.server.credentials.add_to(request)
            return self._session.send(
                request,
                timeout=timeout,
                verify=self.server.verify,
                cert=self.server.cert,
                allow_redirects=False,
                proxies=requests.utils.get_environ_proxies(self.server.url),
            )


def _retry(deadline: float, attempt: Callable[[float], requests.Response]) -> requests.Response:
    wait = _FIRST_WAIT
    why = "no time was left"
    uncertain = False
    while (left := deadline - time.monotonic()) > 0:
        asked_to_wait = 0.0
        try:
            answer = attempt(left)
        except ServerUnavailable as error:  # no credentials can be had
            why = str(error)
        except (requests.ConnectionError, requests.Timeout) as error:
            why = type(error).__name__
            uncertain = uncertain or not _never_connected(error)
        except requests.RequestException as error:
            raise RequestRejected(0, type(error).__name__) from None
        else:
            # A redirect is no success: it leads to a login page.
            if HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
                return answer
            reason = _reason(answer)
            if not _is_transient(answer.status_code, reason):
                raise RequestRejected(answer.status_code, reason)
            why = f"{answer.status_code}: {reason}"
            uncertain = uncertain or answer.status_code in _OF_PROXIES
            asked_to_wait = _seconds(answer.headers.get("Retry-After", ""))
        # Jitter, so that the processes that one server turned away do not come back as one.
        pause = max(asked_to_wait, wait * _DICE.uniform(0.5, 1.0))
        wait = min(wait * 2, _LONGEST_WAIT)
        if time.monotonic() + pause >= deadline:
            break
        time.sleep(pause)
    raise ServerUnavailable(why, uncertain=uncertain)


def _is_transient(status: int, reason: str) -> bool:
    return status in _TRANSIENT or (status == HTTPStatus.BAD_REQUEST and _NO_CONNECTION in reason)


def _never_connected(error: requests.RequestException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _reason(answer: requests.Response) -> str:
    """The text of an answer, in one short line, without credentials that it may quote."""
    text = answer.text
    for name, value in answer.request.headers.items():
        if name.lower() not in _NO_SECRETS:
            for secret in (str(value), str(value).partition(" ")[2]):
                if len(secret) >= _MIN_SECRET:
                    text = text.replace(secret, "***")
    return " ".join(text.split())[:_REASON_LENGTH]


def _seconds(text: str) -> float:
    return float(text) if text.strip().isdigit() else 0.0
