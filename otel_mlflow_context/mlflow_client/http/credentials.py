"""The credentials of each request: of MLflow's variables, of its file, and of its plugins.

https://mlflow.org/docs/latest/ml/plugins/ documents the plugins: packages with entry points. MLflow
asks them at each request, so that they can renew a token; so does this.
"""

from __future__ import annotations

import configparser
import functools
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, Protocol

import requests
from requests.auth import AuthBase
from requests.utils import check_header_validity

from otel_mlflow_context.mlflow_client.http.errors import ServerUnavailable
from otel_mlflow_context.settings import environment_variables as env

_logger = logging.getLogger(__name__)

_HEADER_PROVIDERS: Final = "mlflow.request_header_provider"
_AUTH_PROVIDERS: Final = "mlflow.request_auth_provider"
_BUILT_IN: Final = frozenset({"kubernetes", "kubernetes-namespaced"})
"""Request auth providers of MLflow itself; they take the place of a user name."""
_AWS_SERVICE: Final = "execute-api"
_FILE: Final = Path("~/.mlflow/credentials")


def is_true(environ: Mapping[str, str], name: str) -> bool:
    """Whether a variable of MLflow's is set to true, as MLflow reads it."""
    return environ.get(name, "").strip().lower() in ("true", "1")


class Credentials(Protocol):
    """Adds credentials to requests. May be used by many threads."""

    def add_to(self, request: requests.PreparedRequest) -> None:
        """Add headers to a request, before each attempt to send it.

        Raises:
            ServerUnavailable: there are none now. The text has no secret.
        """

    def renew(self) -> bool:
        """Called when the server took none of them (401): whether others can be had now."""


class TrackingCredentials:
    """Those that MLflow's client sends to a tracking server.

    Args:
        environ: the environment.

    Raises:
        ValueError: a package that a variable needs is not installed.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._auth_name = environ.get(env.MLFLOW_TRACKING_AUTH, "").strip()
        username, password = _user(environ)
        token = environ.get(env.MLFLOW_TRACKING_TOKEN, "").strip()
        workspace = environ.get(env.MLFLOW_WORKSPACE, "").strip()
        self._workspace = {"X-MLFLOW-WORKSPACE": workspace} if workspace else {}
        self._token: dict[str, str] = {}
        self._auth: Callable[[], AuthBase | None] = lambda: None
        if username and self._auth_name not in _BUILT_IN:
            basic = requests.auth.HTTPBasicAuth(username.encode(), password.encode())
            self._auth = lambda: basic
        elif token:
            self._token = {"Authorization": f"Bearer {token}"}
        if is_true(environ, env.MLFLOW_TRACKING_AWS_SIGV4):
            self._auth = _aws_signature()
            self._auth_name = ""
        elif self._auth_name:
            self._auth = self._auth_of_plugin
        self._lock = threading.Lock()
        self._header_providers: list[Any] | None = None
        self._get_auth: Callable[[], AuthBase | None] | None = None
        self._logged: set[str] = set()

    def add_to(self, request: requests.PreparedRequest) -> None:
        """See `Credentials`; in MLflow's order, so that the same header wins."""
        _add(request, {**self._workspace, **self._headers_of_plugins(), **self._token})
        if auth := self._auth():
            request.prepare_auth(auth)

    def renew(self) -> bool:
        return bool(self._auth_name or self._header_providers)

    def _headers_of_plugins(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for provider in self._providers():
            try:
                added = dict(provider.request_headers()) if provider.in_context() else {}
            except Exception as error:
                self._log_once("the request header provider %s failed: %s", provider, error)
                continue
            for name, value in added.items():
                headers[name] = f"{headers[name]} {value}" if name in headers else str(value)
        return headers

    def _providers(self) -> list[Any]:
        with self._lock:  # the first request of many threads
            if self._header_providers is None:
                self._header_providers = list(self._loaded(_HEADER_PROVIDERS))
            return self._header_providers

    def _auth_of_plugin(self) -> AuthBase | None:
        with self._lock:
            if self._get_auth is None:
                named = (it for it in self._loaded(_AUTH_PROVIDERS) if self._has_name(it))
                provider = next(named, None)
                self._get_auth = provider.get_auth if provider else _built_in(self._auth_name)
        try:
            return self._get_auth()
        except Exception as error:
            raise ServerUnavailable(
                f"the request auth provider {self._auth_name!r} ({env.MLFLOW_TRACKING_AUTH}) "
                f"failed: {type(error).__name__}"
            ) from None

    def _has_name(self, provider: Any) -> bool:
        try:
            return bool(provider.get_name() == self._auth_name)
        except Exception as error:
            self._log_once("the request auth provider %s failed: %s", provider, error)
            return False

    def _loaded(self, group: str) -> Iterator[Any]:
        """The providers of installed packages."""
        for entry_point in entry_points(group=group):
            try:
                yield entry_point.load()()
            except Exception as error:  # it is somebody else's code
                self._log_once("the plugin of MLflow %s cannot be loaded: %s", entry_point, error)

    def _log_once(self, message: str, what: Any, error: Exception) -> None:
        """Without the error's text, which may have a secret."""
        name = what.value if isinstance(what, EntryPoint) else type(what).__qualname__
        if name not in self._logged:
            self._logged.add(name)
            _logger.warning(message, name, type(error).__name__)


def _built_in(name: str) -> Callable[[], AuthBase | None]:
    """What a request auth provider of MLflow itself gives, where mlflow is installed."""
    if name in _BUILT_IN and importlib.util.find_spec("mlflow"):
        from mlflow.tracking.request_auth.registry import fetch_auth

        return functools.partial(fetch_auth, name)
    _logger.warning(
        "%s: no package that is installed has the request auth provider %r; requests are sent "
        "without credentials",
        env.MLFLOW_TRACKING_AUTH,
        name,
    )
    return lambda: None


def _aws_signature() -> Callable[[], AuthBase]:
    try:
        from requests_auth_aws_sigv4 import AWSSigV4
    except ImportError:
        raise ValueError(
            f"{env.MLFLOW_TRACKING_AWS_SIGV4} needs a package that is not installed, "
            "`pip install requests-auth-aws-sigv4`"
        ) from None
    return lambda: AWSSigV4(_AWS_SERVICE)


def _user(environ: Mapping[str, str]) -> tuple[str, str]:
    """User name and password, of the variables or of MLflow's file."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(_FILE.expanduser())
        section = dict(parser["mlflow"]) if parser.has_section("mlflow") else {}
    except (OSError, ValueError, RuntimeError, configparser.Error) as error:
        _logger.warning("%s cannot be read: %s", _FILE, type(error).__name__)
        section = {}
    username, password = (
        environ.get(name) or section.get(name.lower(), "")
        for name in (env.MLFLOW_TRACKING_USERNAME, env.MLFLOW_TRACKING_PASSWORD)
    )
    return (username, password) if username and password else ("", "")


def _add(request: requests.PreparedRequest, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        try:
            check_header_validity((name, value))
        except requests.exceptions.InvalidHeader:
            # Its text has the value.
            raise ServerUnavailable(f"the value of header {name!r} is not valid") from None
        request.headers[name] = value
