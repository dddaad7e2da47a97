"""What is checked out: the branch, the commit and its tag, read from the files that hold the refs.

The formats are git's own: gitrepository-layout(5), git-pack-refs(1) and, of a tag's object,
"Object storage format" in gitformat-loose(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors.repository.files import (
    Repository,
    RepositoryError,
    decoded,
    open_file,
    read_bytes,
    read_pointer,
)
from otel_mlflow_context.detectors.repository.storage.objects import read_object

_MAX_PACKED_REFS: Final = 256 << 20
_CHUNK: Final = 1 << 20
_MAX_SYMREFS: Final = 5
"""Symbolic refs in a chain: SYMREF_MAXDEPTH of git's refs.c."""
_MAX_TAG_FILES: Final = 100
_MAX_TAGS_PACKED: Final = 16 << 20
_MAX_TAG: Final = 512
"""Bytes of a tag's object, of which its commit is at the start."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1 or SHA-256
_COMMIT_MAX_LENGTH: Final = 64
_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
_REFTABLE: Final = "refs/heads/.invalid"  # in HEAD where refs are not kept in files
# git-check-ref-format(1), as far as it keeps a ref inside the repository.
_REF: Final = re.compile(r"refs(?:/(?!\.)(?:(?!\.\.)[^\x00-\x20\x7f~^:?*\[\\/])+)+")


class Head(NamedTuple):
    """What is checked out."""

    branch: str | None
    """None when HEAD is detached."""
    commit: str | None
    """None before the first commit."""


def read_head(repository: Repository) -> Head:
    """The branch and the commit that are checked out.

    Raises:
        RepositoryError, OSError: HEAD or the branch cannot be read.
    """
    ref = "HEAD"
    for _ in range(_MAX_SYMREFS):
        text = read_ref(repository, ref)
        branch = ref.removeprefix(_BRANCHES) if ref.startswith(_BRANCHES) else None
        if text is None or _COMMIT.fullmatch(text):
            return Head(branch, text)
        if not text.startswith("ref:"):
            raise RepositoryError(f"{ref} names neither a commit nor a branch")
        ref = text.removeprefix("ref:").strip()
        if not _REF.fullmatch(ref):
            raise RepositoryError("HEAD leads to a ref that git does not allow")
    raise RepositoryError("HEAD leads through too many symbolic refs")


def read_ref(repository: Repository, ref: str) -> str | None:
    """A commit, ``ref: `` and another ref, or None for a branch without a commit."""
    if ref == "HEAD":
        with suppress(OSError):  # most often: it is no symbolic link
            target = os.readlink(repository.git_dir / ref)  # noqa: PTH115 - half the time of Path's
            if target.startswith("refs/"):
                return f"ref: {target}"
        text = read_pointer(repository.git_dir / ref)
        if text is None:
            raise RepositoryError("HEAD is missing")
        return _read_from_reftable(repository, ref) if text == f"ref: {_REFTABLE}" else text
    if _uses_reftable(repository):
        return _read_from_reftable(repository, ref)
    loose = repository.common_dir / ref
    # A folder of that name is left behind where the branches in it have been packed.
    text = None if loose.is_dir() else read_pointer(loose)
    return _packed_commit(repository.common_dir / "packed-refs", ref) if text is None else text


def _packed_commit(packed_refs: Path, ref: str) -> str | None:
    """The commit of a ref in the file with a line ``<commit> <ref>`` for each."""
    line_end = b" " + os.fsencode(ref) + b"\n"
    overlap = _COMMIT_MAX_LENGTH + len(line_end)
    file = open_file(packed_refs)
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
                return decoded(window[start:at].rpartition(b"\n")[2])
            if not chunk:
                return None
    raise RepositoryError("packed-refs is too large")


# --- Parents -------------------------------------------------------------------------------------

_PARENT: Final = re.compile(rb"^parent ([0-9a-f]{40,64})$", re.MULTILINE)
_MAX_COMMIT: Final = 4_096
"""Bytes of a commit's object, of which its parents are at the start."""


def read_parents(repository: Repository, commit: str) -> tuple[str, ...]:
    """The parents of a commit; none where its object cannot be found.

    Raises:
        RepositoryError, OSError: the object cannot be read.
    """
    content = read_object(repository.common_dir / "objects", commit, _MAX_COMMIT)
    headers, _, _ = content.partition(b"\n\n")
    return tuple(parent.decode() for parent in _PARENT.findall(headers))


