"""The address that a person opens in a browser, from whatever form a git remote is written in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

# The web scheme that belongs to each transport of git. Everything else (`file`, `ext`, `s3` ...)
# has no web page that we could know of.
_WEB_SCHEMES: Final = {
    "http": "http",
    "git+http": "http",
    "https": "https",
    "git+https": "https",
    "ssh": "https",
    "git+ssh": "https",
    "ssh+git": "https",
    "git": "https",
}
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# Hosts for SSH alone, and where their web pages are.
_WEB_HOSTS: Final = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
    "vs-ssh.visualstudio.com": "dev.azure.com",
}
_AZURE_SSH_HOSTS: Final = frozenset({"ssh.dev.azure.com", "vs-ssh.visualstudio.com"})
# Values of `vcs.provider.name`, for hosts of which the software is public knowledge.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/
_PROVIDERS: Final = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "gitea.com": "gitea",
    "bitbucket.org": "bitbucket",
}
_COMPARISONS: Final = {
    "github": "/compare/{before}...{after}",
    "gitlab": "/-/compare/{before}...{after}",
    "bitbucket": "/branches/compare/{after}%0D{before}",
    "gitea": "/compare/{before}...{after}",
    "forgejo": "/compare/{before}...{after}",
    "codeberg": "/compare/{before}...{after}",
    "azure": "/branchCompare?baseVersion=GC{before}&targetVersion=GC{after}",
}
"""The end of the page that compares two commits, by the software of the host."""

# Far more than any real remote; keeps a hostile one cheap.
_MAX_LENGTH: Final = 2_000
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9._-]*)(?::([0-9]{0,5}))?")
# What the names of repositories and their owners are made of. No ":" and "@" (plain or encoded)
# and no "=" and "&": in a path they are more often a misplaced credential than a name.
_SEGMENT: Final = re.compile(r"(?:[\w.~+,!'()-]|%(?!40|3a)[0-9a-f]{2})+", re.IGNORECASE)


_HostOf = Callable[[str], "str | None"]


def _is_host(name: str) -> str | None:
    return name if "." in name or ":" in name else None


def browsable_url(remote: str, host_of: _HostOf = _is_host) -> str | None:
    """The http(s) URL of a git remote: no credentials, no query, no ``.git``, no trailing slash.

    None where there is none: a local path, a bundle, a transport without a web page, and every
    remote that can be read in two ways of which one would show a credential. Git's own rules for
    remotes: https://git-scm.com/docs/git-clone#_git_urls

    Args:
        remote: as git has it.
        host_of: the host that a name stands for in an address over SSH, if any: there it may be an
            alias of somebody's own configuration. By default, a name with a dot is a host.

    >>> browsable_url("git@github.com:acme/shop.git")
    'https://github.com/acme/shop'
    >>> browsable_url("https://user:secret@git.example.com:8443/acme/shop.git?token=secret")
    'https://git.example.com:8443/acme/shop'
    >>> browsable_url("git@ssh.dev.azure.com:v3/acme/web/shop")
    'https://dev.azure.com/acme/web/_git/shop'
    >>> browsable_url("/home/me/shop") is None
    True
    """
    remote = remote.strip()
    if len(remote) > _MAX_LENGTH:
        return None
    scheme = _SCHEME.match(remote)
    if scheme:
        return _from_url(scheme[1].lower(), remote[scheme.end() :], host_of)
    return _from_scp_form(remote, host_of)


def owner_and_name(url: str) -> tuple[str | None, str]:
    """The owner and the name of a repository, from its browsable URL.

    The owner is all that stands before the name: nested groups on GitLab, organization and
    project on Azure DevOps.

    >>> owner_and_name("https://gitlab.com/acme/web/shop")
    ('acme/web', 'shop')
    """
    host, *segments = url.partition("://")[2].split("/")
    if host == "dev.azure.com" or host.endswith(".visualstudio.com"):
        segments = [segment for segment in segments if segment != "_git"] or segments
    *owner, name = map(unquote, segments)
    return "/".join(owner) or None, name


def provider(url: str) -> str | None:
    """The value of ``vcs.provider.name`` for a browsable URL; None for a host of one's own."""
    return _PROVIDERS.get(url.partition("://")[2].partition("/")[0])


