"""The body of an HTTP request without its content encoding."""

from __future__ import annotations

import gzip
import zlib


def decompress(body: bytes, encoding: str) -> bytes:
    """Undo a content encoding.

    Raises:
        Exception: the body is damaged, or its encoding is unknown.
    """
    encoding = encoding.strip().lower()
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    if encoding not in ("identity", ""):
        raise ValueError(encoding)
    return body
