"""The propagator `trusted_baggage`: W3C baggage, for trusted hosts only."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import MutableMapping
from typing import Final

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators import textmap
from opentelemetry.trace import get_current_span

from otel_mlflow_context.propagators.outgoing_baggage import inject_baggage, log_once
from otel_mlflow_context.propagators.trusted_hosts import is_trusted
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

_BAGGAGE: Final = "baggage"  # the W3C header, and OpenTelemetry's propagator


class TrustedBaggagePropagator(textmap.TextMapPropagator):
    """W3C baggage that leaves for trusted hosts only: in ``OTEL_PROPAGATORS``, for ``baggage``.

    Where a request goes is read from the client span that is current when it is sent, as
    instrumented HTTP and RPC clients have it. Where that is unknown (a call that is not
    instrumented, a trace that is not sampled) or not among the `trusted_hosts`, no baggage
    goes out, and a ``baggage`` header that is there is removed. Messages get baggage where
    `trusted_messaging` is set. Trace context is not this propagator's: it always goes out.

    Of the baggage that comes in, only the `inbound_keys` are taken.
    """

    def __init__(self) -> None:
        from otel_mlflow_context.context.active_traces import ACTIVE_TRACES

        ACTIVE_TRACES.enabled = True
        self._w3c = W3CBaggagePropagator()
        _warn_of_plain_baggage()

    def extract(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,
    ) -> Context:
        context = context_api.get_current() if context is None else context
        try:
            received = baggage.get_all(self._w3c.extract(carrier, Context(), getter))
        except Exception as error:  # OpenTelemetry's raises for bytes that are no UTF-8
            log_once("baggage of a request cannot be read: %s", error)
            return context
        for key, value in received.items():
            if current_settings().accepts(key):
                context = baggage.set_baggage(key, value, context)
        return context

    def inject(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,
    ) -> None:
        context = context_api.get_current() if context is None else context
        if not inject_baggage(
            carrier, context, setter, lambda: is_trusted(get_current_span(context))
        ):
            _remove_baggage(carrier)

    @property
    def fields(self) -> set[str]:
        return self._w3c.fields


def _remove_baggage(carrier: object) -> None:
    """A redirect takes the headers of the first request along to wherever it leads."""
    if isinstance(carrier, MutableMapping):
        for key in [key for key in carrier if _is_baggage(key)]:
            del carrier[key]


def _is_baggage(key: object) -> bool:
    return isinstance(key, (str, bytes)) and key.lower() in (_BAGGAGE, _BAGGAGE.encode())


@functools.cache
def _warn_of_plain_baggage() -> None:
    listed = os.environ.get("OTEL_PROPAGATORS", "").split(",")
    if _BAGGAGE in (name.strip() for name in listed):
        _logger.warning(
            'OTEL_PROPAGATORS names "baggage" beside "trusted_baggage": it sends all baggage to '
            'every host; leave "baggage" out'
        )
