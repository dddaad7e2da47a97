"""Waiting until there are enough traces of every group."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from otel_mlflow_context.compare.sources.base import CannotCompare, NoTraces

_LOGGER: Final = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class NotEnoughTraces(CannotCompare):
    """There are fewer traces than were asked for: not enough to tell."""


def wait_for(counts: Callable[[], Mapping[str, int]], least: int, seconds: float) -> None:
    """Return when every group has enough traces.

    Args:
        counts: asks the source how many traces each group has; no more than `least` need to be
            counted.
        least: how many are enough.
        seconds: how long to wait for them.

    Raises:
        NotEnoughTraces: they have not come.
    """
    end = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    told = False
    while True:
        try:
            few = [f"{it!r} has {count:,}" for it, count in counts().items() if count < least]
        except NoTraces as none:
            few = [str(none)]
        if not few:
            return
        problem = f"{', '.join(few)}; at least {least:,} traces of each are needed"
        left = end - time.monotonic()
        if left <= 0:
            raise NotEnoughTraces(f"not enough to tell: {problem}")
        if not told:
            _LOGGER.warning("waiting: %s", problem)
            told = True
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
