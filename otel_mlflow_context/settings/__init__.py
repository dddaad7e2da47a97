"""The settings of this package: environment variables, read once into one frozen `Settings`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.trace import SpanContext

from otel_mlflow_context.semconv import CLIENT_REQUEST_ID, SESSION_ID, USER_ID
from otel_mlflow_context.settings._checks import CHECKS, LOOPBACK, listed

_logger = logging.getLogger(__name__)
_MIN_KEY_LENGTH: Final = 16


@dataclass(frozen=True)
class Settings:
    """All settings, with their defaults.

    Each has an environment variable, ``OTEL_MLFLOW_CONTEXT_`` and its name in capitals. There, and
    in options, a list is comma-separated text, and a boolean is ``true`` or ``false``.

    Raises:
        ValueError: a value that is not allowed; the message names the setting and what is.
    """

    metadata_keys: tuple[str, ...] = ()
    """More resource attributes and baggage keys to write as trace metadata, under their names."""
    trace_boundary: str = "root"
    """Which span sets the metadata of a trace: "root", the span without a parent; or "service",
    the entry span of this service, for services behind a front end that exports elsewhere."""
    source_type: str = "environment"
    """What `mlflow.source.type` is: "environment", the deployment environment where one is known;
    or "kind", always LOCAL, NOTEBOOK or JOB."""
    tags: bool = False
    """Write each fact as attribute `mlflow.traceTag.<key>` too, which MLflow's OTLP endpoint (3.13
    and later) turns into a tag of the trace."""
    dirty: bool = True
    """Check for uncommitted changes, which starts git."""
    describe: bool = False
    """Take the version from `git describe --tags`, which starts git, before a build stamp's."""
    stamp: str | None = None
    """The path of the build stamp, or of its folder; by default it is searched by the program."""
    runs: bool = False
    """Write the process facts as tags of MLflow runs too."""
    versions: bool = False
    """Link traces to a LoggedModel of their service, version and commit, which is made at first
    sight: MLflow's pages of versions read it."""
    request_headers: Mapping[str, str] = field(
        default_factory=lambda: {
            SESSION_ID: "X-Session-ID",
            USER_ID: "X-User-ID",
            CLIENT_REQUEST_ID: "X-Request-ID",
        }
    )
    """The request header that the propagator `mlflow_headers` reads each baggage key from, in the
    form ``session=X-Session-ID,user=X-User-ID,request=X-Request-ID``, any of the three."""
    inbound_keys: tuple[str, ...] = ("*",)
    """The baggage keys that the propagators take from incoming requests; "feature_flag_*" is every
    key with that prefix."""
    trusted_hosts: tuple[str, ...] = LOOPBACK
    """Where the propagator `trusted_baggage` sends baggage: names, ``*.suffix``, addresses and
    networks."""
    trusted_messaging: bool = False
    """`trusted_baggage` adds baggage to messages (Kafka, Celery, ...) too."""
    user_id_key: str | None = field(default=None, repr=False)
    """The key of `user_id` "hash": at least 16 characters, the same in every service."""
    user_id: str = "plain"
    """What is written and sent of a user's id: "plain"; "hash", its HMAC-SHA256 with
    `user_id_key`; or "drop", nothing."""
    close_after: float = 3600.0
    """Seconds after which the server plugin ends a trace whose root has not come; 0: never."""
    max_request_bytes: int = 20 * 1024 * 1024
    """Bytes of an OTLP request, as received, that the server plugin accepts."""
    max_unpacked_bytes: int = 32 * 1024 * 1024
    """Bytes of an OTLP request, decompressed, that the server plugin accepts."""
    max_request_spans: int = 20_000
    """Spans of an OTLP request that the server plugin accepts."""
    max_request_traces: int = 10_000
    """Traces of an OTLP request that the server plugin accepts."""

    def __post_init__(self) -> None:
        for name, checked in CHECKS.items():
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        if self.user_id_key is not None and len(self.user_id_key) < _MIN_KEY_LENGTH:
            raise ValueError(f"user_id_key must have at least {_MIN_KEY_LENGTH} characters")
        if self.user_id == "hash" and not self.user_id_key:
            raise ValueError('user_id "hash" needs a user_id_key')

    def accepts(self, baggage_key: str) -> bool:
        """Whether the propagators take a baggage key from incoming requests: `inbound_keys`."""
        return any(
            baggage_key == key or (key.endswith("*") and baggage_key.startswith(key[:-1]))
            for key in self.inbound_keys
        )

    def is_trace_boundary(self, parent: SpanContext | None) -> bool:
        """Whether a span with this parent sets the metadata of its trace: `trace_boundary`."""
        return parent is None or (self.trace_boundary == "service" and parent.is_remote)

    def with_options(self, **options: Any) -> Settings:
        """These settings with some replaced; an option that is None leaves its setting as it is.

        Raises:
            ValueError: an unknown option, or a value that is not allowed.
        """
        if unknown := options.keys() - _VARIABLES.keys():
            raise ValueError(f"unknown option {listed(unknown)}; allowed are {listed(_VARIABLES)}")
        return dataclasses.replace(
            self, **{name: value for name, value in options.items() if value is not None}
        )


_VARIABLES: Final = {
    setting.name: f"OTEL_MLFLOW_CONTEXT_{setting.name.upper()}"
    for setting in dataclasses.fields(Settings)
}
# What replaces a bad value where the default would reveal what was meant to be kept.
_FALLBACKS: Final = {"user_id": "drop", "inbound_keys": ()}


def settings_from(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment.

    A bad value is logged by its variable's name, and the default applies; for `user_id` and
    `inbound_keys` the strictest value does.
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
            settings = settings.with_options(**{name: _FALLBACKS.get(name)})
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
