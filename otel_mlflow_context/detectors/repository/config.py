"""The remotes of a repository from git's configuration: every file that git reads, as git does.

The format is that of git-config(1), "CONFIGURATION FILE"; the files are those of its "FILES".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors.repository.files import (
    Repository,
    RepositoryError,
    decoded,
    read_bytes,
)

_MAX_CONFIG: Final = 1 << 20
_MAX_FILES: Final = 50
_MAX_DEPTH: Final = 10
"""Files that include each other: MAX_INCLUDE_DEPTH of git's config.c."""
_SYSTEM_CONFIG: Final = "/etc/gitconfig"
_TRUE: Final = ("true", "yes", "on", "1")


class Setting(NamedTuple):
    """A line of a config: section and key in lower case, as git compares them."""

    section: str
    subsection: str
    key: str
    value: str


def remote_urls(repository: Repository, branch: str | None) -> list[str]:
    """The addresses of the remote, as git knows them (credentials and all), best first.

    The remote that the branch follows, then `origin`, then the only one there is; each first as
    ``url.<base>.insteadOf`` has it.

    Raises:
        RepositoryError, OSError: the repository's config cannot be read.
    """
    followed: str | None = None
    remotes: dict[str, str] = {}
    instead: dict[str, str] = {}
    for section, subsection, key, value in read_config(repository, branch):
        if (section, key) == ("remote", "url"):
            remotes.setdefault(subsection, value)  # git fetches from the first
        elif (section, subsection, key) == ("branch", branch, "remote"):
            followed = value  # the last one counts
        elif (section, key) == ("url", "insteadof"):
            instead[value] = subsection
    names = [followed, "origin"] if len(remotes) != 1 else [followed, "origin", *remotes]
    # A branch may also follow an address that has no name.
    urls = [remotes.get(name, name) for name in names if name]
    return list(dict.fromkeys(form for url in urls for form in (_rewritten(url, instead), url)))


def _rewritten(url: str, instead: Mapping[str, str]) -> str:
    longest = max((it for it in instead if it and url.startswith(it)), key=len, default=None)
    return url if longest is None else instead[longest] + url.removeprefix(longest)


# --- Files ---------------------------------------------------------------------------------------


def read_config(repository: Repository, branch: str | None) -> list[Setting]:
    """All settings that count in a repository, with what is included, the last the strongest.

    An ``includeIf`` of the form ``hasconfig:`` is left out.

    Raises:
        RepositoryError, OSError: the repository's own config cannot be read. What is wrong with
            another file costs that file.
    """
    reader = _Reader(repository.git_dir, branch)
    settings = [setting for file in _files_of_user() for setting in reader.read_if_possible(file)]
    own = list(reader.read(repository.common_dir / "config"))
    if any(it[:3] == ("extensions", "", "worktreeconfig") and _is_true(it.value) for it in own):
        own += reader.read(repository.git_dir / "config.worktree")
    return settings + own


class Format(NamedTuple):
    """How a repository is laid out: settings that count in its own file only."""

    is_bare: bool
    """It has no work tree."""
    work_tree: str | None
    """Where that is, from the git folder."""
    is_sha256: bool


def read_format(repository: Repository) -> Format:
    """The layout of a repository.

    Raises:
        RepositoryError, OSError: its config cannot be read.
    """
    own = parse_config(_text(repository.common_dir / "config"))
    values = {(it.section, it.key): it.value for it in own if not it.subsection}
    return Format(
        is_bare=_is_true(values.get(("core", "bare"), "false")),
        work_tree=values.get(("core", "worktree")),
        is_sha256=values.get(("extensions", "objectformat"), "").lower() == "sha256",
    )


def _files_of_user() -> Iterator[Path]:
    environ = os.environ
    if environ.get("GIT_CONFIG_NOSYSTEM", "").lower() not in _TRUE:
        yield Path(environ.get("GIT_CONFIG_SYSTEM") or _SYSTEM_CONFIG)
    if "GIT_CONFIG_GLOBAL" in environ:
        yield Path(environ["GIT_CONFIG_GLOBAL"])
    elif home := environ.get("HOME"):
        yield Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "git", "config")
        yield Path(home, ".gitconfig")


