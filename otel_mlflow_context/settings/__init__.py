"""The settings of this package: environment variables, read once into one frozen `Settings`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_mlflow_context.semconv import CLIENT_REQUEST_ID, RESERVED, SESSION_ID, USER_ID
from otel_mlflow_context.settings import environment_variables as env

_logger = logging.getLogger(__name__)

TRACE_BOUNDARIES: Final = ("root", "service")
SOURCE_TYPES: Final = ("environment", "kind")
USER_IDS: Final = ("plain", "hash", "drop")
REQUEST_HEADERS: Final = {"session": SESSION_ID, "user": USER_ID, "request": CLIENT_REQUEST_ID}
"""What a request header can say, and the baggage key that it becomes."""
_LOOPBACK: Final = ("localhost", "127.0.0.0/8", "::1")
_MIN_KEY_LENGTH: Final = 16
_LONGEST: Final = 1e9
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_NAME: Final = re.compile(r"(?:\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_-]+)*")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True)
class Settings:
    """What can be set, with the defaults. The variable of each stands in `environment_variables`.

    Raises:
        ValueError: a value that is not allowed; the message names the setting and what is.
    """

    metadata_keys: tuple[str, ...] = ()
    """More resource attributes and baggage keys to carry into the trace metadata."""
    trace_boundary: str = "root"
    """"root" or "service": which span speaks for a trace."""
    source_type: str = "environment"
    """"environment" or "kind": what `mlflow.source.type` says."""
    tags: bool = False
    """Write each fact as attribute `mlflow.traceTag.<key>` too."""
    dirty: bool = True
    """Check for uncommitted changes."""
    describe: bool = False
    """Ask `git describe` for the version: what it says counts before a build stamp's."""
    stamp: str | None = None
    """The path of the build stamp, or of the folder that holds it; None: it is looked for."""
    runs: bool = False
    """Write the facts of the process on MLflow runs too, as tags."""
    request_headers: Mapping[str, str] = field(
        default_factory=lambda: {
            SESSION_ID: "X-Session-ID",
            USER_ID: "X-User-ID",
            CLIENT_REQUEST_ID: "X-Request-ID",
        }
    )
    """The request header that each baggage key is read from; given as
    ``session=X-Session-ID,user=X-User-ID,request=X-Request-ID``, any of the three."""
    inbound_keys: tuple[str, ...] = ("*",)
    """The baggage keys that are taken from incoming requests; a ``*`` at the end is any more."""
    trusted_hosts: tuple[str, ...] = _LOOPBACK
    """Where baggage may go: names, ``*.suffix``, addresses and networks."""
    trusted_messaging: bool = False
    """Baggage may go into messages too, whose destination is no host."""
    user_id: str = "plain"
    """"plain"; "hash": HMAC-SHA256 with `user_id_key`; or "drop": no user is written or sent."""
    user_id_key: str | None = field(default=None, repr=False)
    """The key of "hash", at least 16 characters, the same in every service."""

    close_after: float = 3600.0
    """Seconds after which the server plugin ends a trace whose root has not come; 0: never."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata_keys", _keys(self.metadata_keys))
        _one_of("trace_boundary", self.trace_boundary, TRACE_BOUNDARIES)
        _one_of("source_type", self.source_type, SOURCE_TYPES)
        object.__setattr__(self, "tags", _boolean("tags", self.tags))
        object.__setattr__(self, "dirty", _boolean("dirty", self.dirty))
        object.__setattr__(self, "describe", _boolean("describe", self.describe))
        object.__setattr__(self, "runs", _boolean("runs", self.runs))
        object.__setattr__(self, "request_headers", _headers(self.request_headers))
        object.__setattr__(self, "inbound_keys", _words("inbound_keys", self.inbound_keys))
        object.__setattr__(self, "trusted_hosts", _hosts(self.trusted_hosts))
        trusted_messaging = _boolean("trusted_messaging", self.trusted_messaging)
        object.__setattr__(self, "trusted_messaging", trusted_messaging)
        _one_of("user_id", self.user_id, USER_IDS)
        object.__setattr__(self, "close_after", _seconds("close_after", self.close_after))
        if self.user_id_key is not None and len(self.user_id_key) < _MIN_KEY_LENGTH:
            raise ValueError(f"user_id_key must have at least {_MIN_KEY_LENGTH} characters")
        if self.user_id == "hash" and not self.user_id_key:
            raise ValueError('user_id "hash" needs a user_id_key')

    def with_options(self, **options: Any) -> Settings:
        """These settings with some replaced; an option that is None leaves its setting as it is.

        Raises:
            ValueError: an unknown option, or a value that is not allowed.
        """
        if unknown := options.keys() - _VARIABLES.keys():
            raise ValueError(
                f"unknown option {_listed(unknown)}; allowed are {_listed(_VARIABLES)}"
            )
        return dataclasses.replace(
            self, **{name: value for name, value in options.items() if value is not None}
        )


_VARIABLES: Final = {
    "metadata_keys": env.OTEL_MLFLOW_CONTEXT_METADATA_KEYS,
    "trace_boundary": env.OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY,
    "source_type": env.OTEL_MLFLOW_CONTEXT_SOURCE_TYPE,
    "tags": env.OTEL_MLFLOW_CONTEXT_TAGS,
    "dirty": env.OTEL_MLFLOW_CONTEXT_DIRTY,
    "describe": env.OTEL_MLFLOW_CONTEXT_DESCRIBE,
    "stamp": env.OTEL_MLFLOW_CONTEXT_STAMP,
    "runs": env.OTEL_MLFLOW_CONTEXT_RUNS,
    "request_headers": env.OTEL_MLFLOW_CONTEXT_REQUEST_HEADERS,
    "inbound_keys": env.OTEL_MLFLOW_CONTEXT_INBOUND_KEYS,
    "trusted_hosts": env.OTEL_MLFLOW_CONTEXT_TRUSTED_HOSTS,
    "trusted_messaging": env.OTEL_MLFLOW_CONTEXT_TRUSTED_MESSAGING,
    # The key first, which the other may need.
    "user_id_key": env.OTEL_MLFLOW_CONTEXT_USER_ID_KEY,
    "user_id": env.OTEL_MLFLOW_CONTEXT_USER_ID,
    "close_after": env.OTEL_MLFLOW_CONTEXT_CLOSE_AFTER,
}
# What a bad value stands for, where the default would give away what was meant to be kept.
_INSTEAD: Final = {"user_id": "drop", "inbound_keys": ()}


def settings_from(environ: Mapping[str, str]) -> Settings:
    """The settings that the given environment makes.

    A bad value is logged by its variable's name, and the default stands; for who the user is and
    what may come in, that is nothing.
    """
    settings = Settings()
    for name, variable in _VARIABLES.items():
        text = environ.get(variable, "").strip()
        if not text:
            continue
        try:
            settings = settings.with_options(**{name: text})
        except ValueError as error:
            _logger.warning("%s is ignored: %s", variable, error)
            if name in _INSTEAD:
                settings = settings.with_options(**{name: _INSTEAD[name]})
    return settings


@functools.cache
def _settings_of_the_environment() -> Settings:
    return settings_from(os.environ)


_overriding: Settings | None = None


def current_settings() -> Settings:
    """The settings of this process: its environment's, read at the first call, or `override`'s."""
    return _overriding or _settings_of_the_environment()


def override(**options: Any) -> Settings:
    """Set some of this process's settings in place of its environment's; returns them all.

    Raises:
        ValueError: an unknown option, or a value that is not allowed.
    """
    global _overriding  # noqa: PLW0603  # one process, one set of settings
    _overriding = _settings_of_the_environment().with_options(**options)
    return _overriding


def forget() -> None:
    """Read the environment again at the next call, and drop what was overridden."""
    global _overriding  # noqa: PLW0603
    _overriding = None
    _settings_of_the_environment.cache_clear()


def _words(name: str, value: str | Iterable[str]) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"{name} must be names (text), got {value!r}")
    return tuple(dict.fromkeys(stripped for word in words if (stripped := word.strip())))


def _keys(value: str | Iterable[str]) -> tuple[str, ...]:
    keys = _words("metadata_keys", value)
    if taken := [key for key in keys if key in RESERVED or key.startswith("mlflow.")]:
        raise ValueError(
            f"metadata_keys must not be names that have a meaning already, got {_listed(taken)}"
        )
    return keys


def _headers(value: str | Mapping[str, str]) -> dict[str, str]:
    pairs = (
        [tuple(word.partition("=")[::2]) for word in _words("request_headers", value)]
        if isinstance(value, str)
        else list(value.items())
    )
    headers = {}
    for fact, header in pairs:
        key = REQUEST_HEADERS.get(fact.strip(), fact.strip())
        if key not in REQUEST_HEADERS.values() or not _HEADER_NAME.fullmatch(header.strip()):
            raise ValueError(
                f"request_headers must be names of headers for {_listed(REQUEST_HEADERS)}, as in "
                f'"session=X-Session-ID,user=X-User-ID", got {value!r}'
            )
        headers[key] = header.strip()
    return headers


def _hosts(value: str | Iterable[str]) -> tuple[str, ...]:
    if value is _LOOPBACK:
        return _LOOPBACK
    hosts = tuple(host.lower() for host in _words("trusted_hosts", value))
    if wrong := [host for host in hosts if not (_is_network(host) or _HOST_NAME.fullmatch(host))]:
        raise ValueError(
            'trusted_hosts must be names ("api.internal"), suffixes ("*.svc.cluster.local"), '
            f'addresses or networks ("10.0.0.0/8"), without port or path, got {_listed(wrong)}'
        )
    return hosts


def _is_network(text: str) -> bool:
    from ipaddress import ip_network  # not loaded in every program, and hardly any needs it

    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {_listed(allowed)}, got {value!r}")


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError(f'{name} must be "true" or "false", got {value!r}')


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < _LONGEST:
        raise ValueError(f"{name} must be seconds, 0 or more, got {value!r}")
    return seconds


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
