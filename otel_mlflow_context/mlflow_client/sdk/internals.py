"""Everything of MLflow's SDK and OpenTelemetry's that is used without being public API.

Nothing here imports mlflow: what is not loaded has no trace in memory. Where a private name is not
there any more, that step is left out and logged once.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_mlflow_context.mlflow_client.span_attributes import with_decoded_attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

# `wrapt` and OpenTelemetry's instrumentation utilities are imported where they are used: they load
# a hundred modules, asyncio and ssl among them, that a processor alone does not need.

_logger = logging.getLogger(__name__)

_PROVIDER_MODULE: Final = "mlflow.tracing.provider"
MANAGER_MODULE: Final = "mlflow.tracing.trace_manager"
PRIVATE_NAMES: Final = (
    (_PROVIDER_MODULE, "_get_span_processors"),
    (_PROVIDER_MODULE, "provider.get"),
    (MANAGER_MODULE, "InMemoryTraceManager.get_instance"),
    (MANAGER_MODULE, "InMemoryTraceManager.get_mlflow_trace_id_from_otel_id"),
    (MANAGER_MODULE, "InMemoryTraceManager.get_trace"),
    ("mlflow.tracing.utils.environment", "resolve_env_metadata"),
    ("mlflow.tracing.context", "get_configured_trace_metadata"),
    ("mlflow.tracing.client", "TracingClient.store"),
    ("mlflow.store.tracking.rest_store", "RestStore.deprecated_end_trace_v2"),
    ("mlflow.store.tracking.sqlalchemy_store", "SqlAlchemyStore.deprecated_end_trace_v2"),
    ("mlflow.tracing.processor.otel", "OtelSpanProcessor"),
    ("opentelemetry.sdk.trace", "TracerProvider._active_span_processor._span_processors"),
    ("opentelemetry.sdk.trace", "ReadableSpan._attributes._dict"),
)
"""What is used that is not public API, as (module, name); a test looks for each in each version."""

_TRACE_ID: Final = re.compile("[0-9a-f]{32}$")


# --- Traces in memory ----------------------------------------------------------------------------


def is_loaded() -> bool:
    """Whether MLflow's SDK is loaded at all, and so may have traces in memory."""
    return MANAGER_MODULE in sys.modules


@contextmanager
def in_memory_trace(otel_trace_id: int) -> Generator[Any, None, None]:
    """The trace that MLflow's SDK has in memory, locked; None where it has none."""
    if not is_loaded():
        yield None
        return
    manager = sys.modules[MANAGER_MODULE].InMemoryTraceManager.get_instance()
    trace_id = manager.get_mlflow_trace_id_from_otel_id(otel_trace_id)
    if trace_id is None:
        yield None
        return
    with manager.get_trace(trace_id) as trace:
        yield trace


def is_remote(trace: Any) -> bool:
    """Whether the trace is another process's, and MLflow will not export it from here."""
    return bool(getattr(trace, "is_remote_trace", False))


def active_trace_id() -> int | None:
    """The current trace of MLflow's SDK, by OpenTelemetry's id."""
    if not is_loaded():
        return None
    try:
        active = sys.modules["mlflow"].get_active_trace_id()
    except Exception:  # MLflow 3.6 raises where the current span is not its own
        return None
    hexadecimal = _TRACE_ID.search(active or "")
    return int(hexadecimal[0], 16) if hexadecimal else None


def environment_metadata() -> Mapping[str, str]:
    """The metadata that MLflow detects itself."""
    return _result_of("mlflow.tracing.utils.environment", "resolve_env_metadata")


def configured_metadata() -> Mapping[str, object]:
    """The metadata of `mlflow.tracing.context`, which MLflow does not send by OTLP."""
    return _result_of("mlflow.tracing.context", "get_configured_trace_metadata")


def _result_of(module: str, name: str) -> Mapping[str, Any]:
    function = getattr(sys.modules.get(module), name, None)
    return (function and function()) or {}


def set_attributes_after_end(span: ReadableSpan, attributes: Mapping[str, str]) -> None:
    """Change a span that has ended, before MLflow's processor takes it for export."""
    span._attributes._dict.update(attributes)  # type: ignore[union-attr]  # noqa: SLF001


# --- Traces that are stored ----------------------------------------------------------------------


def stored_trace_info(tracking_uri: str, trace_id: str) -> Any:
    """The `TraceInfo` of a trace that has ended, with all its metadata; None before that."""
    from mlflow.entities.trace_state import TraceState
    from mlflow.exceptions import MlflowException

    try:
        info = _store(tracking_uri).get_trace_info(trace_id)
    except MlflowException as error:
        if error.get_http_status_code() != HTTPStatus.NOT_FOUND:
            raise
        return None
    return None if info.state == TraceState.IN_PROGRESS else info


