"""Ends traces whose root span never arrives, as when a load balancer or a browser made it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.settings import current_settings

if TYPE_CHECKING:
    from otel_mlflow_context.server.mlflow_internals import Store

_logger = logging.getLogger(__name__)

_MAX_TRACES: Final = 100_000
"""Traces that one process keeps in memory; more are ended after the next start of a server."""
_MIN_INTERVAL: Final = 1.0
_MAX_INTERVAL: Final = 30.0
"""Seconds between two checks."""


class AbandonedTraces:
    """Ends a trace, in a background thread, when its root has not come within a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timeout = current_settings().close_after
        self._deadlines: dict[str, float] = {}
        self._lock = threading.Lock()
        if self._timeout:
            threading.Thread(
                target=self._run, name="otel-mlflow-context-abandoned-traces", daemon=True
            ).start()

    def track(self, trace_id: str) -> None:
        """Start, or start again, the time of a trace that has an entry span but no root."""
        with self._lock:
            if self._timeout and len(self._deadlines) < _MAX_TRACES:
                self._deadlines[trace_id] = time.monotonic() + self._timeout

    def _run(self) -> None:
        try:
            # Left by an earlier process. A query over all traces may take long.
            for trace_id in self._store.traces_without_root(_MAX_TRACES):
                self.track(trace_id)
        except Exception:
            _logger.exception("traces without a root from before this start stay in progress")
        while True:
            time.sleep(max(_MIN_INTERVAL, min(_MAX_INTERVAL, self._timeout / 4)))
            for trace_id in self._take_expired():
                try:
                    self._store.end_abandoned(trace_id)
                except Exception:
                    _logger.warning("%s could not be ended, will retry", trace_id, exc_info=True)
                    self.track(trace_id)

    def _take_expired(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            expired = [trace_id for trace_id, at in self._deadlines.items() if at <= now]
            for trace_id in expired:
                del self._deadlines[trace_id]
        return expired
