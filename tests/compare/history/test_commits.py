"""A history of commits: a real repository, and traces of some of its commits behind a server."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import git
from servers import MlflowServer
from versions import Row, write

from otel_mlflow_context.compare import CannotCompare, Version, version_history
from otel_mlflow_context.compare.history.commits import bisection, checkout_at
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.detectors.repository.url import comparison_url

COMMITS = 9
RAN = (0, 1, 2, 6, 7, 8)
FIRST_BAD = 6
NASTY = "\x1b]0;caught\x07<img src=x onerror=alert(1)> --output=/tmp/caught"
COMMIT_KEY = "mlflow.source.git.commit"


class Known(NamedTuple):
    folder: Path
    commits: list[str]
    """On main, the oldest first."""
    branch: str
    """A commit of a branch that was merged."""
    uri: str


def traces_of(commit: str, number: int, count: int, **more: str) -> Iterator[Row]:
    dice = random.Random(number)  # ids of commits differ from run to run
    bad = number >= FIRST_BAD
    for _ in range(count):
        yield Row(
            f"1.{number}",
            state="ERROR" if dice.random() < (0.4 if bad else 0.02) else "OK",
            latency_ms=round(400 * dice.lognormvariate(0, 0.4)),
            # The third commit was tried before the second one.
            hours_ago={1: 50, 2: 60}.get(number, 100 - 5 * number) + dice.random(),
            metadata=((COMMIT_KEY, commit), *more.items()),
        )


@pytest.fixture(scope="module")
def known(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "https://user:secret@github.com/acme/app.git")
    commits = []
    for number in range(COMMITS - 1):
        (folder / "app.py").write_text(f"{number}\n")
        git(folder, "add", ".")
        subject = NASTY if number == 4 else f"Change the prompt, number {number}"
        git(folder, "commit", "-q", "-m", f"{subject}\n\nnot the subject")
        commits.append(git(folder, "rev-parse", "HEAD"))
    git(folder, "checkout", "-q", "-b", "topic", commits[2])
    (folder / "topic.py").write_text("topic\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Topic")
    branch = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    commits.append(git(folder, "rev-parse", "HEAD"))
    path = tmp_path_factory.mktemp("commits") / "mlflow.db"
    shutil.copy(empty_store, path)
    rows = [row for number in RAN for row in traces_of(commits[number], number, 40)]
    rows += traces_of(branch, 3, 5)
    rows += traces_of("--output=/tmp/caught", 3, 3)
    write(f"sqlite:///{path}", rows)
    server = MlflowServer(tmp_path_factory.mktemp("server"), f"sqlite:///{path}")
    server.start()
    yield Known(folder, commits, branch, server.uri)
    server.close()


def test_commits_are_in_the_order_of_the_repository(known: Known) -> None:
    found = version_history("commit", repository=known.folder, tracking_uri=known.uri)
    assert [it.value for it in found.versions] == [known.commits[it] for it in RAN]
    assert found.order == "the commits of HEAD and its first parents"
    [note] = [
        it for it in found.notes if it.startswith("Left out, because they are not on the line")
    ]
    assert repr(known.branch) in note
    assert repr("--output=/tmp/caught") in note


def test_the_commits_between_which_it_happened_are_found(known: Known) -> None:
    found = version_history("commit", repository=known.folder, bisect=True, tracking_uri=known.uri)
    [change] = found.changes
    assert (change.previous, change.value) == (known.commits[2], known.commits[FIRST_BAD])
    assert list(change.shifts) == ["errors"]
    bisection = change.bisection
    assert bisection
    assert (bisection.before.id, bisection.after.id) == (known.commits[2], known.commits[6])
    assert bisection.after.subject == "Change the prompt, number 6"
    assert [it.id for it in bisection.between] == known.commits[3:6]
    assert bisection.between[0].subject == "Change the prompt, number 3"
    good, bad = known.commits[2], known.commits[6]
    assert bisection.link == f"https://github.com/acme/app/compare/{good}...{bad}"


def test_the_command_names_the_last_good_commit_and_the_first_bad_one(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.chdir(known.folder)
    asked = ("--by", "commit", "--since", "30d", "--bisect", "--fail-on", "worse")
    status, out, _ = command(known.uri, *asked)
    assert status == 1
    lines = [it.strip() for it in out.splitlines()]
    good, bad = known.commits[2][:10], known.commits[6][:10]
    assert f"worse from {bad} on" in lines
    assert f"last good commit: {good} Change the prompt, number 2" in lines
    assert f"first bad commit: {bad} Change the prompt, number 6" in lines
    assert "3 commits between never ran:" in lines
    assert "\x1b" not in out
    assert "\x07" not in out
    page = tmp_path / "page.html"
    command(known.uri, *asked, "--format", "html", "--output", str(page))
    assert "<img" not in page.read_text()
    assert "&lt;img src=x" in page.read_text()
    found = json.loads(command(known.uri, *asked, "--format", "json")[1])
    assert found["changes"][0]["bisection"]["after"]["id"] == known.commits[6]
    assert not Path("/tmp/caught").exists()


def test_without_a_checkout_commits_are_in_the_order_in_which_they_were_seen(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = version_history("commit", bisect=True, tracking_uri=known.uri)
    assert found.order == "first seen"
    places = [it.value for it in found.versions]
    assert places.index(known.commits[2]) < places.index(known.commits[1])
    assert any("there is no checkout of a git repository" in it for it in found.notes)
    assert {it.bisection.between for it in found.changes} == {None}
    with pytest.raises(CannotCompare, match="there is no checkout of a git repository"):
        version_history("commit", repository=tmp_path, tracking_uri=known.uri)


def test_a_checkout_of_something_else_does_not_order_the_commits(
    known: Known, repository: Path
) -> None:
    found = version_history("commit", bisect=True, repository=repository, tracking_uri=known.uri)
    assert found.order == "first seen"
    assert any("none of them is on the line of HEAD" in it for it in found.notes)
    notes = [note for it in found.changes for note in it.bisection.notes]
    assert any("not known: git failed: " in it for it in notes), notes
    assert all(it.bisection and it.bisection.between is None for it in found.changes)


def test_a_shallow_clone_is_named_as_the_reason(known: Known, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{known.folder}", "clone")
    found = version_history("commit", repository=tmp_path / "clone", tracking_uri=known.uri)
    assert [it.value for it in found.versions] == known.commits[-2:]
    assert any("which is a shallow clone (git fetch --unshallow)" in it for it in found.notes)


def test_a_partial_clone_is_not_made_to_fetch(known: Known, tmp_path: Path) -> None:
    git(known.folder, "config", "uploadpack.allowFilter", "true")
    source = f"file://{known.folder}"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", source, "clone")
    clone = tmp_path / "clone"
    git(clone, "reset", "-q", "HEAD~1")
    git(clone, "config", "remote.origin.uploadpack", f"touch {tmp_path}/caught; false")
    found = version_history("commit", repository=clone, bisect=True, tracking_uri=known.uri)
    assert found.order == "the commits of HEAD and its first parents"
    with pytest.raises(RepositoryError, match="git failed"):
        checkout_at(clone)[0].commit("0123456789" * 4)
    assert not (tmp_path / "caught").exists()


def test_versions_have_the_commits_of_their_traces(known: Known) -> None:
    found = version_history(
        where="metadata.app_version != '1.2'",
        repository=known.folder,
        bisect=True,
        tracking_uri=known.uri,
    )
    bisections = [it.bisection for it in found.changes if it.value == "1.6"]
    assert [it and it.before and it.before.subject for it in bisections] == ["Topic"]
    assert [it and it.after and it.after.id for it in bisections] == [known.commits[FIRST_BAD]]


def test_the_link_is_of_the_repository_that_the_traces_name(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = "a" * 40, "b" * 40
    more = {
        "mlflow.source.git.repoURL": "https://ada:secret@gitlab.com/acme/app.git",
        "mlflow.source.git.dirty": "true",
    }
    write(store, [*traces_of(good, 0, 40), *traces_of(bad, FIRST_BAD, 40, **more)])
    found = version_history("commit", bisect=True, tracking_uri=store)
    [change] = found.changes
    assert change.bisection
    assert change.bisection.link == f"https://gitlab.com/acme/app/-/compare/{good}...{bad}"
    assert change.bisection.notes == (
        f"{bad} ran with uncommitted changes, so its commit is not all of it",
        "the commits between are not known: there is no checkout to ask",
    )
    assert "secret" not in found.as_text() + found.as_html() + json.dumps(found.as_dict())


def test_two_versions_of_one_commit_differ_in_something_else(known: Known) -> None:
    versions = [
        Version(it, 0, 0, commit=known.commits[2], last_commit=known.commits[2], repository=None)
        for it in ("1.0", "1.1")
    ]
    checkout, _ = checkout_at(known.folder)
    found = bisection(*versions, checkout, [])
    assert found.notes == ("both are of the same commit: what changed is not the code",)
    assert (found.between, found.link) == ((), None)
    backwards = [replace(versions[0], last_commit=known.commits[4]), versions[1]]
    found = bisection(*backwards, checkout, [])
    assert found.notes == ("the second of them is not newer than the first",)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://github.com/acme/app", "/compare/{0}...{1}"),
        ("https://github.example.com/acme/app", "/compare/{0}...{1}"),
        ("https://git.example.com:8443/acme/app", None),
        ("https://bitbucket.org/acme/app", "/branches/compare/{1}%0D{0}"),
        ("https://codeberg.org/acme/app", "/compare/{0}...{1}"),
        (
            "https://dev.azure.com/acme/web/_git/app",
            "/branchCompare?baseVersion=GC{0}&targetVersion=GC{1}",
        ),
    ],
)
def test_each_host_has_its_own_page_for_a_comparison(url: str, page: str | None) -> None:
    found = comparison_url(url, "9f1c3aa", "77b0e12")
    assert found == (page and url + page.format("9f1c3aa", "77b0e12"))
