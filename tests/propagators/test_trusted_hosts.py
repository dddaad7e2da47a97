"""Hosts that are none of ours and look like one: an attacker gets no baggage by any of them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from otel_mlflow_context import settings, trace_context
from otel_mlflow_context.propagators import TrustedBaggagePropagator, outgoing_headers
from otel_mlflow_context.settings import Settings

TRUSTED = ["api.internal", "*.svc.cluster.local", "10.0.0.0/8", "fd00::/8", "::1"]
tracer = TracerProvider().get_tracer("test")


@pytest.fixture(autouse=True)
def _trusted() -> None:
    settings.override(trusted_hosts=TRUSTED)


def leaves_by(attributes: dict[str, str]) -> bool:
    carrier: dict[str, str] = {}
    with (
        trace_context(session_id="s-1"),
        tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=attributes),
    ):
        TrustedBaggagePropagator().inject(carrier)
    return "baggage" in carrier


def leaves_to(host: str) -> bool:
    """Whether baggage leaves by any way that a client names a host."""
    url = f"http://{host}/v1"
    with trace_context(session_id="s-1"):
        by_function = "baggage" in outgoing_headers(url)
    names = ("server.address", "net.peer.name", "net.peer.ip", "http.host")
    return any(
        [
            by_function,
            leaves_by({"url.full": url}),
            leaves_by({"http.url": url}),
            *(leaves_by({name: host}) for name in names),
        ]
    )


ATTACKS = [
    # What ends like a trusted name and begins with something that is no name.
    "evil.com%2f.svc.cluster.local",
    "evil.com%2F.svc.cluster.local",
    "evil.com%252f.svc.cluster.local",
    "evil.com;.svc.cluster.local",
    "evil.com%00.svc.cluster.local",
    "evil.com\x00.svc.cluster.local",
    "evil.com%23.svc.cluster.local",
    "evil.com%3f.svc.cluster.local",
    "evil.com%40.svc.cluster.local",
    "evil.com%5c.svc.cluster.local",
    "evil.com%0d%0a.svc.cluster.local",
    "evil.com\r\n.svc.cluster.local",
    "evil.com\t.svc.cluster.local",
    "evil.com\x0b.svc.cluster.local",
    "evil.com .svc.cluster.local",
    "evil.com,.svc.cluster.local",
    "evil.com&.svc.cluster.local",
    "evil.com=.svc.cluster.local",
    "evil.com+.svc.cluster.local",
    "evil.com!.svc.cluster.local",
    "evil.com$.svc.cluster.local",
    "evil.com'.svc.cluster.local",
    'evil.com".svc.cluster.local',
    "evil.com(.svc.cluster.local",
    "evil.com*.svc.cluster.local",
    "evil.com<.svc.cluster.local",
    "evil.com^.svc.cluster.local",
    "evil.com`.svc.cluster.local",
    "evil.com{.svc.cluster.local",
    "evil.com|.svc.cluster.local",
    "evil.com~.svc.cluster.local",
    "evil.com\x7f.svc.cluster.local",
    "evil.com\\.svc.cluster.local",
    "evil.com:80.svc.cluster.local",
    "*.svc.cluster.local",
    # Full stops and slashes that are no ASCII, which IDNA or NFKC turn into it.
    "evil.com\u3002svc.cluster.local",
    "a\u3002svc.cluster.local",
    "a.svc\u3002cluster.local",
    "a.svc\uff0ecluster.local",
    "a.svc\uff61cluster.local",
    "a\u2024svc.cluster.local",
    "evil.com\uff0f.svc.cluster.local",
    "evil.com\u2044.svc.cluster.local",
    "evil.com\u2215.svc.cluster.local",
    "evil.com\uff20.svc.cluster.local",
    "evil.com\u2100.svc.cluster.local",
    # Letters that are no ASCII, whose lower case or compatible form is.
    "\u212a8s.svc.cluster.local",
    "a.\u017fvc.cluster.local",
    "a.svc.clu\u017fter.local",
    "api.\u0131nternal",
    "api.\uff49nternal",
    "\u0430pi.internal",
    "api\u200b.internal",
    "api\u00ad.internal",
    "api.internal\u3002",
    "\ud800.svc.cluster.local",
    # Labels that are none.
    "..svc.cluster.local",
    ".svc.cluster.local",
    "a..svc.cluster.local",
    "-.svc.cluster.local",
    "-a.svc.cluster.local",
    "a-.svc.cluster.local",
    "api.internal..",
    "api..internal",
    f"{'a' * 64}.svc.cluster.local",
    f"{'a.' * 150}svc.cluster.local",
    # Ports and users that are part of no name.
    "api.internal:",
    "api.internal:evil.com",
    "api.internal:99999999",
    "api.internal:80:80",
    "api.internal:-1",
    "api.internal:8\u0660",
    "evil.com@a.svc.cluster.local@evil.com",
    "api.internal@evil.com",
    "api.internal:80@evil.com",
    "api.internal%40evil.com",
    # Addresses in other forms than the one that `ipaddress` knows.
    "10.1",
    "10.1.2",
    "0xa.1.2.3",
    "0x0a010203",
    "0xa010203",
    "167838211",
    "012.1.2.3",
    "10.01.2.3",
    "0012.1.2.3",
    "10.1.2.3.",
    "10.1.2.0x3",
    "10.1.2.256",
    "10.1.2.3.4",
    "\u0661\u0660.1.2.3",
    "10\u30021\u30022\u30023",
    "a.10.1.2.3",
    "evil.com.0x7f",
    # Addresses of version 6.
    "[fd00::1%25eth0]",
    "[fd00::1%eth0]",
    "[::1%lo]",
    "[fd00::1",
    "fd00::1]",
    "[[fd00::1]]",
    "[fd00:::1]",
    "[fd00::1]evil.com",
    "[fd00::1].evil.com",
    "[::ffff:11.1.2.3]",
    "[::10.1.2.3]",
    "[64:ff9b::10.1.2.3]",
    "[2002:0a01:0203::]",
    "[v1.svc.cluster.local]",
    "[vf.api.internal]",
    "[a.svc.cluster.local]",
    "[api.internal]",
    "[10.1.2.3]",
]


@pytest.mark.parametrize("host", ATTACKS, ids=ascii)
def test_what_is_no_host_name_is_not_trusted(host: str) -> None:
    # A port is one in a URL, and what stands before an "@" there is a user.
    if host in ("api.internal:", "[10.1.2.3]"):
        assert not leaves_by({"server.address": host})
    else:
        assert not leaves_to(host)


@pytest.mark.parametrize(
    "url",
    [
        "http:api.internal",
        "http:/api.internal/",
        "http:///api.internal/",
        "//api.internal/",
        "api.internal",
        "HTTP\u017f://api.internal/",
        "javascript://api.internal/",
        "ftp://api.internal/",
        "http+unix://api.internal/",
        "http://evil.com/\\@api.internal/",
        "http://evil.com\\api.internal/",
        "http://evil.com?@api.internal/",
        "http://evil.com#.svc.cluster.local",
        "http://evil.com/.svc.cluster.local",
        "http://evil.com:80#@api.internal/",
        "http://api.internal\n.evil.com/",
        "http://api.internal\u2028/",
        "ht\ntp://api.internal/",
        "\x00http://api.internal/",
        "http://[fd00::1]@evil.com/",
        "http://evil.com\uff03@api.internal/",
    ],
    ids=ascii,
)
def test_a_url_that_can_be_read_in_two_ways_is_not_trusted(url: str) -> None:
    with trace_context(session_id="s-1"):
        assert "baggage" not in outgoing_headers(url)
    assert not leaves_by({"url.full": url})
    assert not leaves_by({"http.url": url})


@pytest.mark.parametrize("host", ["api.internal", "API.INTERNAL.", "a_b.svc.cluster.local"])
def test_host_names_are_trusted_as_ever(host: str) -> None:
    assert leaves_to(host)


@pytest.mark.parametrize(
    "hosts",
    [
        *("127.1", "0x7f.1", "2130706433", "*.1", "*", "*.", "a b", "a%2fb", "a;b", "\u212a8s.com"),
        *("[::1]", "api.internal:80", "http://api.internal", "a..b", "-a", "a/b", "*.*.internal"),
    ],
)
def test_a_setting_that_is_no_host_is_named(hosts: str) -> None:
    with pytest.raises(ValueError, match="trusted_hosts must be"):
        Settings(trusted_hosts=(hosts,))


# The same rules said in another way, for names that nobody thought of.
NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
odd = st.characters(exclude_categories=()) | st.sampled_from([*".%;:@\\/?#[]*-_0x", "\u3002"])
pieces = st.sampled_from(["evil.com", "api", "internal", "svc.cluster.local", "10.1.2.3", "."])
hosts = st.lists(st.text(odd, max_size=4) | pieces, max_size=6).map("".join)


@given(hosts)
@example("evil.com\u3002.svc.cluster.local")
def test_only_names_and_addresses_of_the_setting_are_trusted(host: str) -> None:
    if not leaves_to(host):
        return
    name = host.rpartition("@")[2]
    name = urlsplit(f"http://{name}/").hostname or ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        labels = name.removesuffix(".").split(".")
        assert all(label.isascii() and NAME.fullmatch(label) for label in labels)
        assert labels == ["api", "internal"] or labels[-3:] == ["svc", "cluster", "local"]
        assert len(labels) != 3
    else:
        assert "%" not in name
        networks = ("10.0.0.0/8", "fd00::/8", "::1/128", "::ffff:10.0.0.0/104")
        assert any(address in ipaddress.ip_network(network) for network in networks)
