"""Facts to a trace that MLflow's SDK holds in memory: the one module that touches MLflow's insides.

MLflow's SDK keeps a trace in its trace manager from the start of the root span until export, and
its metadata is a plain dict until then. Nothing here imports mlflow: what is not loaded holds no
trace. Where a private name is not there any more, that step is left out and logged once.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from otel_mlflow_context.facts.metadata import (
    attributes_from_metadata,
    fact_keys,
    merge_facts,
    metadata_from_attributes,
    tag_attributes,
)
from otel_mlflow_context.facts.request import apply_user_id_setting
from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.mlflow_client.readable_span import with_attributes
from otel_mlflow_context.semconv import (
    GIT_METADATA,
    MLFLOW_CLIENT_REQUEST_ID,
    MLFLOW_METADATA,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_TRACE_USER,
    USER_ID,
)
from otel_mlflow_context.settings import current_settings

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
    ("mlflow.tracing.processor.otel", "OtelSpanProcessor"),
    ("opentelemetry.sdk.trace", "TracerProvider._active_span_processor._span_processors"),
    ("opentelemetry.sdk.trace", "ReadableSpan._attributes._dict"),
)
"""What is used that is not public API, as (module, name); a test asks each version for each."""

_TRACE_ID: Final = re.compile("[0-9a-f]{32}$")

# What MLflow finds by itself (mlflow/tracing/utils/environment.py).
_FOUND_BY_MLFLOW: Final = GIT_METADATA | {MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE}


def is_loaded() -> bool:
    """Whether MLflow's SDK is there at all, and so may hold a trace."""
    return MANAGER_MODULE in sys.modules


# --- A trace's metadata ----------------------------------------------------------------------


def update_trace_on_start(
    span: Span, facts: Mapping[str, str], *, speaks: bool
) -> tuple[Mapping[str, str], bool]:
    """Write facts to the trace of a span that starts, where MLflow's SDK holds it already.

    Returns:
        The facts that are true of the trace now, where the application's own values win, and
        whether MLflow's SDK reads this span, so that its attributes must be `encoded`.
    """
    facts = merge_facts(facts, _declared_by_application())
    settings = current_settings()
    if settings.user_id != "plain":
        facts = apply_user_id_setting(facts, settings)
    manager = _trace_manager()
    trace_id = manager.get_mlflow_trace_id_from_otel_id(span.context.trace_id)
    if trace_id is None:
        return facts, False
    with manager.get_trace(trace_id) as trace:
        if trace is None:
            return facts, False
        if speaks and not _is_remote(trace):
            facts = merge_facts(
                facts, attributes_from_metadata(_merge(trace.info, metadata_from_attributes(facts)))
            )
        return facts, True


def update_trace_on_end(span: ReadableSpan) -> None:
    """Write facts to the trace of a root span that has ended, and the trace's to the span.

    For a trace that MLflow's SDK did not hold yet in `update_trace_on_start`, because its processor
    comes after ours. `mlflow.update_current_trace` may have been called since.
    """
    manager = _trace_manager()
    trace_id = manager.get_mlflow_trace_id_from_otel_id(span.context.trace_id)
    if trace_id is None:
        return
    with manager.get_trace(trace_id) as trace:
        if trace is None or _is_remote(trace):
            return
        metadata = _merge(trace.info, metadata_from_attributes(decoded(span.attributes or {})))
    # A span that has ended takes no attribute any more: this goes past that, and comes before
    # MLflow's processor takes the span for export.
    span._attributes._dict.update(encoded(attributes_from_metadata(metadata)))  # type: ignore[union-attr]  # noqa: SLF001


def update_trace(otel_trace_id: int, facts: Mapping[str, str]) -> bool:
    """Write facts to a trace that is open, over what is there.

    Returns:
        Whether MLflow's SDK holds the trace.
    """
    if not is_loaded():
        return False
    manager = _trace_manager()
    trace_id = manager.get_mlflow_trace_id_from_otel_id(otel_trace_id)
    if trace_id is None:
        return False
    with manager.get_trace(trace_id) as trace:
        if trace is None:
            return False
        if not _is_remote(trace):
            metadata = metadata_from_attributes(facts)
            request_id = metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None)
            trace.info.trace_metadata.update(metadata)
            if request_id:
                trace.info.client_request_id = request_id
        return True


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


def _is_remote(trace: Any) -> bool:
    """Whether the trace is another process's, and MLflow will not export it from here."""
    return bool(getattr(trace, "is_remote_trace", False))


def _merge(info: Any, facts: Mapping[str, str]) -> dict[str, str]:
    """Bring facts into a `TraceInfo`; what the application set stays, what MLflow found goes.

    Returns:
        What is true of the trace now: the facts, and all that the application set.
    """
    metadata = info.trace_metadata
    _protect_user(metadata)
    found = _found_by_mlflow()
    for key, value in facts.items():
        if key != MLFLOW_CLIENT_REQUEST_ID and metadata.get(key) in (None, "", found.get(key)):
            metadata[key] = value
    # Git facts of two repositories make no sense together, and an empty string says nothing.
    stale = GIT_METADATA - facts.keys() if GIT_METADATA & facts.keys() else frozenset()
    for key in _FOUND_BY_MLFLOW:
        if metadata.get(key) == "" or (key in stale and metadata.get(key) == found.get(key)):
            metadata.pop(key, None)
    if not info.client_request_id and MLFLOW_CLIENT_REQUEST_ID in facts:
        info.client_request_id = facts[MLFLOW_CLIENT_REQUEST_ID]
    result = {
        key: str(value)
        for key, value in metadata.items()
        if key in MLFLOW_METADATA or not key.startswith("mlflow.")
    }
    if info.client_request_id:
        result[MLFLOW_CLIENT_REQUEST_ID] = info.client_request_id
    return result