def comparison_url(url: str, before: str, after: str) -> str | None:
    """The page of a repository's host that compares two commits.

    A host of one's own is known by its name: ``gitlab.example.com``.

    Args:
        url: of the repository, as `browsable_url` makes it.
        before, after: the ids of the commits.

    >>> comparison_url("https://gitlab.example.com/acme/shop", "9f1c3aa", "77b0e12")
    'https://gitlab.example.com/acme/shop/-/compare/9f1c3aa...77b0e12'
    """
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    named = (it for label in host.split(".") for it in _COMPARISONS if it in label)
    software = provider(url) or next(named, None)
    if software is None:
        return None
    return url + _COMPARISONS[software].format(before=before, after=after)


def _from_url(scheme: str, rest: str, host_of: _HostOf) -> str | None:
    """``user:password@host:port/path?query`` of a URL."""
    if scheme not in _WEB_SCHEMES:
        return None
    host_and_port, path = _without_credentials(rest)
    authority = _AUTHORITY.fullmatch(host_and_port.lower())
    if not authority:
        return None
    scheme_on_web, port = _WEB_SCHEMES[scheme], authority[2]
    # The port of another transport is not the web server's.
    if scheme.removeprefix("git+") != scheme_on_web or port == _DEFAULT_PORTS[scheme_on_web]:
        port = None
    host = _host(authority[1], host_of) if "ssh" in scheme else authority[1]
    return _web_url(scheme_on_web, host, port, path) if host else None


def _from_scp_form(remote: str, host_of: _HostOf) -> str | None:
    """``user@host:path``, SSH without a scheme."""
    host_and_first, rest = _without_credentials(remote)
    if "@" not in remote and re.match(r"[a-z]:", remote, re.IGNORECASE):
        return None  # a Windows drive
    if remote.partition(":")[0].lower() in {*_WEB_SCHEMES, "file"}:
        return None  # a URL with a slash missing
    typed = re.match(r"(\[.*?\]|[^:]*):", host_and_first)
    if not typed:
        return None  # a local path
    authority = _AUTHORITY.fullmatch(typed[1].lower())
    host = _host(authority[1], host_of) if authority else None
    return _web_url("https", host, None, host_and_first[typed.end() :] + rest) if host else None


def _host(name: str, host_of: _HostOf) -> str | None:
    return name if name in _PROVIDERS or name in _WEB_HOSTS else host_of(name)


def _without_credentials(rest: str) -> tuple[str, str]:
    """What stands before the path, without credentials, and the path, without query and fragment.

    Credentials end at the last "@" before the path. Where another "@" follows, a part of a
    password may have been taken for the path ("/", "?" and "#" in a password have to be
    encoded, and no git can use them otherwise): then nothing is left, rather than a secret.
    """
    before, after = _split_at_first(rest, "/?#")
    if "@" in after:
        return "", ""
    return before.rpartition("@")[2], _split_at_first(after, "?#")[0]


def _split_at_first(text: str, characters: str) -> tuple[str, str]:
    at = min((at for c in characters if (at := text.find(c)) >= 0), default=len(text))
    return text[:at], text[at:]


def _web_url(scheme: str, host: str, port: str | None, path: str) -> str | None:
    while path.endswith(("/", ".git")):
        path = path.removesuffix("/").removesuffix(".git")
    segments = [segment for segment in path.split("/") if segment]
    if host in _AZURE_SSH_HOSTS:
        segments = _azure_web_path(segments)
    if not segments or not all(map(_is_name, segments)):
        return None
    authority = _WEB_HOSTS.get(host, host) + (f":{port}" if port else "")
    return f"{scheme}://{authority}/{'/'.join(segments)}"


def _azure_web_path(segments: list[str]) -> list[str]:
    """``v3/organization/project/repository`` as the web has it."""
    match segments:
        case ["v3", organization, project, repository]:
            return [organization, project, "_git", repository]
    return []


def _is_name(segment: str) -> bool:
    return segment not in {".", ".."} and _SEGMENT.fullmatch(segment) is not None
