"""Whether git tracks a file, or anything in a folder: the index, read without git.

Versions 2 to 4, with ids of SHA-1 or SHA-256, whole or split: gitformat-index(5).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors.repository.files import Repository, RepositoryError, read_bytes

_MAX_INDEX: Final = 64 << 20
"""Bytes: of half a million files."""
_HEADER: Final = 12
"""Bytes before the first entry: ``DIRC``, the version, the number of entries."""
_STAT: Final = 40
"""Bytes of an entry before its id; the mode is at 24."""
_MODES: Final = frozenset({0o100644, 0o100755, 0o120000, 0o160000})
_EXTENDED: Final = 0x4000
_LONG: Final = 0xFFF
"""In the flags, the length of a path that is as long or longer."""
_MAX_PATH: Final = 4_096
"""Bytes: PATH_MAX on Linux."""
_COMPRESSED: Final = 4
"""The version that has each path as its difference from the one before."""


def has_index(repository: Repository) -> bool:
    """Whether anything was ever added: before the first ``git add`` there is no index."""
    return os.path.lexists(repository.git_dir / "index")


def tracks(repository: Repository, path: str) -> bool:
    """Whether the index holds a path: a file, from the top of the work tree.

    Raises:
        RepositoryError, OSError: it cannot be read.
    """
    return _Index(repository).holds(re.escape(os.fsencode(path)))


def tracks_below(repository: Repository, folder: str) -> bool:
    """Whether the index holds anything in a folder of the work tree."""
    return _Index(repository).holds(re.escape(os.fsencode(folder) + b"/") + rb"[^\0]+")


class _Index:
    def __init__(self, repository: Repository) -> None:
        self._folder = repository.git_dir
        self._id_length = repository.id_length

    def holds(self, path: bytes) -> bool:
        """Whether a tracked path matches a regular expression."""
        try:
            return self._holds(path)
        except (IndexError, ValueError, struct.error):
            raise RepositoryError("the index cannot be read: it is broken") from None

    def _holds(self, path: bytes) -> bool:
        content = self._read(self._folder / "index")
        if content is None:
            return False
        pattern = re.compile(path)
        if b"link" not in content:
            return self._matches(content, pattern)
        end, entries = self._entries(content)
        link = next((it for name, it in _extensions(content, end) if name == b"link"), None)
        if link is None:
            return self._matches(content, pattern)
        shared_id, bitmaps = link[: self._id_length], link[self._id_length :]
        shared = self._read(self._folder / f"sharedindex.{shared_id.hex()}")
        if shared is None:
            raise RepositoryError("the index is split, and its other part is missing")
        _, shared_entries = self._entries(shared)
        deleted = set(_bits(bitmaps, len(shared_entries))) if bitmaps else set()
        remaining = (it for at, it in enumerate(shared_entries) if at not in deleted)
        return any(map(pattern.fullmatch, (*entries, *remaining)))

    def _read(self, file: Path) -> bytes | None:
        content = read_bytes(file, _MAX_INDEX)
        if content is not None and content[:7] != b"DIRC\0\0\0":
            raise RepositoryError(f"{file} is no index of git")
        return content

    def _matches(self, content: bytes, pattern: re.Pattern[bytes]) -> bool:
        if content[7] == _COMPRESSED:
            return any(map(pattern.fullmatch, self._entries(content)[1]))
        # Paths stand there as they are. To go from entry to entry takes many times as long as to
        # search, so what is found is examined: extensions hold paths too.
        return any(
            self._is_entry(content, it.start(), len(it[0])) for it in pattern.finditer(content)
        )

    def _is_entry(self, content: bytes, at: int, length: int) -> bool:
        """Whether a path stands behind what is before a path in an entry."""
        for extended in (0, 2):
            flags_at = at - 2 - extended
            start = flags_at - self._id_length - _STAT
            if start < _HEADER or content[at + length] or (start - _HEADER) % 8:
                continue
            mode = int.from_bytes(content[start + 24 : start + 28], "big")
            flags = int.from_bytes(content[flags_at : flags_at + 2], "big")
            is_extended = bool(flags & _EXTENDED)
            if mode in _MODES and flags & _LONG == min(length, _LONG):
                return is_extended is bool(extended)
        return False

    def _entries(self, content: bytes) -> tuple[int, list[bytes]]:
        """Where the entries end, and their paths."""
        count = int.from_bytes(content[8:12], "big")
        is_compressed = content[7] == _COMPRESSED
        paths: list[bytes] = []
        at, path = _HEADER, b""
        for _ in range(count):
            start = at
            at += _STAT + self._id_length + 2
            at += 2 if content[at - 2] & (_EXTENDED >> 8) else 0
            if is_compressed:
                removed, at = _varint(content, at)
                end = content.index(b"\0", at)
                path = path[: max(0, len(path) - removed)] + content[at:end]
                if len(path) > _MAX_PATH:
                    raise RepositoryError("the index cannot be read: a path is too long")
                at = end + 1
            else:
                end = content.index(b"\0", at)
                path = content[at:end]
                at = start + ((end - start + 8) & ~7)
            paths.append(path)
        return at, paths


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number as of OFS_DELTA in gitformat-pack(5), and where it ends."""
    byte = content[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = content[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, at + 1


def _extensions(content: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while (name := content[at : at + 4]) and len(content) - at > 4 + 4:
        length = int.from_bytes(content[at + 4 : at + 8], "big")
        yield name, content[at + 8 : at + 8 + length]
        at += 8 + length


def _bits(bitmap: bytes, size: int) -> Iterator[int]:
    """The bits that are set, up to a size: "EWAH bitmaps" in gitformat-bitmap(5)."""
    count = int.from_bytes(bitmap[4:8], "big")
    words = iter(struct.unpack_from(f">{count}Q", bitmap, 8))
    position = 0
    for word in words:
        run, literals = (word >> 1) & 0xFFFF_FFFF, word >> 33
        if word & 1:
            yield from range(position, min(position + 64 * run, size))
        position += 64 * run
        for literal in islice(words, literals):
            yield from (position + bit for bit in range(64) if literal >> bit & 1)
            position += 64
