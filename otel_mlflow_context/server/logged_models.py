"""Links the traces of a request to the LoggedModels of their versions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.facts.version import version_of
from otel_mlflow_context.semconv import MLFLOW_MODEL_ID
from otel_mlflow_context.server.otlp.entry_spans import EntrySpan

if TYPE_CHECKING:
    from otel_mlflow_context.server.mlflow_internals import Store

_logger = logging.getLogger(__name__)

_MAX_VERSIONS: Final = 1_000
"""Versions that one process looks up: senders could otherwise make models without end."""
_PAUSE: Final = 10.0
"""Seconds without another attempt after one that failed."""


class LoggedModels:
    """The LoggedModels of versions, each looked up once in a process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[object, str] = {}
        self._paused_until = 0.0

    async def linked(
        self, entries: Mapping[str, EntrySpan], experiment_id: str
    ) -> Mapping[str, EntrySpan]:
        """The entry spans, with the model of their version in the metadata that has none.

        What fails is logged, and leaves entry spans without a model.
        """
        return {
            trace_id: replace(entry, metadata={**entry.metadata, MLFLOW_MODEL_ID: model_id})
            if (model_id := await self._model_id(entry.metadata, experiment_id))
            else entry
            for trace_id, entry in entries.items()
        }

    async def _model_id(self, metadata: Mapping[str, str], experiment_id: str) -> str | None:
        version = version_of(metadata)
        if version is None:
            return None
        key = (experiment_id, version.identity)
        if key in self._found:
            return self._found[key]
        if len(self._found) >= _MAX_VERSIONS or time.monotonic() < self._paused_until:
            return None
        try:
            found = await asyncio.to_thread(self._store.logged_model, experiment_id, version)
        except Exception:
            self._paused_until = time.monotonic() + _PAUSE
            _logger.warning("traces are not linked to LoggedModels for a while", exc_info=True)
            return None
        self._found[key] = found
        if len(self._found) == _MAX_VERSIONS:
            _logger.warning("traces of more than %d versions are not linked", _MAX_VERSIONS)
        return found
