"""Refs of a repository that keeps them in tables (``git init --ref-format=reftable``, git 2.45).

The format: https://git-scm.com/docs/reftable. Only blocks of refs are read, none of the indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors.repository.files import RepositoryError, read_bytes

_MAX_LIST: Final = 1 << 16
_MAX_TABLE: Final = 64 << 20
_MAX_REFS: Final = 10_000
"""Of those below a prefix."""
_HEADERS: Final = {1: 24, 2: 28}
"""Bytes at the start of a table, by the version of the format."""
_ID_LENGTHS: Final = {b"sha1": 20, b"s256": 32}
_DELETED, _ID, _ID_AND_PEELED, _SYMBOLIC = range(4)


class _Record(NamedTuple):
    name: bytes
    kind: int
    values: list[str]
    """The id, and for an annotated tag the id of what it is a tag of; or ``ref: `` and a name."""


def read_ref(folder: Path, ref: str) -> str | None:
    """A commit, ``ref: `` and another ref, or None for a ref that is not there.

    Raises:
        RepositoryError, OSError: the tables cannot be read.
    """
    name = ref.encode("utf-8", "surrogateescape")
    for table in _tables(folder):
        for record in _records(table, name):
            if record.name == name:
                return record.values[0] if record.kind != _DELETED else None
            if record.name > name:
                break
    return None


def refs_below(folder: Path, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """The names after a prefix, each with its id and what that is a tag of, if it is one.

    Raises:
        RepositoryError, OSError: the tables cannot be read.
    """
    start = prefix.encode()
    seen: set[bytes] = set()
    for table in _tables(folder):
        for record in islice(_records(table, start), _MAX_REFS):
            if record.name < start or record.name in seen:
                continue
            if not record.name.startswith(start):
                break
            seen.add(record.name)
            if record.kind in (_ID, _ID_AND_PEELED):
                name = record.name.removeprefix(start).decode("utf-8", "surrogateescape")
                yield name, record.values


def _tables(folder: Path) -> Iterator[bytes]:
    """The stack of tables, the newest first: it overrides the others."""
    listed = read_bytes(folder / "tables.list", _MAX_LIST)
    if listed is None:
        raise RepositoryError("its refs are in a reftable that is not there")
    for name in reversed(listed.decode("ascii", "replace").split()):
        if "/" in name or (table := read_bytes(folder / name, _MAX_TABLE)) is None:
            raise RepositoryError("its reftable names a table that is not there")
        yield table


def _records(table: bytes, wanted: bytes) -> Iterator[_Record]:
    """The refs of a table in their order, from the last block that begins before `wanted`."""
    try:
        header, id_length = _header(table)
        blocks = list(_blocks(table, header))
        first = 0
        for number, (at, end) in enumerate(blocks):
            if next(_records_of(table, at, end, id_length)).name > wanted:
                break
            first = number
        for at, end in blocks[first:]:
            yield from _records_of(table, at, end, id_length)
    except (IndexError, KeyError, StopIteration, RuntimeError):
        raise RepositoryError("its reftable is damaged") from None


def _header(table: bytes) -> tuple[int, int]:
    """How long the header is, and an id."""
    if not table.startswith(b"REFT"):
        raise KeyError
    return _HEADERS[table[4]], _ID_LENGTHS[table[24:28] if table[4] > 1 else b"sha1"]


def _blocks(table: bytes, header: int) -> Iterator[tuple[int, int]]:
    """Where the records of each block of refs start and end."""
    size = int.from_bytes(table[5:8], "big")
    start, at = 0, header  # the first block holds the table's header
    while table[at : at + 1] == b"r":
        length = int.from_bytes(table[at + 1 : at + 4], "big")
        restarts = int.from_bytes(table[start + length - 2 : start + length], "big")
        if not length:
            raise IndexError
        yield at + 4, start + length - 2 - 3 * restarts
        start += max(length, size)
        at = start


def _records_of(table: bytes, at: int, end: int, id_length: int) -> Iterator[_Record]:
    name = b""
    while at < end:
        shared, at = _number(table, at)
        both, at = _number(table, at)
        name, at = name[:shared] + table[at : at + (both >> 3)], at + (both >> 3)
        _, at = _number(table, at)  # when it was written
        kind = both & 7
        values = []
        if kind == _SYMBOLIC:
            length, at = _number(table, at)
            values = [f"ref: {table[at : at + length].decode('utf-8', 'surrogateescape')}"]
            at += length
        else:
            for _ in range({_DELETED: 0, _ID: 1, _ID_AND_PEELED: 2}[kind]):
                values.append(table[at : at + id_length].hex())
                at += id_length
        yield _Record(name, kind, values)


def _number(table: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = table[at] & 0x7F
    while table[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (table[at] & 0x7F)
    return value, at + 1