def add_stored_metadata(tracking_uri: str, info: Any, metadata: Mapping[str, str]) -> None:
    """Add metadata to a trace that is stored, by the one call that changes nothing else of it."""
    from mlflow.entities.trace_status import TraceStatus

    _store(tracking_uri).deprecated_end_trace_v2(
        request_id=info.trace_id,
        timestamp_ms=info.request_time + (info.execution_duration or 0),
        status=TraceStatus.from_state(info.state),
        request_metadata=dict(metadata),
        tags={},
    )


def _store(tracking_uri: str) -> Any:
    from mlflow.tracing.client import TracingClient

    return TracingClient(tracking_uri).store


# --- The processor in every provider that MLflow makes -------------------------------------------

# The processor that MLflow's providers get; None when nothing is installed.
_current: SpanProcessor | None = None
_has_processor: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


def install(processor: SpanProcessor) -> None:
    """Put the processor into MLflow's providers: the present one and all that it makes later.

    Works before and after MLflow is imported.
    """
    global _current  # noqa: PLW0603  # one processor a process
    _current = processor
    _has_processor.clear()
    _patch_when_imported()
    if (module := sys.modules.get(_PROVIDER_MODULE)) is not None:
        _patch(module)


def uninstall() -> None:
    """Leave the providers that MLflow makes from now on alone."""
    global _current  # noqa: PLW0603
    _current = None
    if (module := sys.modules.get(_PROVIDER_MODULE)) is not None:
        from opentelemetry.instrumentation.utils import unwrap

        unwrap(module, "_get_span_processors")


def add_to(provider: TracerProvider) -> None:
    """Add the installed processor to a provider, once."""
    if _current is None or provider in _has_processor:
        return
    _has_processor.add(provider)
    provider.add_span_processor(_current)
    # OpenTelemetry has no public way to see or order a provider's processors; MLflow itself reads
    # the same names.
    active = getattr(provider, "_active_span_processor", None)
    processors = getattr(active, "_span_processors", ())
    ordered = _ordered([processor for processor in processors if processor is not _current])
    if active is not None and list(processors) != ordered:
        active._span_processors = tuple(ordered)  # noqa: SLF001


@functools.cache
def _patch_when_imported() -> None:
    import wrapt

    # A hook cannot be taken back: it is set once, and looks whether anything is installed.
    wrapt.register_post_import_hook(
        lambda module: _patch(module) if _current is not None else None, _PROVIDER_MODULE
    )


def _patch(module: ModuleType) -> None:
    import wrapt

    if isinstance(getattr(module, "_get_span_processors", None), wrapt.FunctionWrapper):
        return
    try:
        wrapt.wrap_function_wrapper(module, "_get_span_processors", _with_processor)
        present = module.provider.get()
    except AttributeError as error:
        _logger.warning("the traces of this MLflow's SDK get no context: %s", error)
        return
    if isinstance(present, TracerProvider):
        add_to(present)


def _with_processor(
    get_span_processors: Callable[..., list[SpanProcessor]],
    _instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[SpanProcessor]:
    processors = get_span_processors(*args, **kwargs)
    return _ordered(processors) if processors else processors


def _ordered(processors: list[SpanProcessor]) -> list[SpanProcessor]:
    """The processors with ours before the one that exports by OTLP, or else at the end.

    The OTLP processor drops the trace when its root ends; some versions of MLflow's own expect to
    be the first.
    """
    if _current is None:
        return processors
    sends_otlp = [processor for processor in processors if _sends_otlp(processor)]
    for processor in sends_otlp:
        _decode_for_export(processor)
    if sends_otlp and processors[0] is sends_otlp[0]:
        return [_current, *processors]
    return [*processors, _current]


def _sends_otlp(processor: SpanProcessor) -> bool:
    module = sys.modules.get("mlflow.tracing.processor.otel")
    otel_processor = getattr(module, "OtelSpanProcessor", None)
    return otel_processor is not None and isinstance(processor, otel_processor)


def _decode_for_export(processor: SpanProcessor) -> None:
    exporter: SpanExporter | None = getattr(processor, "span_exporter", None)
    if exporter is not None and not isinstance(exporter.export, functools.partial):
        exporter.export = functools.partial(  # type: ignore[method-assign]  # of this one
            _export_decoded, exporter.export
        )


def _export_decoded(
    export: Callable[[Sequence[ReadableSpan]], SpanExportResult], spans: Sequence[ReadableSpan]
) -> SpanExportResult:
    return export([with_decoded_attributes(span) for span in spans] if _current else spans)
