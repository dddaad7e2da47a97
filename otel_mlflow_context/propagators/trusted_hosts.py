"""Whether baggage may go to the host of a request: the setting `trusted_hosts`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings.host_names import host_name

# Where instrumentations of HTTP and RPC clients name a request's destination, in the semantic
# conventions before and since 1.23.
_URLS: Final = ("url.full", "http.url")
_HOSTS: Final = ("server.address", "net.peer.name", "net.peer.ip", "http.host")
_MESSAGING: Final = "messaging.system"
_AUTHORITY: Final = re.compile(
    r"([^@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{0,5})?"
)
_SCHEMES: Final = frozenset({"http", "https", "grpc", "ws", "wss"})


def is_trusted(span: Span) -> bool:
    """Whether baggage may go where the request of a client's span goes."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    kind = getattr(span, "kind", None)
    if kind is SpanKind.PRODUCER or _MESSAGING in attributes:
        return current_settings().trusted_messaging
    # A server's span has a URL too: its own.
    if kind is not SpanKind.CLIENT:
        return False
    hosts = [_host(str(attributes[name])) for name in _URLS if name in attributes]
    hosts += [str(attributes[name]) for name in _HOSTS if name in attributes]
    return _all_trusted(hosts)


def is_trusted_url(url: str) -> bool:
    """Whether baggage may go to the host of a URL."""
    return _all_trusted([_host(url)])


def _host(url: str) -> str:
    """The host of a URL; nothing where clients could read another one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if not authority or "\\" in url or not url.isprintable() or parts.scheme not in _SCHEMES:
        return ""
    return authority["host"]


def _all_trusted(hosts: Iterable[str]) -> bool:
    trusted = current_settings().trusted_hosts
    hosts = list(hosts)
    return bool(hosts) and all(_matches(trusted, host) for host in hosts)


@functools.lru_cache(maxsize=1_024)
def _matches(trusted: tuple[str, ...], host: str) -> bool:
    from ipaddress import IPv6Address, ip_address, ip_network

    if name := host_name(host):
        return any(
            name == entry or (entry.startswith("*.") and name.endswith(entry[1:]))
            for entry in trusted
        )
    try:
        is_version_6 = host.startswith("[") and host.endswith("]")
        address = IPv6Address(host[1:-1]) if is_version_6 else ip_address(host)
    except ValueError:
        return False
    if getattr(address, "scope_id", None):  # an interface of this machine
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    networks = (ip_network(entry) for entry in trusted if entry[-1].isdigit() or ":" in entry)
    return any(address in network for network in networks if network.version == address.version)
