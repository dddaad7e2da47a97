"""Whether baggage may go to the host of a request: the setting `trusted_hosts`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from otel_mlflow_context.settings import current_settings

# Where instrumentations of HTTP and RPC clients name a request's destination, in the semantic
# conventions before and since 1.23.
_URLS: Final = ("url.full", "http.url")
_HOSTS: Final = ("server.address", "net.peer.name", "net.peer.ip", "http.host")
_MESSAGING: Final = "messaging.system"
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
    """The host of a URL; nothing where it can be read in two ways."""
    try:
        parts = urlsplit(url)
        host, user_info = parts.hostname or "", parts.netloc.rpartition("@")[0]
    except ValueError:
        return ""
    is_plain = url.isprintable() and "\\" not in url and "@" not in user_info
    return host if is_plain and parts.scheme in _SCHEMES else ""


def _all_trusted(hosts: Iterable[str]) -> bool:
    trusted = current_settings().trusted_hosts
    hosts = list(hosts)
    return bool(hosts) and all(_matches(trusted, host) for host in hosts)


@functools.lru_cache(maxsize=1_024)
def _matches(trusted: tuple[str, ...], host: str) -> bool:
    from ipaddress import ip_address, ip_network

    host = host.strip("[]").rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and any(
            host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in trusted
        )
    address = getattr(address, "ipv4_mapped", None) or address
    networks = (ip_network(name) for name in trusted if name[-1].isdigit() or ":" in name)
    return any(address in network for network in networks if network.version == address.version)
