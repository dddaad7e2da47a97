"""A program for a run by hand: coverage-guided fuzzing of the server's decoder, with Atheris.

    pip install atheris
    python tests/server/programs/fuzz.py -max_total_time=600 corpus/

The folder is filled with the seeds of `otlp_corpus`; a finding is a file in the working directory.
"""

import logging
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["otel_mlflow_context"]):
    from otel_mlflow_context.semconv import PROCESS_FACTS, REQUEST_FACTS, is_allowed_key
    from otel_mlflow_context.server.otlp.entry_spans import entry_spans
    from otel_mlflow_context.server.otlp.http_body import decompress
    from otel_mlflow_context.server.otlp.request import (
        JSON,
        PROTOBUF,
        count_spans,
        parse,
        split_by_trace,
    )
    from otel_mlflow_context.settings import Settings

from otlp_corpus import REQUESTS

LIMIT = 200_000
FORMS = [(encoding, type_) for encoding in ("", "gzip", "deflate") for type_ in (PROTOBUF, JSON)]
TABLE = {fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)}


def look(data):
    """The first byte is the form of the request, the rest its body."""
    encoding, media_type = FORMS[data[0] % len(FORMS)] if data else FORMS[0]
    try:
        unpacked = decompress(data[1:], encoding, LIMIT)
        request = parse(unpacked, media_type)
    except Exception:  # refused
        return
    if len(unpacked) > LIMIT:
        raise AssertionError(len(unpacked))
    if sum(map(count_spans, split_by_trace(request, 3, 500))) != count_spans(request):
        raise AssertionError(request)
    for entry in entry_spans(request, Settings()).values():
        for key, value in entry.metadata.items():
            if not (key in TABLE or is_allowed_key(key)) or not 1 <= len(value) <= 250:
                raise AssertionError((key, value))


def main():
    logging.disable(logging.CRITICAL)
    for folder in (Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")):
        folder.mkdir(exist_ok=True)
        for number, (body, headers) in enumerate(REQUESTS.values()):
            form = (headers.get("content_encoding", ""), headers.get("content_type", PROTOBUF))
            if len(body) < LIMIT and form in FORMS:
                (folder / f"seed{number}").write_bytes(bytes([FORMS.index(form)]) + body)
    atheris.Setup(sys.argv, look)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
