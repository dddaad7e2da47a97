"""The address of a server, with credentials and TLS options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Final, Protocol

from otel_mlflow_context.mlflow_client.http.credentials import (
    Credentials,
    TrackingCredentials,
    is_true,
)
from otel_mlflow_context.settings import environment_variables as env

_HTTP: Final = re.compile(r"https?://[^/]", re.IGNORECASE)
LOGIN_VARIABLES: Final = (
    f"{env.MLFLOW_TRACKING_USERNAME} and {env.MLFLOW_TRACKING_PASSWORD}, or "
    f"{env.MLFLOW_TRACKING_TOKEN}"
)
"""For messages about credentials: what to set."""
_USER_INFO: Final = re.compile(r"(?<=://).*@", re.DOTALL)


def without_credentials(url: str) -> str:
    """A URL for people and logs.

    >>> without_credentials("http://ada:p/w@rd@example.com:5000")
    'http://example.com:5000'
    """
    return _USER_INFO.sub("", url)


class Server(Protocol):
    """A server with MLflow's REST API: its address, credentials and TLS options."""

    @property
    def url(self) -> str:
        """May take calls to be known.

        Raises:
            ServerUnavailable
        """

    @property
    def name(self) -> str:
        """For people and logs, without credentials."""

    @property
    def credentials(self) -> Credentials: ...
    @property
    def verify(self) -> bool | str: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def advice(self) -> Mapping[int, str]:
        """What to do about an answer that concerns all traces, by its status."""


@dataclass(frozen=True)
class TrackingServer:
    """An MLflow server."""

    url: str
    credentials: Credentials
    verify: bool | str
    cert: str | None
    advice: ClassVar[Mapping[int, str]] = {
        HTTPStatus.UNAUTHORIZED: f"; set {LOGIN_VARIABLES}, or correct them",
        HTTPStatus.FORBIDDEN: "; the user needs EDIT permission on the experiment",
    }

    @property
    def name(self) -> str:
        return without_credentials(self.url)


def is_server_address(uri: str) -> bool:
    return _HTTP.match(uri) is not None


def server_from(environ: Mapping[str, str], tracking_uri: str | None = None) -> TrackingServer:
    """The server that MLflow's variables name.

    Args:
        environ: the environment.
        tracking_uri: takes the place of ``MLFLOW_TRACKING_URI``.

    Raises:
        ValueError: it is not the URL of a server, or a package is missing.
    """
    uri = (tracking_uri or environ.get(env.MLFLOW_TRACKING_URI, "")).strip().rstrip("/")
    if not is_server_address(uri):
        raise ValueError(
            f"tracking_uri ({env.MLFLOW_TRACKING_URI}) must be the http(s) address of an MLflow "
            f"server, got {without_credentials(uri)!r}"
        )
    insecure = is_true(environ, env.MLFLOW_TRACKING_INSECURE_TLS)
    return TrackingServer(
        url=uri,
        credentials=TrackingCredentials(environ),
        verify=False if insecure else environ.get(env.MLFLOW_TRACKING_SERVER_CERT_PATH) or True,
        cert=environ.get(env.MLFLOW_TRACKING_CLIENT_CERT_PATH) or None,
    )
