"""Traces whose root never comes are closed after a time: a load balancer or a browser has it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.settings import current_settings

if TYPE_CHECKING:
    from otel_mlflow_context.server.mlflow_internals import Store

_logger = logging.getLogger(__name__)

_MOST_TRACES: Final = 100_000
"""Traces that one process waits for; more are closed when a server starts again."""
_SHORTEST_SLEEP: Final = 1.0
_LONGEST_SLEEP: Final = 30.0
"""Seconds between two looks, at least and at most."""


class Closer:
    """Closes traces, in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._after = current_settings().close_after
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        if self._after:
            threading.Thread(
                target=self._run, name="otel-mlflow-context-closer", daemon=True
            ).start()

    def seen(self, trace_id: str) -> None:
        """An entry span speaks for a trace: its root may still come."""
        with self._lock:
            if self._after and len(self._due) < _MOST_TRACES:
                self._due[trace_id] = time.monotonic() + self._after

    def _run(self) -> None:
        try:
            # What was left by a server before this one. It may take the database a while.
            for trace_id in self._store.waiting():
                self.seen(trace_id)
        except Exception:
            _logger.exception("traces without a root from before this start stay in progress")
        while True:
            time.sleep(max(_SHORTEST_SLEEP, min(_LONGEST_SLEEP, self._after / 4)))
            for trace_id in self._take_due():
                try:
                    self._store.close(trace_id)
                except Exception:
                    _logger.warning("%s is not closed, later again", trace_id, exc_info=True)
                    self.seen(trace_id)

    def _take_due(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            due = [trace_id for trace_id, at in self._due.items() if at <= now]
            for trace_id in due:
                del self._due[trace_id]
        return due