# --- Tags ----------------------------------------------------------------------------------------


def read_tag(repository: Repository, commit: str) -> str | None:
    """The tag of a commit: an annotated one before another, then the highest by its numbers.

    It is not found where more than 100 tags are in files of their own.

    Raises:
        RepositoryError, OSError: the refs cannot be read.
    """
    if _uses_reftable(repository):
        found = {tag: commit in ids[1:] for tag, ids in _reftable_tags(repository) if commit in ids}
    else:
        found = _tags_in_files(repository, commit)
    return max(found, key=lambda tag: (found[tag], _in_order(tag)), default=None)


def _in_order(tag: str) -> list[tuple[int, str]]:
    """v1.10 after v1.9."""
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", tag)]


def _tags_in_files(repository: Repository, commit: str) -> dict[str, bool]:
    """The tags of a commit, and whether each is annotated."""
    loose = dict(islice(_loose_tags(repository.common_dir / _TAGS), _MAX_TAG_FILES + 1))
    if len(loose) > _MAX_TAG_FILES:
        return {}
    found = dict(_packed_tags(repository.common_dir / "packed-refs", commit))
    return {
        **{tag: is_annotated for tag, is_annotated in found.items() if tag not in loose},
        **{
            tag: target != commit
            for tag, target in loose.items()
            if commit in (target, _target_of_tag(repository.common_dir / "objects", target))
        },
    }


def _loose_tags(folder: Path) -> Iterator[tuple[str, str]]:
    for place, _, files in os.walk(folder):
        for name in files:
            file = Path(place, name)
            tag = decoded(os.fsencode(file.relative_to(folder).as_posix()))
            is_tag = _REF.fullmatch(_TAGS + tag) and not tag.endswith((".lock", "."))
            if is_tag and (target := read_pointer(file)) and _COMMIT.fullmatch(target):
                yield tag, target


def _packed_tags(packed_refs: Path, commit: str) -> Iterator[tuple[str, bool]]:
    """Of the lines ``<id> refs/tags/<name>``, of which ``^<commit>`` follows an annotated one."""
    content = read_bytes(packed_refs, _MAX_TAGS_PACKED) or b""
    wanted = commit.encode()
    at = content.find(wanted)
    while at >= 0:
        is_peeled = content[at - 1 : at] == b"^"
        start = at - is_peeled
        end = start - 1 if is_peeled else content.find(b"\n", at)
        line = content[content.rfind(b"\n", 0, end) + 1 : end if end >= 0 else None]
        is_id = start == 0 or content[start - 1 : start] == b"\n"  # and not in a name
        if is_id and (name := decoded(line).partition(f" {_TAGS}")[2]):
            yield name, is_peeled
        at = content.find(wanted, at + len(wanted))


def _target_of_tag(objects: Path, tag: str) -> str | None:
    """What an annotated tag is a tag of; None for another object."""
    for _ in range(_MAX_SYMREFS):
        content = read_object(objects, tag, _MAX_TAG)
        found = _TAG.match(content)
        if found is None:
            return None
        tag = found["target"].decode()
        if found["type"] != b"tag":
            return tag
    return None


_TAG: Final = re.compile(rb"tag \d+\0object (?P<target>[0-9a-f]{40,64})\ntype (?P<type>\w+)\n")


# --- Refs that are not in files ------------------------------------------------------------------


def _uses_reftable(repository: Repository) -> bool:
    return (repository.common_dir / "reftable" / "tables.list").exists()


def _read_from_reftable(repository: Repository, ref: str) -> str | None:
    from otel_mlflow_context.detectors.repository.storage.reftable import (
        read_ref as read_ref_of_table,  # hardly any repository has one
    )

    is_shared = ref.startswith("refs/")
    return read_ref_of_table(
        (repository.common_dir if is_shared else repository.git_dir) / "reftable", ref
    )


def _reftable_tags(repository: Repository) -> Iterator[tuple[str, list[str]]]:
    from otel_mlflow_context.detectors.repository.storage.reftable import refs_below

    return refs_below(repository.common_dir / "reftable", _TAGS)
