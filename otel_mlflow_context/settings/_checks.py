"""What the value of each setting may be.

A check takes the setting's name and a value, and returns the value as it is kept, or raises
`ValueError` with both and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from otel_mlflow_context.semconv import (
    CLIENT_REQUEST_ID,
    MAX_DECLARED,
    SESSION_ID,
    USER_ID,
    is_allowed_key,
)
from otel_mlflow_context.settings.host_names import host_name

_REQUEST_HEADERS: Final = {"session": SESSION_ID, "user": USER_ID, "request": CLIENT_REQUEST_ID}
"""The names in the setting `request_headers`, and the baggage key of each."""
LOOPBACK: Final = ("localhost", "127.0.0.0/8", "::1")
_MAX_SECONDS: Final = 1e9
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


def _names(setting: str, value: str | Iterable[str]) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{setting} must be names (text), got {value!r}")
    return tuple(dict.fromkeys(stripped for name in names if (stripped := name.strip())))


def _metadata_keys(setting: str, value: str | Iterable[str]) -> tuple[str, ...]:
    keys = _names(setting, value)
    if len(keys) > MAX_DECLARED:
        raise ValueError(f"{setting} must be at most {MAX_DECLARED} names, got {len(keys)}")
    if wrong := [key for key in keys if not is_allowed_key(key, keys)]:
        raise ValueError(
            f"{setting} must not be names that have a meaning already, and of letters and digits "
            f"of ASCII, spaces and any of _ . : / ~ -, got {listed(wrong)}"
        )
    return keys


def _request_headers(setting: str, value: str | Mapping[str, str]) -> dict[str, str]:
    pairs = (
        [tuple(pair.partition("=")[::2]) for pair in _names(setting, value)]
        if isinstance(value, str)
        else list(value.items())
    )
    headers = {}
    for name, header in pairs:
        key = _REQUEST_HEADERS.get(name.strip(), name.strip())
        if key not in _REQUEST_HEADERS.values() or not _HEADER_NAME.fullmatch(header.strip()):
            raise ValueError(
                f"{setting} must be names of headers for {listed(_REQUEST_HEADERS)}, as in "
                f'"session=X-Session-ID,user=X-User-ID", got {value!r}'
            )
        headers[key] = header.strip()
    return headers


def _trusted_hosts(setting: str, value: str | Iterable[str]) -> tuple[str, ...]:
    if value is LOOPBACK:
        return LOOPBACK
    hosts = _names(setting, value)
    wrong = [it for it in hosts if not (_is_network(it) or host_name(it.removeprefix("*.")))]
    if wrong:
        raise ValueError(
            f'{setting} must be names ("api.internal"), suffixes ("*.svc.cluster.local"), '
            f'addresses or networks ("10.0.0.0/8"), without port or path, got {listed(wrong)}'
        )
    return tuple(host.lower() for host in hosts)


def _is_network(text: str) -> bool:
    from ipaddress import ip_network  # not loaded in every program, and hardly any needs it

    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _one_of(*allowed: str) -> Callable[[str, object], str]:
    def checked(setting: str, value: object) -> str:
        if value not in allowed:
            raise ValueError(f"{setting} must be one of {listed(allowed)}, got {value!r}")
        return str(value)

    return checked


def _boolean(setting: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError(f'{setting} must be "true" or "false", got {value!r}')


def _seconds(setting: str, value: object) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < _MAX_SECONDS:
        raise ValueError(f"{setting} must be seconds, 0 or more, got {value!r}")
    return seconds


def _limit(setting: str, value: object) -> int:
    try:
        limit: int = int(value)  # type: ignore[call-overload]  # the same
    except (TypeError, ValueError):
        limit = 0
    if limit < 1:
        raise ValueError(f"{setting} must be a whole number above 0, got {value!r}")
    return limit


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


CHECKS: Final[dict[str, Callable[[str, Any], object]]] = {
    "metadata_keys": _metadata_keys,
    "trace_boundary": _one_of("root", "service"),
    "source_type": _one_of("environment", "kind"),
    "tags": _boolean,
    "dirty": _boolean,
    "describe": _boolean,
    "runs": _boolean,
    "versions": _boolean,
    "request_headers": _request_headers,
    "inbound_keys": _names,
    "trusted_hosts": _trusted_hosts,
    "trusted_messaging": _boolean,
    "user_id": _one_of("plain", "hash", "drop"),
    "close_after": _seconds,
    "max_request_bytes": _limit,
    "max_unpacked_bytes": _limit,
    "max_request_spans": _limit,
    "max_request_traces": _limit,
}
