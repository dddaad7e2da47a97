"""Propagators: who asks comes in with a request's headers, and leaves only for trusted hosts."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import Span, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.semconv import USER_ID
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

_BAGGAGE: Final = "baggage"  # the W3C header, and OpenTelemetry's propagator
# What instrumentations of HTTP and RPC clients say of where a request goes, in the names of the
# semantic conventions before and since 1.23.
_URLS: Final = ("url.full", "http.url")
_HOSTS: Final = ("server.address", "net.peer.name", "net.peer.ip", "http.host")
_MESSAGING: Final = "messaging.system"


class MlflowHeadersPropagator(TextMapPropagator):
    """Reads session, user and request id from headers of a request: ``OTEL_PROPAGATORS``.

    ``X-Session-ID``, ``X-User-ID`` and ``X-Request-ID`` (setting `request_headers`) become
    baggage before the server's span starts, whatever the framework; baggage that came with the
    request wins. **Anybody can send these headers**: use it behind a front end that sets or
    removes them, or name in the setting `inbound_keys` what may come in.
    """

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        context = context_api.get_current() if context is None else context
        settings = current_settings()
        for key, header in settings.request_headers.items():
            if not _may_come_in(key) or baggage.get_baggage(key, context) is not None:
                continue
            value = request_value(key, _header(carrier, header, getter), settings)
            if value is not None:
                context = baggage.set_baggage(key, value, context)
        return context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Nothing: what was read goes on as baggage."""

    @property
    def fields(self) -> set[str]:
        return set()


class TrustedBaggagePropagator(TextMapPropagator):
    """W3C baggage that leaves for trusted hosts only: in ``OTEL_PROPAGATORS``, for ``baggage``.

    Where a request goes is read from the client span that is current when it is sent, as
    instrumented HTTP and RPC clients have it. Where that is unknown (a call that is not
    instrumented, a trace that is not sampled) or not among the `trusted_hosts`, no baggage
    goes out, and a ``baggage`` header that is there is removed. Messages take baggage along where
    `trusted_messaging` says so. Trace context is not this propagator's: it always goes out.

    Of the baggage that comes in, only the `inbound_keys` are taken.
    """

    def __init__(self) -> None:
        from otel_mlflow_context.context import active_traces

        active_traces.watch()
        self._w3c = W3CBaggagePropagator()
        _warn_of_plain_baggage()

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        context = context_api.get_current() if context is None else context
        try:
            received = baggage.get_all(self._w3c.extract(carrier, Context(), getter))
        except Exception as error:  # OpenTelemetry's raises for bytes that are no UTF-8
            _log_once("baggage of a request cannot be read: %s", error)
            return context
        for key, value in received.items():
            if _may_come_in(key):
                context = baggage.set_baggage(key, value, context)
        return context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        context = context_api.get_current() if context is None else context
        try:
            if _is_trusted(get_current_span(context)):
                self._w3c.inject(carrier, _for_sending(context), setter)
                return
        except Exception as error:
            _log_once("a call goes out without its baggage: %s", error)
        _remove_baggage(carrier)

    @property
    def fields(self) -> set[str]:
        return self._w3c.fields


# --- Requests of clients that are not instrumented -----------------------------------------------