@dataclass
class _Reader:
    """Reads files with those that they include, each condition answered for one checkout."""

    git_dir: Path
    branch: str | None
    files: int = field(default=0)

    def read(self, file: Path, depth: int = 0) -> Iterator[Setting]:
        self.files += 1
        for setting in parse_config(_text(file)):
            yield setting
            is_include = setting.key == "path" and (
                (setting.section == "include" and not setting.subsection)
                or (setting.section == "includeif" and self._holds(setting.subsection, file))
            )
            if is_include and depth < _MAX_DEPTH and self.files < _MAX_FILES:
                yield from self.read_if_possible(_path(setting.value, file), depth + 1)

    def read_if_possible(self, file: Path, depth: int = 0) -> list[Setting]:
        try:
            return list(self.read(file, depth))
        except (RepositoryError, OSError, ValueError):  # ValueError: a NUL in the path
            return []

    def _holds(self, condition: str, file: Path) -> bool:
        kind, _, pattern = condition.partition(":")
        if kind == "onbranch":
            pattern += "**" if pattern.endswith("/") else ""
            return self.branch is not None and _matches(pattern, self.branch)
        if kind not in ("gitdir", "gitdir/i"):
            return False
        if pattern.startswith(("~/", "./")):
            pattern = str(_path(pattern, file)) + ("/" if pattern.endswith("/") else "")
        elif not os.path.isabs(pattern):  # noqa: PTH117
            pattern = f"**/{pattern}"
        pattern += "**" if pattern.endswith("/") else ""
        flags = re.IGNORECASE if kind == "gitdir/i" else 0
        return _matches(pattern, self.git_dir.as_posix(), flags)


def _path(typed: str, file: Path) -> Path:
    """A path in a config: from the user's home, or from the folder of the config that names it."""
    return file.parent / os.path.expanduser(typed)  # noqa: PTH111 - Path.expanduser can raise


_WILDCARD: Final = re.compile(r"\*\*/|\*\*|\*|\?")
_REGEX: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _matches(pattern: str, path: str, flags: int = 0) -> bool:
    """As `gitignore` patterns match; without sets of characters in brackets."""
    regex, start = "", 0
    for wildcard in _WILDCARD.finditer(pattern):
        regex += re.escape(pattern[start : wildcard.start()]) + _REGEX[wildcard[0]]
        start = wildcard.end()
    return bool(re.fullmatch(regex + re.escape(pattern[start:]), path, flags))


def _text(file: Path) -> str:
    return decoded((read_bytes(file, _MAX_CONFIG) or b"").removeprefix(b"\xef\xbb\xbf"))


def _is_true(value: str) -> bool:
    return value.lower() in _TRUE


# --- The format ----------------------------------------------------------------------------------

_SPACE: Final = re.compile(r"\s*")
_HEADER: Final = re.compile(r'\[\s*([-.\w]+)\s*(?:"((?:\\.|[^"\\\n])*)")?\s*\]')
_KEY: Final = re.compile(r"([a-z][a-z0-9-]*)[ \t]*=[ \t]*", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""(?P<continuation>\\\r?\n)|\\(?P<escape>.)|(?P<quote>")|(?P<comment>[#;])|(?P<end>\r?\n)"""
    r"""|(?P<space>[^\S\n]+)|(?P<text>[^\\"#;\s]+|\\)"""
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b"}


def parse_config(text: str) -> Iterator[Setting]:
    r"""Section, subsection, key and value of each line of a git config that has all of them.

    What git would refuse is left out.

    >>> list(parse_config('[Remote "origin"]\n\tURL = "a b" ; where'))
    [Setting(section='remote', subsection='origin', key='url', value='a b')]
    """
    section, subsection = "", ""
    position = 0
    while (position := _end_of_space(text, position)) < len(text):
        if header := _HEADER.match(text, position):
            section, _, old_form = header[1].lower().partition(".")
            subsection = re.sub(r"\\(.)", r"\1", header[2]) if header[2] else old_form
            position = header.end()
        elif key := _KEY.match(text, position):
            value, position = _parse_value(text, key.end())
            yield Setting(section, subsection, key[1].lower(), value)
        else:
            position = _end_of_line(text, position)


def _parse_value(text: str, position: int) -> tuple[str, int]:
    """A value with its quotes and escapes resolved, and where its line ends."""
    parts: list[str] = []
    space = ""  # counts only when something follows
    quoted = False
    while token := _TOKEN.match(text, position):
        kind, part = token.lastgroup, token[0]
        if kind == "end":
            break
        if kind == "comment" and not quoted:
            position = _end_of_line(text, position)
            break
        position = token.end()
        if kind == "quote":
            quoted = not quoted
        elif kind == "space" and not quoted:
            space += part
        elif kind != "continuation":
            escaped = token["escape"]
            parts += (space, _ESCAPES.get(escaped, escaped) if escaped else part)
            space = ""
    return "".join(parts), position


def _end_of_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
