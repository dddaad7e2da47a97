"""The settings of this package: environment variables, read once into one frozen `Settings`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_mlflow_context import environment_variables as env
from otel_mlflow_context.names import RESERVED

_logger = logging.getLogger(__name__)

TRACE_BOUNDARIES: Final = ("root", "service")
SOURCE_TYPES: Final = ("environment", "kind")
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata_keys", _keys(self.metadata_keys))
        _one_of("trace_boundary", self.trace_boundary, TRACE_BOUNDARIES)
        _one_of("source_type", self.source_type, SOURCE_TYPES)
        object.__setattr__(self, "tags", _boolean("tags", self.tags))
        object.__setattr__(self, "dirty", _boolean("dirty", self.dirty))

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
}


def settings_from(environ: Mapping[str, str]) -> Settings:
    """The settings that the given environment makes; a bad value is logged by name and ignored."""
    settings = Settings()
    for name, variable in _VARIABLES.items():
        text = environ.get(variable, "").strip()
        if not text:
            continue
        try:
            settings = settings.with_options(**{name: text})
        except ValueError as error:
            _logger.warning("%s is ignored: %s", variable, error)
    return settings


@functools.cache
def current_settings() -> Settings:
    """The settings of this process, read from its environment at the first call."""
    return settings_from(os.environ)


def _keys(value: str | Iterable[str]) -> tuple[str, ...]:
    keys = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(key, str) for key in keys):
        raise ValueError(f"metadata_keys must be names (text), got {value!r}")
    keys = [stripped for key in keys if (stripped := key.strip())]
    if taken := [key for key in keys if key in RESERVED or key.startswith("mlflow.")]:
        raise ValueError(
            f"metadata_keys must not be names that have a meaning already, got {_listed(taken)}"
        )
    return tuple(dict.fromkeys(keys))


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {_listed(allowed)}, got {value!r}")


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError(f'{name} must be "true" or "false", got {value!r}')


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
