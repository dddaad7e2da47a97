"""Repositories, stamps and remotes that nobody means well: what they can say at most."""

from __future__ import annotations

import json
import logging
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import anything, fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from otel_mlflow_context.detectors._stamp import StampError, read_stamp
from otel_mlflow_context.detectors.repository.config import parse_config, remote_urls
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.detectors.repository.refs import read_head, read_tag
from otel_mlflow_context.detectors.repository.storage.reftable import read_ref, refs_below
from otel_mlflow_context.detectors.repository.url import browsable_url, owner_and_name

pytestmark = pytest.mark.long

COMMIT = "c0ffee" * 6 + "c0ff"
SECRET = "hunter2"
ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# --- Addresses -----------------------------------------------------------------------------------

URL_PIECES = (
    *("https://", "ssh://", "git@", "git+https://", "file://", "//", "/", ":", "@", "\\", "%40"),
    *("user:", f"{SECRET}@", f"user:{SECRET}@", f"user%3A{SECRET}%40", f"?token={SECRET}"),
    *(f"#{SECRET}", f";{SECRET}", f"&key={SECRET}", "github.com", "[::1]", ":443", ":99999", "."),
    *("acme", "shop.git", "..", " ", "\n", "\x00", "\u3002", "\u202e", "%2f", "%00", "v3", "_git"),
)
remotes = st.lists(st.sampled_from(URL_PIECES), max_size=10).map("".join) | anything


@fuzz
@given(remotes)
@example(f"https://user:{SECRET}@github.com/acme/shop.git?token={SECRET}")
@example(f"https://github.com/acme:{SECRET}@shop")
@example(f"https://user:{SECRET}@@github.com/acme/shop")
@example(f"git@github.com:{SECRET}@acme/shop")
@example(f"https://{SECRET}%40github.com/acme/shop")
@example(f"https://user:{SECRET}\\@github.com/acme/shop")
def test_no_address_shows_a_credential_or_is_more_than_an_address(remote: str) -> None:
    url = browsable_url(remote)
    if url is None:
        return
    assert re.fullmatch(r"https?://[^/@\s]+(/[^@?#\s\\]+)+", url)
    assert not url.endswith((".git", "/"))
    assert url.isprintable()
    authority = url.split("/")[2]
    assert SECRET not in authority.partition(":")[2]
    user = re.search(f"[:@;?#&]([^/]*{SECRET})|({SECRET}[^/]*)@", remote)
    if SECRET in url:  # then it was a segment of the path, with nothing before or behind it
        assert f"/{SECRET}" in url or user is None or f"{SECRET}/" in remote
    owner_and_name(url)


# --- Files of git --------------------------------------------------------------------------------

LINES = (
    *(b"ref: refs/heads/main\n", b"ref: refs/heads/../../../etc/passwd\n", b"ref: HEAD\n"),
    *(b"ref: refs/heads/\xff\n", b"ref:\n", COMMIT.encode() + b"\n", b"ref: refs/heads/a\x00b\n"),
    *(b"# pack-refs with: peeled fully-peeled sorted \n", b"^" + COMMIT.encode() + b"\n"),
    *(COMMIT.encode() + b" refs/heads/main\n", COMMIT.encode() + b" refs/tags/v1\n", b"\n"),
    *(b'[remote "origin"]\n', f"\turl = https://u:{SECRET}@github.com/acme/shop\n".encode()),
    *(b"[include]\npath = config\n", b'[includeIf "gitdir:/"]\npath=../../config\n', b"[core]\n"),
    *(b"bare = true\n", b"worktree = /etc\n", b'[url "x"]\ninsteadOf = h\n', b'[branch "main"]\n'),
    *(b"[", b'"', b"\\\n", b"= \\q\n", b"gitdir: ../../etc\n", b"\xff\xfe", b"\x00" * 50),
)
contents = st.lists(st.sampled_from(LINES) | st.binary(max_size=60), max_size=12).map(b"".join)


def repository_of(folder: Path, files: dict[str, bytes]) -> Path:
    root = folder / "repository"
    for name in ("HEAD", "config", "packed-refs", "refs/heads/main", "refs/tags/v1"):
        path = root / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    (root / ".git" / "objects").mkdir(exist_ok=True)
    return root


