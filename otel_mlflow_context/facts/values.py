"""The form of a value: `clean`, through which every value from outside passes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from otel_mlflow_context.semconv import CLIENT_REQUEST_ID, USER_ID
from otel_mlflow_context.settings import Settings

MAX_LENGTH: Final = 250
"""Characters. MLflow 3.17 refuses a session over 250, and shows no more of any value."""
MAX_REQUEST_ID_LENGTH: Final = 50
"""Characters. MLflow's column of client request ids on PostgreSQL."""

# Characters that break logs, headers, databases or terminals: C0, DEL, C1, and the two Unicode
# line ends. They become a space, so that two lines do not become one word.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Lone surrogates cannot be encoded: protobuf and every database refuse them.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DIGEST_LENGTH: Final = 16


def clean(value: object, max_length: int = MAX_LENGTH) -> str | None:
    """`value` as text that MLflow and every log can take, or None where nothing is left.

    Text without control characters and without space around it, of at most `max_length`
    characters. Longer text is cut and ends with ``~`` and 16 hex digits of the SHA-256 of the
    whole, so that two long ids stay two, and one long id is the same in every service.

    Booleans are ``true`` or ``false``, numbers their decimal form, sequences JSON; everything
    else, bytes included, becomes None.

    >>> clean(" s-1\\n")
    's-1'
    >>> clean(True), clean(1.5), clean(("a", "b")), clean(b"x"), clean("")
    ('true', '1.5', '["a", "b"]', None, None)
    >>> len(clean("x" * 300))
    250
    """
    text = value if isinstance(value, str) else _as_text(value)
    if not text.isprintable():
        text = _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))
    text = text.strip()
    if len(text) > max_length:
        import hashlib  # loads OpenSSL, and hardly anybody has such a value

        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
        text = f"{text[: max_length - _DIGEST_LENGTH - 1]}~{digest}"
    return text or None


def request_value(key: str, value: object, settings: Settings) -> str | None:
    """The value of a request fact from a header, baggage, code or another library.

    Args:
        key: its baggage key.
        value: of any form; see `clean`.
        settings: `user_id` and `user_id_key` apply to a user's id.

    A user's id that is a hash already, made by another service, stays as it is.

    >>> settings = Settings(user_id="hash", user_id_key="not in the source code")
    >>> request_value("user.id", "ada", settings)[:20]
    'hmac-sha256:15d82a52'
    """
    text = clean(value, max_length(key))
    if key != USER_ID or settings.user_id == "plain" or text is None:
        return text
    if settings.user_id == "drop" or not settings.user_id_key:
        return None
    return text if _HASHED.fullmatch(text) else _hashed(text, settings.user_id_key)


def max_length(key: str) -> int:
    """How many characters the value of an attribute or baggage key may have."""
    return MAX_REQUEST_ID_LENGTH if key == CLIENT_REQUEST_ID else MAX_LENGTH


_HASH: Final = "hmac-sha256:"
_HASHED: Final = re.compile(f"{_HASH}[0-9a-f]{{64}}")


def _hashed(user_id: str, key: str) -> str:
    import hmac  # loads OpenSSL

    return _HASH + hmac.new(key.encode(), user_id.encode(), "sha256").hexdigest()


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return json.dumps(list(value), ensure_ascii=False, default=str)
    return ""