def outgoing_headers(url: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers that take the trace, and who asks, along to another service.

    For calls that no instrumentation of OpenTelemetry's sees, and for traces of MLflow's SDK,
    whose `get_tracing_context_headers_for_http_request` sends no baggage: ``traceparent`` of the
    current trace of either SDK, and baggage if the URL's host is among the `trusted_hosts`.

    Args:
        url: where the request goes.
        headers: of the request, which are taken along.

    Example:

    >>> from otel_mlflow_context import trace_context
    >>> with trace_context(session_id="s-1"):
    ...     outgoing_headers("http://localhost:8001/search")
    {'baggage': 'session.id=s-1'}
    """
    from otel_mlflow_context.mlflow_client import sdk_internals

    result = {key: value for key, value in (headers or {}).items() if key.lower() != _BAGGAGE}
    mlflow_headers = _of_mlflow("get_tracing_context_headers_for_http_request")
    if mlflow_headers is not None and sdk_internals.active_trace_id():
        result.update(mlflow_headers())
    else:
        TraceContextTextMapPropagator().inject(result)
    if _all_trusted([_host(url)]):
        try:
            W3CBaggagePropagator().inject(result, _for_sending(context_api.get_current()))
        except Exception as error:
            _log_once("a call goes out without its baggage: %s", error)
    return result


@contextmanager
def incoming_headers(headers: Mapping[str, str]) -> Generator[None, None, None]:
    """Take over the trace, and who asks, from the headers of a request: of `outgoing_headers`.

    For services that no instrumentation of OpenTelemetry's serves, and for traces of MLflow's
    SDK, whose `set_tracing_context_from_http_request_headers` it calls where that is loaded. Spans
    that start inside are part of the caller's trace.

    Args:
        headers: of the request, in any case.

    Example:

    >>> from opentelemetry import baggage
    >>> with incoming_headers({"Baggage": "session.id=s-1"}):
    ...     baggage.get_baggage("session.id")
    's-1'
    """
    carrier = {key.lower(): value for key, value in headers.items()}
    context = TraceContextTextMapPropagator().extract(carrier)
    for propagator in (TrustedBaggagePropagator(), MlflowHeadersPropagator()):
        context = propagator.extract(carrier, context)
    mlflow_context = _of_mlflow("set_tracing_context_from_http_request_headers")
    has_caller = get_current_span(context).get_span_context().is_valid
    with mlflow_context(carrier) if mlflow_context and has_caller else nullcontext():
        # MLflow's attaches a context without baggage: ours comes after.
        token = context_api.attach(context)
        try:
            yield
        finally:
            context_api.detach(token)


def _of_mlflow(name: str) -> Callable[..., Any] | None:
    """A public function of MLflow's SDK, where that is loaded and (since 3.9) has it."""
    return getattr(sys.modules.get("mlflow.tracing"), name, None)


# --- In --------------------------------------------------------------------------------------


def _header(carrier: CarrierT, name: str, getter: Getter[CarrierT]) -> str | None:
    # Carriers differ in what they know of case: ASGI and WSGI do, gRPC's and a dict's keys are as
    # they came.
    for spelled in (name, name.lower()):
        values = getter.get(carrier, spelled)
        if values:
            return next(iter(values), None)
    return None


def _may_come_in(key: str) -> bool:
    return any(
        key == allowed or (allowed.endswith("*") and key.startswith(allowed[:-1]))
        for allowed in current_settings().inbound_keys
    )


# --- Out -------------------------------------------------------------------------------------


def _for_sending(context: Context) -> Context:
    """The context with the baggage as it may be sent."""
    from otel_mlflow_context.context import active_traces

    context = active_traces.with_baggage_of_trace(context)
    settings = current_settings()
    if settings.user_id == "plain" or (user_id := baggage.get_baggage(USER_ID, context)) is None:
        return context
    hashed = request_value(USER_ID, user_id, settings)
    if hashed is None:
        return baggage.remove_baggage(USER_ID, context)
    return baggage.set_baggage(USER_ID, hashed, context)


def _is_trusted(span: Span) -> bool:
    """Whether baggage may go where the request of a client's span goes."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    kind = getattr(span, "kind", None)
    if kind is SpanKind.PRODUCER or _MESSAGING in attributes:
        return current_settings().trusted_messaging
    # A server's span has a URL too: its own.
    if kind is not SpanKind.CLIENT:
        return False
    hosts = [_host(str(attributes[name])) for name in _URLS if name in attributes]
    hosts += [str(attributes[name]) for name in _HOSTS if name in attributes]
    return _all_trusted(hosts)


def _host(url: str) -> str:
    """The host of a URL; nothing where it can be read in two ways."""
    try:
        parts = urlsplit(url)
        host, user_info = parts.hostname or "", parts.netloc.rpartition("@")[0]
    except ValueError:
        return ""
    is_plain = url.isprintable() and "\\" not in url and "@" not in user_info
    return host if is_plain and parts.scheme in {"http", "https", "grpc", "ws", "wss"} else ""


def _all_trusted(hosts: Iterable[str]) -> bool:
    hosts = list(hosts)
    return bool(hosts) and all(_trusts(current_settings().trusted_hosts, host) for host in hosts)


@functools.lru_cache(maxsize=1_024)
def _trusts(trusted: tuple[str, ...], host: str) -> bool:
    from ipaddress import ip_address, ip_network

    host = host.strip("[]").rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and any(
            host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in trusted
        )
    address = getattr(address, "ipv4_mapped", None) or address
    networks = (ip_network(name) for name in trusted if name[-1].isdigit() or ":" in name)
    return any(address in network for network in networks if network.version == address.version)


def _remove_baggage(carrier: object) -> None:
    """A redirect takes the headers of the first request along to wherever it leads."""
    if isinstance(carrier, MutableMapping):
        for key in [key for key in carrier if _is_baggage(key)]:
            del carrier[key]


def _is_baggage(key: object) -> bool:
    return isinstance(key, (str, bytes)) and key.lower() in (_BAGGAGE, _BAGGAGE.encode())


_logged: set[str] = set()


def _log_once(message: str, error: Exception) -> None:
    if message not in _logged:
        _logged.add(message)
        # The error's text may hold what could not be read: an id.
        _logger.warning(message, type(error).__name__)


@functools.cache
def _warn_of_plain_baggage() -> None:
    listed = os.environ.get("OTEL_PROPAGATORS", "").split(",")
    if _BAGGAGE in (name.strip() for name in listed):
        _logger.warning(
            'OTEL_PROPAGATORS names "baggage" beside "trusted_baggage": it sends all baggage to '
            'every host; leave "baggage" out'
        )
