"""All sources of what is known of the code, together: which one speaks, and which is left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_mlflow_context import DeploymentResourceDetector, GitResourceDetector, detectors, semconv
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._sources import merged

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
}
CLOUD_RUN = {"K_SERVICE": "shop", "K_REVISION": "shop-7", "K_CONFIGURATION": "shop"}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The process as if it had been started so."""

    def runs(script: Path, **environment: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "orig_argv", [sys.executable, str(script)])
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
        monkeypatch.chdir(script.parent)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        git = GitResourceDetector().detect().attributes
        return {**git, **DeploymentResourceDetector().detect().attributes}

    detectors.detect_resource.cache_clear()
    return runs


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program in a folder without a repository."""
    (tmp_path / "image").mkdir()
    file = tmp_path / "image" / "main.py"
    file.touch()
    return file


def test_in_a_pull_request_the_commit_is_its_head_and_not_the_merge(
    shop: Path, git: Any, runs: Any, tmp_path: Path
) -> None:
    git(shop, "checkout", "-q", "-b", "feature")
    git(shop, "commit", "-q", "--allow-empty", "-m", "feature")
    head = git(shop, "rev-parse", "HEAD")
    git(shop, "checkout", "-q", "main")
    git(shop, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    git(shop, "checkout", "-q", "--detach")
    git(shop, "merge", "-q", "--no-ff", "-m", "merge", "feature")
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": head}}}))
    found = runs(
        shop / "app" / "main.py",
        **GITHUB,
        GITHUB_SHA=git(shop, "rev-parse", "HEAD"),
        GITHUB_REF="refs/pull/5/merge",
        GITHUB_REF_NAME="5/merge",
        GITHUB_HEAD_REF="feature",
        GITHUB_BASE_REF="main",
        GITHUB_EVENT_PATH=str(event),
    )
    assert found[semconv.VCS_REF_HEAD_REVISION] == head
    assert found[semconv.VCS_REF_HEAD_NAME] == "feature"
    assert found[semconv.VCS_CHANGE_ID] == "5"
    assert found[semconv.VCS_REPOSITORY_URL_FULL] == "https://github.com/acme/shop"
    assert found[semconv.VCS_REF_HEAD_DIRTY] is False


def test_a_detached_checkout_gets_its_branch_from_the_platform(
    shop: Path, git: Any, runs: Any
) -> None:
    git(shop, "checkout", "-q", "--detach")
    commit = git(shop, "rev-parse", "HEAD")
    where = {"GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main"}
    found = runs(shop / "app" / "main.py", **GITHUB, **where, GITHUB_SHA=commit)
    assert found[semconv.VCS_REF_HEAD_REVISION] == commit
    assert found[semconv.VCS_REF_HEAD_NAME] == "main"


def test_a_platform_that_names_another_commit_speaks_of_another_checkout(
    shop: Path, git: Any, runs: Any
) -> None:
    git(shop, "checkout", "-q", "--detach")
    found = runs(
        shop / "app" / "main.py",
        **GITHUB,
        GITHUB_SHA="a" * 40,
        GITHUB_REF="refs/heads/other",
        GITHUB_REF_NAME="other",
    )
    assert found[semconv.VCS_REF_HEAD_REVISION] == git(shop, "rev-parse", "HEAD")
    assert semconv.VCS_REF_HEAD_NAME not in found
    assert semconv.VCS_REPOSITORY_URL_FULL not in found


def test_without_git_and_repository_the_platform_speaks(
    script: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = runs(script, **CLOUD_RUN)
    assert found[semconv.SERVICE_NAME] == "shop"
    assert found[semconv.DEPLOYMENT_ID] == "shop-7"
    assert found[semconv.CLOUD_PROVIDER] == "gcp"
    assert semconv.VCS_REF_HEAD_REVISION not in found


def test_variables_of_ones_own_win_over_the_platforms(script: Path, runs: Any) -> None:
    found = runs(
        script,
        **CLOUD_RUN,
        DEPLOYMENT_ID="blue",
        OTEL_SERVICE_NAME="qa",
        OTEL_RESOURCE_ATTRIBUTES="cloud.provider=other",
    )
    assert found[semconv.DEPLOYMENT_ID] == "blue"
    assert found[semconv.SERVICE_NAME] == "qa"
    assert found[semconv.CLOUD_PROVIDER] == "other"


def test_the_stamp_knows_the_commit_and_the_platform_the_rest(script: Path, runs: Any) -> None:
    stamp = {"schema": 1, "commit": "b" * 40, "branch": "main", "version": "1.2.0"}
    (script.parent / "otel-mlflow-context-stamp.json").write_text(json.dumps(stamp))
    found = runs(script, **CLOUD_RUN)
    assert found[semconv.VCS_REF_HEAD_REVISION] == "b" * 40
    assert found[semconv.VCS_REF_HEAD_NAME] == "main"
    assert found[semconv.SERVICE_VERSION] == "1.2.0"
    assert found[semconv.DEPLOYMENT_ID] == "shop-7"


def test_a_stale_stamp_in_a_checkout_is_conflicts_with_its_version(
    shop: Path, git: Any, runs: Any
) -> None:
    stamp = {"schema": 1, "commit": "b" * 40, "version": "0.1.0"}
    (shop / "otel-mlflow-context-stamp.json").write_text(json.dumps(stamp))
    found = runs(shop / "app" / "main.py")
    assert found[semconv.VCS_REF_HEAD_REVISION] == git(shop, "rev-parse", "HEAD")
    assert semconv.SERVICE_VERSION not in found


def test_sources_of_one_commit_complete_each_other_also_where_it_is_shortened() -> None:
    first = [Finding(semconv.VCS_REF_HEAD_REVISION, "abcdef1", "first")]
    second = [
        Finding(semconv.VCS_REF_HEAD_REVISION, "abcdef1234", "second"),
        Finding(semconv.VCS_REF_HEAD_NAME, "main", "second"),
    ]
    third = [
        Finding(semconv.VCS_REF_HEAD_REVISION, "1234567", "third"),
        Finding(semconv.VCS_CHANGE_ID, "5", "third"),
    ]
    conflicts: list[str] = []
    found = merged(first, second, third, conflicts=conflicts)
    assert {key: it.source for key, it in found.items()} == {
        semconv.VCS_REF_HEAD_REVISION: "first",
        semconv.VCS_REF_HEAD_NAME: "second",
    }
    assert conflicts == ["third names another commit than first"]
