"""Which host a name stands for that only SSH knows: ssh_config(5)."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import read_text_if_possible

_FILES: Final = ("~/.ssh/config", "/etc/ssh/ssh_config")
_MAX_LENGTH: Final = 1 << 20
_MAX_DEPTH: Final = 16
"""Files that include each other: READCONF_MAX_DEPTH of OpenSSH's readconf.c."""
_MAX_INCLUDED: Final = 50
_LINE: Final = re.compile(r"\s*(?P<keyword>\w+)(?:\s*=\s*|\s+)(?P<value>.*)")
_TOKEN: Final = re.compile(r"%(.)")


class _UndecidedError(Exception):
    """It depends on more than the name."""


def host_of(name: str) -> str | None:
    """The host that a name stands for in an address over SSH; None where that cannot be known.

    A name with a dot is that of a host, unless SSH's configuration has another for it; one without
    is an alias, which means nothing to a browser.
    """
    is_host = "." in name or ":" in name
    try:
        configured = next(filter(None, (_host_name(file, name) for file in _files(_FILES))), None)
    except _UndecidedError:
        return None
    if configured is None:
        return name if is_host else None
    # A host that is reached by an address or a tunnel keeps its own name.
    is_address = "." not in configured or configured.replace(".", "").isdigit()
    return name if is_host and is_address else configured


def _host_name(file: Path, name: str, depth: int = 0) -> str | None:
    """The first ``HostName`` for a name."""
    is_meant: bool | None = True
    for line in read_text_if_possible(file, _MAX_LENGTH).splitlines():
        keyword, words = _words(line)
        if keyword == "host":
            is_meant = _is_one_of(words, name)
        elif keyword == "match":
            is_meant = _matches(words, name)
        if is_meant is False or not words:
            continue
        found = None
        if keyword == "hostname":
            found = _TOKEN.sub(lambda token: _replaced(token[1], name), words[0]).lower()
        elif keyword == "include" and depth < _MAX_DEPTH:
            included = (_host_name(it, name, depth + 1) for it in _files(words))
            found = next(filter(None, included), None)
        if found and is_meant is None:
            raise _UndecidedError
        if found:
            return found
    return None


def _files(typed: Sequence[str]) -> Iterator[Path]:
    ssh = os.path.expanduser("~/.ssh")  # noqa: PTH111 - Path.expanduser can raise
    for word in typed:
        pattern = os.path.join(ssh, os.path.expanduser(word))  # noqa: PTH111, PTH118
        yield from map(Path, sorted(glob.glob(pattern))[:_MAX_INCLUDED])  # noqa: PTH207 - the same


def _words(line: str) -> tuple[str, list[str]]:
    found = _LINE.match(line)
    if found is None:
        return "", []
    try:
        words = shlex.split(found["value"], comments=True)
    except ValueError:  # a quote that is not closed
        return "", []
    return found["keyword"].lower(), words


def _is_one_of(patterns: Sequence[str], name: str) -> bool:
    """Whether a name matches one of the patterns, and none of those with ``!``."""
    matching = [it for it in patterns if _is_like(name, it.removeprefix("!"))]
    return bool(matching) and not any(it.startswith("!") for it in matching)


def _is_like(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _matches(criteria: Sequence[str], name: str) -> bool | None:
    """Whether a ``Match`` is about a name; None where that depends on something else too."""
    if [it.lower() for it in criteria] == ["all"]:
        return True
    is_decided = True
    for criterion, patterns in zip(criteria[::2], criteria[1::2], strict=False):
        if criterion.lower() not in ("host", "originalhost"):
            is_decided = False
        elif not _is_one_of(patterns.split(","), name):
            return False
    return True if is_decided else None


def _replaced(letter: str, name: str) -> str:
    if letter != "h":
        raise _UndecidedError
    return name
