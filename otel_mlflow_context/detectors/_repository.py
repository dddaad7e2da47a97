"""What a git repository says of itself, read from its files: no process, no object store.

The formats are git's own: gitrepository-layout(5), gitformat-index(5), git-pack-refs(1) and the
"Syntax" section of git-config(1). Every read is bounded, and nothing but regular files is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_MAX_POINTER: Final = 4_096
"""Bytes of a file that holds one path, ref or id: PATH_MAX on Linux."""
_MAX_CONFIG: Final = 1 << 20
_MAX_INDEX: Final = 64 << 20
_MAX_PACKED_REFS: Final = 256 << 20
_CHUNK: Final = 1 << 20
_MAX_SYMREFS: Final = 5
"""Symbolic refs in a chain: SYMREF_MAXDEPTH of git's refs.c."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1 or SHA-256
_COMMIT_MAX_LENGTH: Final = 64
_BRANCHES: Final = "refs/heads/"
_REFTABLE: Final = "refs/heads/.invalid"  # what HEAD says where refs are not kept in files
# git-check-ref-format(1), as far as it keeps a ref inside the repository.
_REF: Final = re.compile(r"refs(?:/(?!\.)(?:(?!\.\.)[^\x00-\x20\x7f~^:?*\[\\/])+)+")

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


class RepositoryError(Exception):
    """A repository is there, but does not answer; the message says why."""


@dataclass(frozen=True)
class Repository:
    """Where a repository keeps its things."""

    root: Path
    """The work tree's top folder."""
    git_dir: Path
    """``.git``, or the folder that a worktree's or submodule's ``.git`` file names."""
    common_dir: Path
    """What all worktrees share: branches and config. The same as `git_dir` outside of worktrees."""


class Head(NamedTuple):
    """What is checked out."""

    branch: str | None
    """None when HEAD is detached."""
    commit: str | None
    """None before the first commit."""


# --- Which repository ------------------------------------------------------------------------


def find_repository(directory: Path) -> Repository | None:
    """The repository that a program's folder belongs to, or None.

    The first ``.git`` from the folder upwards. It is not the program's when it merely lies
    around it: the folder is in a virtual environment or an installation inside the checkout, or
    the repository tracks nothing there (a home folder with dotfiles, an ignored folder).

    Raises:
        RepositoryError: a ``.git`` file that leads nowhere.
    """
    directory = Path(os.path.realpath(directory))
    for root in (directory, *directory.parents):
        git = root / ".git"
        # A folder without HEAD is no repository for git either: it looks further up.
        if os.path.lexists(git / "HEAD"):
            git_dir = git
        elif git.is_file():
            git_dir = _folder_named_in(git, prefix="gitdir:")
        else:
            continue
        has_common_dir = (git_dir / "commondir").exists()
        common_dir = _folder_named_in(git_dir / "commondir") if has_common_dir else git_dir
        repository = Repository(root, git_dir, common_dir)
        return repository if _holds_code_in(repository, directory) else None
    return None


def _folder_named_in(file: Path, prefix: str = "") -> Path:
    text = _read_text(file) or ""
    name = text.removeprefix(prefix).strip()
    if text.startswith(prefix) and name and "\0" not in name:
        folder = Path(os.path.realpath(file.parent / name))
        # Git does not follow a second `.git` file either, so there is no loop to get caught in.
        if folder.is_dir():
            return folder
    raise RepositoryError(f"{file} names no folder")


def _holds_code_in(repository: Repository, directory: Path) -> bool:
    """Whether a folder in the work tree is the repository's own, and does not merely lie in it."""
    if directory == repository.root:
        return True
    below = directory.relative_to(repository.root)
    folders = [directory, *directory.parents][: len(below.parts)]
    if not _INSTALLED.isdisjoint(below.parts) or any(_is_environment(f) for f in folders):
        return False
    # The top folder decides, so that a new folder deep in a project is the project's.
    return _tracks(repository, below.parts[0])


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()


def _tracks(repository: Repository, folder: str) -> bool:
    """Whether the index holds anything in a folder at the top of the work tree.

    True where the index cannot tell: before the first `git add`, in version 4 (whose paths are
    compressed), when it is split in two files, and when it is too large to be read for this.
    """
    try:
        index = _read(repository.git_dir / "index", _MAX_INDEX)
    except (OSError, RepositoryError):
        return True
    if index is None or not index.startswith((b"DIRC\0\0\0\2", b"DIRC\0\0\0\3")):
        return True
    # An entry's path stands literally, after 16 bits of which the lower 12 are its length (in
    # version 3 another 16 bits may be between): so a path of the same end is told apart.
    for match in re.finditer(re.escape(os.fsencode(folder)) + rb"/[^\0]*", index):
        length = min(len(match[0]), 0xFFF)
        for at in (match.start() - 2, match.start() - 4):
            if int.from_bytes(index[at : at + 2], "big") & 0xFFF == length:
                return True
    return any(repository.git_dir.glob("sharedindex.*"))


# --- What is checked out ---------------------------------------------------------------------