@fuzz
@given(
    st.fixed_dictionaries(
        {
            "HEAD": st.just(LINES[0]) | contents,
            "config": contents,
            "packed-refs": contents,
            "refs/heads/main": st.just(LINES[5]) | contents,
            "refs/tags/v1": contents,
        }
    )
)
@example(dict.fromkeys(("HEAD", "refs/heads/main", "config", "packed-refs", "refs/tags/v1"), b""))
@example(
    {
        "HEAD": LINES[0],
        "refs/heads/main": b"ref: refs/heads/main\n",
        "config": LINES[15] * 100,
        "packed-refs": LINES[9] * 10_000,
        "refs/tags/v1": b"\xff" * 5_000,
    }
)
def test_no_repository_is_more_than_a_branch_a_commit_and_a_tag(
    folder: Path, files: dict[str, bytes]
) -> None:
    start = time.monotonic()
    try:
        repository = find_repository(repository_of(folder, files))
        if repository is None:
            return
        head = read_head(repository)
        assert head.commit is None or ID.fullmatch(head.commit)
        assert head.branch is None or not head.branch.startswith((".", "/"))
        assert head.branch is None or not re.search(r"\.\.|[\x00-\x20\x7f]", head.branch)
        urls = remote_urls(repository, head.branch)
        assert all(SECRET not in (browsable_url(url) or "") for url in urls)
        if head.commit:
            tag = read_tag(repository, head.commit)
            assert tag is None or not re.search(r"[\x00-\x1f\x7f]", tag)
    except (RepositoryError, OSError) as error:
        assert SECRET not in str(error)  # noqa: PT017  # both are right
    assert time.monotonic() - start < 5


@fuzz
@given(contents.map(lambda raw: raw.decode("utf-8", "surrogateescape")) | anything)
@example('[a "' + "\\" * 5_000)
@example("[a]\n" + "b = \\\n" * 5_000)
def test_no_config_is_more_than_its_lines(text: str) -> None:
    start = time.monotonic()
    settings = list(parse_config(text))
    assert len(settings) <= text.count("\n") + text.count("\r") + len(text) // 2 + 1
    for setting in settings:
        assert setting.key == setting.key.lower()
    assert time.monotonic() - start < 5


HEADER = b"REFT\x01" + b"\x00\x10\x00" + struct.pack(">QQ", 0, 1)
tables = (
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda rest: HEADER + rest)
    | st.builds(
        lambda length, rest: HEADER + b"r" + length.to_bytes(3, "big") + rest,
        st.integers(0, 2**24 - 1),
        st.binary(max_size=300),
    )
)


@fuzz
@given(tables, st.sampled_from(["t.ref", "../t.ref", "/etc/passwd", "", "t.ref\nt.ref", "\x00"]))
@example(HEADER, "t.ref")
@example(HEADER + b"r\xff\xff\xff" + b"\x80" * 300, "t.ref")
@example(HEADER + b"r\x00\x00\x04" + b"\x00" * 300, "t.ref")
def test_no_table_is_more_than_refs(folder: Path, table: bytes, listed: str) -> None:
    (folder / "tables.list").write_text(listed)
    (folder / "t.ref").write_bytes(table)
    start = time.monotonic()
    try:
        found = read_ref(folder, "refs/heads/main")
        assert found is None or found.startswith("ref: ") or ID.fullmatch(found)
        assert len(list(refs_below(folder, "refs/tags/"))) <= len(table)
    except (RepositoryError, OSError):
        pass
    assert time.monotonic() - start < 5


# --- Stamps --------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything | st.just(COMMIT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=10,
)
KEYS = ("schema", "commit", "branch", "repository", "dirty", "version", "change", "made_by", "tag")
stamps = st.dictionaries(st.sampled_from(KEYS) | anything, values).map(
    lambda stamp: json.dumps({**stamp, "schema": 1}).encode()
)


@fuzz
@given(stamps | st.binary(max_size=300) | values.map(json.dumps).map(str.encode))
@example(b"[" * 100_000)
@example(b'{"schema": 1, "commit": "' + b"9" * 100_000 + b'"}')
@example(b'{"schema": 1e0}')
@example(b'{"schema": true}')
@example(b'{"schema": 1, "version": "' + b"9" * 5_000 + b'", "schema": 1}')
@example(b"\xff\xfe{")
def test_no_stamp_is_more_than_its_facts(folder: Path, content: bytes) -> None:
    file = folder / "otel-mlflow-context-stamp.json"
    file.write_bytes(content)
    try:
        found: list[Any] = read_stamp(file)
    except StampError:
        return
    for finding in found:
        assert finding.attribute.startswith(("vcs.", "service.", "deployment."))
        assert "\x00" not in str(finding.value)
        if finding.attribute == "vcs.ref.head.revision":
            assert ID.fullmatch(finding.value)
