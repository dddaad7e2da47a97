"""Asks a source several questions at once: while it answers one, Python reads the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")
MOST: Final = 4
"""Of them. Others use the server too."""


def ask(question: Callable[[_Question], _Answer], about: Iterable[_Question]) -> list[_Answer]:
    """The answers, in the order of what they are about; the first that fails raises its error."""
    with ThreadPoolExecutor(MOST) as threads:
        return list(threads.map(question, about))