def read_head(repository: Repository) -> Head:
    """The branch and the commit that are checked out.

    Raises:
        RepositoryError, OSError: HEAD or the branch cannot be read.
    """
    ref = "HEAD"
    for _ in range(_MAX_SYMREFS):
        text = _read_ref(repository, ref)
        branch = ref.removeprefix(_BRANCHES) if ref.startswith(_BRANCHES) else None
        if text is None or _COMMIT.fullmatch(text):
            return Head(branch, text)
        if not text.startswith("ref:"):
            raise RepositoryError(f"{ref} names neither a commit nor a branch")
        ref = text.removeprefix("ref:").strip()
        if ref == _REFTABLE:
            raise RepositoryError("its refs are in a format that is not read (reftable)")
        if not _REF.fullmatch(ref):
            raise RepositoryError("HEAD leads to a ref that git does not allow")
    raise RepositoryError("HEAD leads through too many symbolic refs")


def _read_ref(repository: Repository, ref: str) -> str | None:
    """A commit, ``ref: `` and another ref, or None for a branch without a commit."""
    if ref == "HEAD":
        text = _read_text(repository.git_dir / ref)
        if text is None:
            raise RepositoryError("HEAD is missing")
        return text
    loose = repository.common_dir / ref
    # A folder of that name is left behind where the branches in it have been packed.
    text = None if loose.is_dir() else _read_text(loose)
    return _packed_commit(repository.common_dir / "packed-refs", ref) if text is None else text


def _packed_commit(packed_refs: Path, ref: str) -> str | None:
    """The commit of a ref in the file with a line ``<commit> <ref>`` for each."""
    line_end = b" " + os.fsencode(ref) + b"\n"
    overlap = _COMMIT_MAX_LENGTH + len(line_end)
    file = _open(packed_refs)
    if file is None:
        return None
    with file:
        window = b""
        # Searching pieces for the text is faster than reading lines, and fast enough not to
        # depend on the file's being sorted, as it is in most repositories only.
        for _ in range(_MAX_PACKED_REFS // _CHUNK):
            chunk = file.read(_CHUNK)
            window = window[-overlap:] + chunk
            at = window.find(line_end)
            if at >= 0:
                start = max(0, at - _COMMIT_MAX_LENGTH)
                return _decoded(window[start:at].rpartition(b"\n")[2])
            if not chunk:
                return None
    raise RepositoryError("packed-refs is too large")


# --- Where it comes from ---------------------------------------------------------------------


def remote_urls(repository: Repository, branch: str | None) -> list[str]:
    """The addresses of the remote, as git knows them (credentials and all), best first.

    The remote that the branch follows, then `origin`, then the only one there is.

    Raises:
        RepositoryError, OSError: the config cannot be read.
    """
    followed: str | None = None
    remotes: dict[str, str] = {}
    for section, subsection, key, value in parse_config(_read_config(repository)):
        if (section, key) == ("remote", "url"):
            remotes.setdefault(subsection, value)  # git fetches from the first
        elif (section, subsection, key) == ("branch", branch, "remote"):
            followed = value  # the last one counts
    names = [followed, "origin"] if len(remotes) != 1 else [followed, "origin", *remotes]
    # A branch may also follow an address that has no name.
    return [remotes.get(name, name) for name in names if name]


def _read_config(repository: Repository) -> str:
    raw = _read(repository.common_dir / "config", _MAX_CONFIG) or b""
    return _decoded(raw.removeprefix(b"\xef\xbb\xbf"))


_SPACE: Final = re.compile(r"\s*")
_HEADER: Final = re.compile(r'\[\s*([-.\w]+)\s*(?:"((?:\\.|[^"\\\n])*)")?\s*\]')
_KEY: Final = re.compile(r"([a-z][a-z0-9-]*)[ \t]*=[ \t]*", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""(?P<continuation>\\\r?\n)|\\(?P<escape>.)|(?P<quote>")|(?P<comment>[#;])|(?P<end>\r?\n)"""
    r"""|(?P<space>[^\S\n]+)|(?P<text>[^\\"#;\s]+|\\)"""
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b"}


def parse_config(text: str) -> Iterator[tuple[str, str, str, str]]:
    r"""Section, subsection, key and value of each line of a git config that has all of them.

    Section and key in lower case, as git compares them. What git would refuse is left out.

    >>> list(parse_config('[Remote "origin"]\n\tURL = "a b" ; where'))
    [('remote', 'origin', 'url', 'a b')]
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
            yield section, subsection, key[1].lower(), value
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


# --- Files -------------------------------------------------------------------------------------


def _open(path: Path) -> BinaryIO | None:
    """A regular file, open for reading; None when there is none of that name."""
    try:
        # A pipe would block at open.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RepositoryError(f"{path} is not a file")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read(path: Path, limit: int) -> bytes | None:
    file = _open(path)
    if file is None:
        return None
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RepositoryError(f"{path} is too large")
    return content


def _read_text(path: Path) -> str | None:
    content = _read(path, _MAX_POINTER)
    return None if content is None else _decoded(content).strip()


def _decoded(raw: bytes) -> str:
    """As text that leads back to the same bytes, since it may name a file."""
    return raw.decode("utf-8", "surrogateescape")
