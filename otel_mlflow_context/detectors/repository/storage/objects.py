"""Objects of a repository: in files of their own, in packs, and in stores that it borrows from.

The formats: gitformat-pack(5), gitrepository-layout(5).
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from otel_mlflow_context.detectors.repository.files import open_file, read_bytes

_MAX_LOOSE: Final = 1 << 20
_CHUNK: Final = 1 << 16
_MAX_FOLDERS: Final = 10
_MAX_PACKS: Final = 50
_INDEX: Final = b"\xfftOc\0\0\0\2"
"""How the index of a pack begins, in the version that git has written since 2008."""
_FANOUT: Final = 256
_START: Final = len(_INDEX) + 4 * _FANOUT
"""Where the sorted ids stand."""
_LARGE: Final = 1 << 31
_TYPES: Final = {1: b"commit", 4: b"tag"}
_DIFFERENCE_FROM_PLACE: Final = 6
_DIFFERENCE_FROM_ID: Final = 7
_MAX_DELTAS: Final = 100
"""Of which one is based on the other: git makes 50."""


def read_object(objects: Path, object_id: str, max_length: int) -> bytes:
    """The beginning of a commit or tag, with its type: ``tag 123\\0object ...``.

    Empty where it is not there, or cannot be read.

    Args:
        objects: the repository's folder of objects.
        object_id: in hexadecimal.
        max_length: how much of it, at most.

    Raises:
        RepositoryError, OSError: a file cannot be read.
    """
    folders = list(islice(_folders(objects), _MAX_FOLDERS))
    for folder in folders:
        if compressed := read_bytes(folder / object_id[:2] / object_id[2:], _MAX_LOOSE):
            return _decompressed(compressed, max_length)
    with suppress(IndexError, ValueError, struct.error):  # it is damaged
        for index in islice(_indexes(folders), _MAX_PACKS):
            wanted = bytes.fromhex(object_id)
            if (offset := _offset(index, wanted)) is not None:
                kind, content = _read_packed(index, offset, len(wanted))
                header = b"%s %d\0" % (_TYPES[kind], len(content)) if kind in _TYPES else b""
                return (header + content)[:max_length] if header else b""
    return b""


def _folders(objects: Path) -> Iterator[Path]:
    yield objects
    for line in (read_bytes(objects / "info" / "alternates", _CHUNK) or b"").splitlines():
        if line and not line.startswith(b"#"):
            yield from _folders(objects / os.fsdecode(line))


def _indexes(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((folder / "pack").glob("pack-*.idx"))


def _offset(index: Path, object_id: bytes) -> int | None:
    """Where an object stands in a pack; None where that has no such object."""
    file = open_file(index)
    if file is None:
        return None
    with file:
        if _at(file, 0, len(_INDEX)) != _INDEX:
            return None
        fanout = (0, *struct.unpack(f">{_FANOUT}I", _at(file, len(_INDEX), 4 * _FANOUT)))
        low, high = fanout[object_id[0]], fanout[object_id[0] + 1]
        length = len(object_id)
        while low < high:
            middle = (low + high) // 2
            found = _at(file, _START + middle * length, length)
            if found == object_id:
                return _offset_of(file, middle, fanout[-1], length)
            low, high = (middle + 1, high) if found < object_id else (low, middle)
    return None


def _offset_of(file: BinaryIO, number: int, count: int, length: int) -> int:
    # Behind the ids stand checksums, and then the places in the pack; large ones behind these.
    places = _START + count * (length + 4)
    place = int.from_bytes(_at(file, places + 4 * number, 4), "big")
    if place < _LARGE:
        return place
    return int.from_bytes(_at(file, places + 4 * count + 8 * (place - _LARGE), 8), "big")


def _read_packed(index: Path, offset: int, id_length: int) -> tuple[int, bytes]:
    """The type of an object in a pack, and its content."""
    file = open_file(index.with_suffix(".pack"))
    if file is None:
        return 0, b""
    deltas: list[bytes] = []
    with file:
        for _ in range(_MAX_DELTAS):
            content = _at(file, offset, _CHUNK)
            kind, at = content[0] >> 4 & 7, 1
            while content[at - 1] & 0x80:  # its size
                at += 1
            if kind == _DIFFERENCE_FROM_PLACE:
                distance, at = _distance(content, at)
                offset -= distance
            elif kind == _DIFFERENCE_FROM_ID:
                base = _offset(index, content[at : at + id_length])
                if base is None:
                    break
                offset, at = base, at + id_length
            else:
                result = _decompressed(content[at:], _CHUNK)
                for delta in reversed(deltas):
                    result = _applied(delta, result)
                return kind, result
            deltas.append(_decompressed(content[at:], _CHUNK))
            if sum(map(len, deltas)) > _CHUNK:
                raise ValueError("larger than any commit")
    return 0, b""


def _distance(content: bytes, at: int) -> tuple[int, int]:
    """How far before an object its base stands, and where that number ends."""
    value = content[at] & 0x7F
    while content[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (content[at] & 0x7F)
    return value, at + 1


def _applied(delta: bytes, base: bytes) -> bytes:
    """What a difference makes of its base: "Deltified representation" in gitformat-pack(5)."""
    at = 0
    for _ in range(2):  # the sizes of both
        while delta[at] & 0x80:
            at += 1
        at += 1
    result = bytearray()
    while at < len(delta):
        instruction = delta[at]
        at += 1
        if not instruction & 0x80:
            result += delta[at : at + instruction]
            at += instruction
            continue
        numbers = [0] * 7  # four bytes of a place, three of a size
        for bit in range(7):
            if instruction >> bit & 1:
                numbers[bit] = delta[at]
                at += 1
        start = int.from_bytes(bytes(numbers[:4]), "little")
        size = int.from_bytes(bytes(numbers[4:]), "little") or 1 << 16
        result += base[start : start + size]
        if len(result) > _CHUNK:
            raise ValueError("larger than any commit")
    return bytes(result)


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    if not 0 <= position <= sys.maxsize:
        raise ValueError("no place in a file")
    file.seek(position)
    return file.read(length)


def _decompressed(compressed: bytes, max_length: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(compressed, max_length)
    except zlib.error:
        return b""
