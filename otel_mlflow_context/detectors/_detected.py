"""What this process has found out of itself: each thing once, whichever detectors ask.

The detectors are loaded by the SDK, by an entry point each, and by `detect_resource`; a forked
process has the facts of its parent.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._code import changes, code_findings
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Once:
    """Runs functions once a process, also where the SDK runs detectors in threads at once."""

    def __init__(self) -> None:
        self._answers: dict[Callable[[], object], object] = {}
        self.forget()

    def __call__(self, find: Callable[[], _T]) -> Callable[[], _T]:
        @functools.wraps(find)
        def answer() -> _T:
            with self._lock:
                if find not in self._answers:
                    self._answers[find] = find()
                return self._answers[find]  # type: ignore[return-value]

        return answer

    def new_lock(self) -> None:
        # In a forked process a thread that is not there may hold it.
        self._lock = threading.RLock()

    def forget(self) -> None:
        self._answers.clear()
        self.new_lock()


_once = _Once()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_once.new_lock)


@_once
def program() -> Program:
    """The program of this process. Never raises."""
    return process.current_program()


def code() -> Mapping[str, Finding]:
    """What is known of its code, but for uncommitted changes. What cannot be read is logged."""
    return _code()[0]


@_once
def code_and_changes() -> Mapping[str, Finding]:
    """The same, and whether there are uncommitted changes, which starts git."""
    findings, known_problems = _code()
    problems: list[str] = []
    directory = program().directory
    changed = changes(directory, problems) if directory else None
    if not known_problems:  # git's words on what is broken add nothing
        _log(problems)
    return {**findings, semconv.VCS_REF_HEAD_DIRTY: changed} if changed else findings


@_once
def _code() -> tuple[Mapping[str, Finding], list[str]]:
    problems: list[str] = []
    findings = code_findings(program(), dirty=False, problems=problems)
    _log(problems)
    return findings, problems


def forget() -> None:
    """Find everything out again at the next call."""
    _once.forget()


def _log(problems: list[str]) -> None:
    if problems:
        _logger.warning("facts from git are missing: %s", "; ".join(problems))