def _protect_user(metadata: dict[str, str]) -> None:
    """What the application told MLflow of the user is bound to the setting `user_id` too."""
    settings = current_settings()
    if settings.user_id != "plain" and MLFLOW_TRACE_USER in metadata:
        user_id = request_value(USER_ID, metadata.pop(MLFLOW_TRACE_USER), settings)
        if user_id:
            metadata[MLFLOW_TRACE_USER] = user_id


def _trace_manager() -> Any:
    return sys.modules[MANAGER_MODULE].InMemoryTraceManager.get_instance()


def _found_by_mlflow() -> Mapping[str, str]:
    module = sys.modules.get("mlflow.tracing.utils.environment")
    resolve = getattr(module, "resolve_env_metadata", None)
    return resolve() if resolve is not None else {}


def _declared_by_application() -> dict[str, str]:
    """What `mlflow.tracing.context` says: MLflow leaves it out where it sends traces by OTLP."""
    module = sys.modules.get("mlflow.tracing.context")
    declared = getattr(module, "get_configured_trace_metadata", None)
    metadata = (declared and declared()) or {}
    return attributes_from_metadata({key: str(value) for key, value in metadata.items()})


# --- Attributes of MLflow's spans --------------------------------------------------------------


def encoded(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes that MLflow's SDK reads back as they are.

    It takes an attribute for JSON first (``_SpanAttributesRegistry`` in mlflow/entities/span.py),
    so that ``1.10`` would come back as the number 1.1. Only such text is written as JSON; all
    other stays plain, for everybody else who reads the span.

    >>> encoded({"app_version": "1.10", "environment": "production"})
    {'app_version': '"1.10"', 'environment': 'production'}
    """
    return {key: json.dumps(text) if _is_json(text) else text for key, text in attributes.items()}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def decoded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes, with our facts as plain text."""
    decoded = dict(attributes)
    for key in (*fact_keys(attributes), *tag_attributes(attributes)):
        value = decoded.get(key)
        if isinstance(value, str) and value.startswith('"') and _is_json(value):
            decoded[key] = json.loads(value)
    return decoded


def _export_plain_text(
    export: Callable[[Sequence[ReadableSpan]], SpanExportResult], spans: Sequence[ReadableSpan]
) -> SpanExportResult:
    if _current is not None:
        spans = [_with_plain_text(span) for span in spans]
    return export(spans)


def _with_plain_text(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes
    if not attributes or (plain := decoded(attributes)) == attributes:
        return span
    return with_attributes(span, plain)


# --- Into every provider that MLflow makes -----------------------------------------------------

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
    _watch_import()
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
def _watch_import() -> None:
    import wrapt

    # A hook cannot be taken back: it is set once, and looks whether anything is installed.
    wrapt.register_post_import_hook(
        lambda module: _patch(module) if _current is not None else None, _PROVIDER_MODULE
    )


def _patch(module: ModuleType) -> None:
    import wrapt

    if isinstance(getattr(module, "_get_span_processors", None), wrapt.ObjectProxy):
        return
    try:
        wrapt.wrap_function_wrapper(module, "_get_span_processors", _with_ours)
        present = module.provider.get()
    except AttributeError as error:
        _logger.warning("the traces of this MLflow's SDK get no context: %s", error)
        return
    if isinstance(present, TracerProvider):
        add_to(present)


def _with_ours(
    get_span_processors: Callable[..., list[SpanProcessor]],
    _instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[SpanProcessor]:
    processors = get_span_processors(*args, **kwargs)
    return _ordered(processors) if processors else processors


def _ordered(processors: list[SpanProcessor]) -> list[SpanProcessor]:
    """The processors and ours, in its place.

    Before the processor that sends by OTLP, which forgets the trace when its root ends; after
    MLflow's own, of which some versions expect that it is the first.
    """
    if _current is None:
        return processors
    sends_otlp = [processor for processor in processors if _sends_otlp(processor)]
    for processor in sends_otlp:
        _make_plain(processor)
    if sends_otlp and processors[0] is sends_otlp[0]:
        return [_current, *processors]
    return [*processors, _current]


def _sends_otlp(processor: SpanProcessor) -> bool:
    module = sys.modules.get("mlflow.tracing.processor.otel")
    otel_processor = getattr(module, "OtelSpanProcessor", None)
    return otel_processor is not None and isinstance(processor, otel_processor)


def _make_plain(processor: SpanProcessor) -> None:
    exporter: SpanExporter | None = getattr(processor, "span_exporter", None)
    if exporter is not None and not isinstance(exporter.export, functools.partial):
        exporter.export = functools.partial(  # type: ignore[method-assign]  # of this one
            _export_plain_text, exporter.export
        )
