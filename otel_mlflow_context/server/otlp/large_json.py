"""Decodes large JSON requests in another process.

Python's decoders of JSON hold the GIL for up to seconds, in which a server would answer nobody.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from google.protobuf.json_format import ParseError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_mlflow_context.server.otlp.request import JSON, PROTOBUF, count_spans, parse

LARGE_JSON: Final = 1024 * 1024
"""Bytes. To decode them takes about as long as to start a process."""
_INVALID: Final = 3
"""Exit code, unlike those of Python itself."""
_PROGRAM: Final = f"import sys; sys.path[:] = {{}}; from {__name__} import main; main()"


class InvalidJsonError(Exception):
    """A body is not a request with spans."""

    def __init__(self, smaller: bytes) -> None:
        super().__init__()
        self.smaller = smaller
        """A body to which MLflow gives the same answer."""


class DecoderFailedError(Exception):
    """The other process failed, whatever the request is."""


def parse_large_json(body: bytes) -> ExportTraceServiceRequest:
    """Decode a request body.

    Raises:
        InvalidJsonError: it is not a request with spans.
        DecoderFailedError: there is no memory, for example.
    """
    # Without what the environment adds to Python, such as automatic instrumentation.
    command = (sys.executable, "-I", "-c", _PROGRAM.format(list(map(str, sys.path))))
    try:
        decoder = subprocess.run(  # noqa: S603 - Python, with this module
            command, input=body, stdout=subprocess.PIPE, check=False
        )
    except OSError as error:
        raise DecoderFailedError(f"JSON was not decoded: {error}") from None
    if decoder.returncode == _INVALID:
        raise InvalidJsonError(decoder.stdout)
    if decoder.returncode:
        raise DecoderFailedError(f"The decoder of JSON ended with {decoder.returncode}")
    return parse(decoder.stdout, PROTOBUF)


def main() -> None:
    """The other process: JSON on stdin, protobuf or `InvalidJsonError.smaller` on stdout."""
    smaller = b""
    try:
        request = parse(sys.stdin.buffer.read(), JSON)
        if count_spans(request):
            sys.stdout.buffer.write(request.SerializeToString())
            return
        smaller = b'{"resourceSpans": [{}]}' if request.resource_spans else b"{}"
    except (ValueError, ParseError):
        pass
    except Exception:  # MLflow does not expect it: status 500
        smaller = b"[]"
    sys.stdout.buffer.write(smaller)
    sys.exit(_INVALID)
