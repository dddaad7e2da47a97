"""The facts of this process, shared by the detectors and found once.

They are those of when its code was loaded: the checkout is read when the detectors are imported.

The SDK loads each detector by its entry point, possibly in threads of its own, and
`detect_resource` uses all three; a forked process keeps the facts of its parent.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from otel_mlflow_context.detectors._checkout import Checkout, read_checkout
from otel_mlflow_context.detectors._decision import merged
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._sources import Sources, code_sources, with_changes
from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Once:
    """A decorator: the function runs once per process, and its result is kept."""

    def __init__(self) -> None:
        self._results: dict[Callable[[], object], object] = {}
        self.forget()

    def __call__(self, find: Callable[[], _T]) -> Callable[[], _T]:
        @functools.wraps(find)
        def found() -> _T:
            with self._lock:
                if find not in self._results:
                    self._results[find] = find()
                return self._results[find]  # type: ignore[return-value] # that of `find`

        return found

    def new_lock(self) -> None:
        # In a forked process, a thread that is not there may hold the old one.
        self._lock = threading.RLock()

    def forget(self) -> None:
        self._results.clear()
        self.new_lock()


_once = _Once()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_once.new_lock)


_early: Checkout | None = None
"""The checkout as it was when the detectors were imported."""


def read_early() -> None:
    """Read the program's checkout. Never raises: what is wrong is reported later."""
    global _early  # noqa: PLW0603
    with suppress(Exception):
        problems: list[str] = []
        checkout = read_checkout(process.current_program(), problems)
        _early = None if problems else checkout


@_once
def program() -> Program:
    """The program of this process. Never raises."""
    return process.current_program()


def code() -> Mapping[str, Finding]:
    """The facts of its code, without uncommitted changes. Files that cannot be read are logged."""
    return merged(*_sources()[0].in_order)


@_once
def code_and_changes() -> Mapping[str, Finding]:
    """The same, and whether there are uncommitted changes, which starts git."""
    sources, known_problems = _sources()
    problems: list[str] = []
    sources = with_changes(sources, program(), problems, _early)
    if not known_problems:  # git's message would be about the same files
        _log(problems)
    return merged(*sources.in_order)


@_once
def _sources() -> tuple[Sources, list[str]]:
    problems: list[str] = []
    sources = code_sources(program(), dirty=False, problems=problems, early=_early)
    _log(problems)
    return sources, problems


def forget() -> None:
    """Read everything again at the next call."""
    global _early  # noqa: PLW0603
    _once.forget()
    _early = None


def _log(problems: list[str]) -> None:
    if problems:
        _logger.warning("facts from git are missing: %s", "; ".join(problems))
