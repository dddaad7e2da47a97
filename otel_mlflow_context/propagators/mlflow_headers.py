"""The propagator `mlflow_headers`: session, user and request id from headers to baggage.

By default ``X-Session-ID``, ``X-User-ID``, ``X-Request-ID``. MLflow itself defines no headers.
"""

from __future__ import annotations

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.propagators import textmap

from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.settings import current_settings


class MlflowHeadersPropagator(textmap.TextMapPropagator):
    """Reads session, user and request id from headers of a request: ``OTEL_PROPAGATORS``.

    ``X-Session-ID``, ``X-User-ID`` and ``X-Request-ID`` (setting `request_headers`) become
    baggage before the server's span starts, whatever the framework; baggage that came with the
    request wins. **Anybody can send these headers**: use it behind a front end that sets or
    removes them, or name in the setting `inbound_keys` what may come in.
    """

    def extract(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,
    ) -> Context:
        context = context_api.get_current() if context is None else context
        settings = current_settings()
        for key, header in settings.request_headers.items():
            if not settings.accepts(key) or baggage.get_baggage(key, context) is not None:
                continue
            value = request_value(key, _header(carrier, header, getter), settings)
            if value is not None:
                context = baggage.set_baggage(key, value, context)
        return context

    def inject(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,
    ) -> None:
        """Nothing: what was read goes on as baggage."""

    @property
    def fields(self) -> set[str]:
        return set()


def _header(
    carrier: textmap.CarrierT, name: str, getter: textmap.Getter[textmap.CarrierT]
) -> str | None:
    # Some carriers ignore case: ASGI's and WSGI's do, gRPC's and a dict's do not.
    for spelling in (name, name.lower()):
        values = getter.get(carrier, spelling)
        if values:
            return next(iter(values), None)
    return None
