"""The body of an HTTP request, read and decompressed within limits."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


class RequestTooLargeError(Exception):
    """A request exceeds a limit; the message says which, for its sender."""


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body.

    Raises:
        RequestTooLargeError: it has more than `limit` bytes, of which no more are kept.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise RequestTooLargeError(_too_large(limit))
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise RequestTooLargeError(_too_large(limit))
        chunks.append(chunk)
    return b"".join(chunks)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a content encoding, in pieces: no more than `limit` bytes are ever unpacked.

    Raises:
        RequestTooLargeError: there would be more.
        Exception: the body is damaged, or its encoding is unknown.
    """
    encoding = encoding.strip().lower()
    if encoding == "gzip":
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    elif encoding == "deflate":
        try:
            unpacked = _inflate(body, limit, zlib.MAX_WBITS)
        except zlib.error:  # without zlib's header, as some clients send it
            unpacked = _inflate(body, limit, -zlib.MAX_WBITS)
    elif encoding in ("identity", ""):
        unpacked = body
    else:
        raise ValueError(encoding)
    if len(unpacked) > limit:
        raise RequestTooLargeError(_too_large(limit, " when decompressed"))
    return unpacked


def _inflate(body: bytes, limit: int, window: int) -> bytes:
    decompressor = zlib.decompressobj(window)
    unpacked = decompressor.decompress(body, limit + 1)
    if not decompressor.eof and len(unpacked) <= limit:
        raise zlib.error("incomplete")
    return unpacked


def _too_large(limit: int, when: str = "") -> str:
    return f"The request is larger than {limit} bytes{when}"
