"""The retry queue: metadata that could not be written yet, and a thread that tries it again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from otel_mlflow_context.mlflow_client.http.rest import TraceUpdate
from otel_mlflow_context.mlflow_client.metrics import OVERFLOW, ExporterMetrics

MAX_TRACES: Final = 10_000
"""A few megabytes."""
FIRST_DELAY: Final = 5.0
"""Seconds before the first retry, as between exports of a `BatchSpanProcessor`; then twice that."""
_LONGEST_DELAY: Final = 60.0


class RetryQueue:
    """The newest 10,000 traces whose metadata is to be tried again.

    Each export of spans may take them; a service that has no traffic exports none, so that a
    thread tries them too, which exists only while some are left.

    Args:
        write: writes metadata, and adds what fails again; it must not raise.
        metrics: counts what waits, and what there is no room for.
    """

    def __init__(
        self, write: Callable[[list[TraceUpdate]], None], metrics: ExporterMetrics
    ) -> None:
        self._write = write
        self._metrics = metrics
        self._updates: deque[TraceUpdate] = deque()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_idle = threading.Event()

    def add(self, update: TraceUpdate) -> bool:
        """Add metadata; returns False where the oldest was dropped for it."""
        is_full = len(self._updates) >= MAX_TRACES
        if is_full and self.take(1):
            self._metrics.metadata(1, OVERFLOW)
        self._metrics.waiting(1)
        self._updates.append(update)
        if self._thread is None or not self._thread.is_alive():  # none is, in a fork
            self._start()
        return not is_full

    def take(self, count: int = MAX_TRACES) -> list[TraceUpdate]:
        """Remove and return the oldest."""
        updates: list[TraceUpdate] = []
        while len(updates) < count:
            try:
                updates.append(self._updates.popleft())
            except IndexError:  # another thread may take at the same time
                break
        self._metrics.waiting(-len(updates))
        return updates

    def join(self, timeout: float) -> bool:
        """Wait until the thread is not at work; returns whether none is waiting then.

        Args:
            timeout: in seconds.
        """
        thread = self._thread
        is_idle = thread is None or not thread.is_alive() or self._is_idle.wait(timeout)
        return is_idle and not self._updates

    def close(self) -> None:
        """Try nothing again by itself from now on."""
        self._closed.set()

    def _start(self) -> None:
        if self._closed.is_set():
            return
        self._is_idle = threading.Event()
        self._is_idle.set()
        thread = threading.Thread(target=self._work, name="otel-mlflow-context-retry", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python is ending
            return
        self._thread = thread

    def _work(self) -> None:
        delay = FIRST_DELAY
        while not self._closed.wait(delay):
            self._is_idle.clear()
            self._write(self.take())
            self._is_idle.set()
            delay = min(2 * delay, _LONGEST_DELAY)
            if not self._updates:
                self._thread = None  # from here on `add` starts another
                if not self._updates:
                    return
