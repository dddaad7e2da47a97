"""The remotes of a repository from git's configuration: all that git reads, as git does.

The format is that of git-config(1), "CONFIGURATION FILE"; the files are those of its "FILES".
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors.repository.files import (
    Repository,
    RepositoryError,
    decoded,
    read_bytes,
)
from otel_mlflow_context.detectors.repository.pattern import matches

_MAX_CONFIG: Final = 1 << 20
_MAX_FILES: Final = 50
_MAX_IN_VARIABLES: Final = 1_000
_MAX_DEPTH: Final = 10
"""Files that include each other: MAX_INCLUDE_DEPTH of git's config.c."""
_SYSTEM_CONFIG: Final = "/etc/gitconfig"
_TRUE: Final = ("true", "yes", "on", "1")
_OF_REMOTES: Final = "remote.*.url:"


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
    instead: dict[str, list[str]] = {}
    for section, subsection, key, value in read_config(repository, branch):
        if (section, key) == ("remote", "url"):
            remotes.setdefault(subsection, value)  # git fetches from the first
        elif (section, subsection, key) == ("branch", branch, "remote"):
            followed = value  # the last one counts
        elif (section, key) == ("url", "insteadof"):
            instead.setdefault(subsection, []).append(value)
    names = [followed, "origin"] if len(remotes) != 1 else [followed, "origin", *remotes]
    # A branch may also follow an address that has no name.
    urls = [remotes.get(name, name) for name in names if name]
    return list(dict.fromkeys(form for url in urls for form in (_rewritten(url, instead), url)))


def _rewritten(url: str, instead: Mapping[str, Sequence[str]]) -> str:
    """A URL with its longest beginning replaced that is a value of `instead`, by that one's key."""
    matching = (
        (beginning, base)
        for base, beginnings in instead.items()
        for beginning in beginnings
        if beginning and url.startswith(beginning)
    )
    # Of several, `max` takes the first, and so does git.
    beginning, base = max(matching, key=lambda it: len(it[0]), default=("", ""))
    return base + url.removeprefix(beginning)


# --- Files ---------------------------------------------------------------------------------------


def read_config(repository: Repository, branch: str | None) -> list[Setting]:
    """All settings that count in a repository, with what is included, the last the strongest.

    Raises:
        RepositoryError, OSError: the repository's own config cannot be read. What is wrong with
            another file costs that file.
    """
    return list(_Reader(repository, branch).read_all())


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
    if not _is_true(environ.get("GIT_CONFIG_NOSYSTEM", "")):
        yield Path(environ.get("GIT_CONFIG_SYSTEM") or _SYSTEM_CONFIG)
    if "GIT_CONFIG_GLOBAL" in environ:
        yield Path(environ["GIT_CONFIG_GLOBAL"])
        return
    home = environ.get("HOME")
    if xdg := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(xdg, "git", "config")
    if home:
        yield Path(home, ".gitconfig")


def _settings_of_variables(environ: Mapping[str, str]) -> Iterator[Setting]:
    """``GIT_CONFIG_COUNT`` with its keys and values, and what ``git -c`` hands on to hooks."""
    with suppress(ValueError):
        for number in range(min(int(environ.get("GIT_CONFIG_COUNT", "0")), _MAX_IN_VARIABLES)):
            key, value = (environ.get(f"GIT_CONFIG_{it}_{number}") for it in ("KEY", "VALUE"))
            if key and value is not None:
                yield _setting(key, value)
    with suppress(ValueError):
        # Of git 2.31 and later 'key'='value', before 'key=value'.
        for word in shlex.split(environ.get("GIT_CONFIG_PARAMETERS", "")):
            key, _, value = word.partition("=")
            yield _setting(key, value)


def _setting(key: str, value: str) -> Setting:
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    return Setting(section.lower(), subsection, name.lower(), value)


@dataclass
class _Reader:
    """Reads files with those that they include, each condition answered for one checkout."""

    repository: Repository
    branch: str | None
    urls: Sequence[str] | None = None
    """Of all remotes, for conditions on these; None where they are not known yet."""
    files: int = field(default=0)

    def read_all(self) -> Iterator[Setting]:
        for file in _files_of_user():
            yield from self.read_if_possible(file)
        own = list(self.read(self.repository.common_dir / "config"))
        yield from own
        if any(it[:3] == ("extensions", "", "worktreeconfig") and _is_true(it.value) for it in own):
            yield from self.read(self.repository.git_dir / "config.worktree")
        # Git allows absolute paths only in there.
        yield from self._with_included(_settings_of_variables(os.environ), Path("/"), 0)

    def read(self, file: Path, depth: int = 0) -> Iterator[Setting]:
        self.files += 1
        yield from self._with_included(parse_config(_text(file)), file, depth)

    def _with_included(
        self, settings: Iterator[Setting], file: Path, depth: int
    ) -> Iterator[Setting]:
        for setting in settings:
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
        if kind == "hasconfig" and pattern.startswith(_OF_REMOTES):
            pattern = pattern.removeprefix(_OF_REMOTES)
            return any(matches(pattern, url) for url in self._urls_of_remotes())
        pattern += "**" if pattern.endswith("/") else ""
        if kind == "onbranch":
            return self.branch is not None and matches(pattern, self.branch)
        if kind not in ("gitdir", "gitdir/i"):
            return False
        start = ""
        if pattern.startswith(("~/", "./")):
            start, pattern = f"{_path(pattern[:2], file)}/", pattern[2:]
        elif not os.path.isabs(pattern):  # noqa: PTH117
            pattern = f"**/{pattern}"
        path = self.repository.git_dir.as_posix()
        return matches(pattern, path, start=start, ignores_case=kind == "gitdir/i")

    def _urls_of_remotes(self) -> Sequence[str]:
        if self.urls is None:
            # What is included on such a condition names no remotes.
            settings = _Reader(self.repository, self.branch, urls=()).read_all()
            self.urls = [it.value for it in settings if (it.section, it.key) == ("remote", "url")]
        return self.urls


def _path(typed: str, file: Path) -> Path:
    """A path in a config: from the user's home, or from the folder of the config that names it."""
    # Git knows no other home than this.
    path = os.path.expanduser(typed) if "HOME" in os.environ else typed  # noqa: PTH111 - can raise
    return file.parent / path


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
