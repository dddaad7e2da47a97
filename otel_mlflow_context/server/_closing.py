"""Traces whose root never comes are closed after a time: a load balancer or a browser has it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.settings import current_settings

if TYPE_CHECKING:
    from otel_mlflow_context.server._mlflow import Store

_logger = logging.getLogger(__name__)

_MOST: Final = 100_000
"""Traces that one process waits for; more are closed when a server starts again."""
_OFTEN: Final = 30.0
"""Seconds between two looks, at most; never more often than each second."""


class Closer:
    """Closes traces, in a thread that starts with the first one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._after = current_settings().close_after
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if self._after:
            try:
                for trace_id in store.waiting():
                    self.seen(trace_id)
            except Exception:
                _logger.exception("traces without a root from before this start stay in progress")

    def seen(self, trace_id: str) -> None:
        """An entry span speaks for a trace: its root may still come."""
        if not self._after:
            return
        with self._lock:
            if len(self._due) < _MOST:
                self._due[trace_id] = time.monotonic() + self._after
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="otel-mlflow-context-closer", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(max(1.0, min(_OFTEN, self._after / 4)))
            now = time.monotonic()
            with self._lock:
                due = [trace_id for trace_id, at in self._due.items() if at <= now]
                for trace_id in due:
                    del self._due[trace_id]
            for trace_id in due:
                try:
                    self._store.close(trace_id)
                except Exception:
                    _logger.warning("%s is not closed, later again", trace_id, exc_info=True)
                    with self._lock:
                        self._due[trace_id] = now + self._after
