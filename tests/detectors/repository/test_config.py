"""Addresses of remotes, from every file that git reads."""

import subprocess

import pytest

from otel_mlflow_context.detectors.repository.config import read_config, remote_urls
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.detectors.repository.refs import read_head


def urls_of(directory):
    repository = find_repository(directory)
    return remote_urls(repository, read_head(repository).branch)


@pytest.fixture
def own_config(tmp_path, monkeypatch):
    """The user's own configuration."""
    file = tmp_path / "home" / "gitconfig"
    file.parent.mkdir()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    return file


def test_an_abbreviation_that_the_user_has_set(git, shop, own_config):
    own_config.write_text(
        '[url "https://github.com/"]\n\tinsteadOf = gh:\n'
        '[url "https://github.com/acme/"]\n\tinsteadOf = gh:a/\n'
    )
    git(shop, "remote", "add", "origin", "gh:a/shop.git")
    assert urls_of(shop)[0] == git(shop, "remote", "get-url", "origin")
    assert urls_of(shop) == ["https://github.com/acme/shop.git", "gh:a/shop.git"]


def test_an_address_that_nothing_rewrites(git, shop, own_config):
    own_config.write_text('[url "https://github.com/"]\n\tinsteadOf = gh:\n')
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    assert urls_of(shop) == ["https://host/acme/shop"]


def test_a_remote_in_an_included_file(git, shop):
    (shop / ".git" / "more").write_text('[remote "origin"]\n\turl = https://host/acme/shop\n')
    git(shop, "config", "include.path", "more")
    assert urls_of(shop) == [git(shop, "remote", "get-url", "origin")]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("gitdir:{shop}/", True),
        ("gitdir:{shop}/.git", True),
        ("gitdir:{shop}", False),
        ("gitdir:shop/", True),
        ("gitdir:shop/.git", True),
        ("gitdir:sho?/", True),
        ("gitdir:**/shop/**", True),
        ("gitdir:hop/", False),
        ("gitdir:SHOP/", False),
        ("gitdir/i:SHOP/", True),
        ("gitdir:./", False),
        ("onbranch:main", True),
        ("onbranch:m*", True),
        ("onbranch:feature/", False),
        ("hasconfig:remote.*.url:https://**", False),
        ("nonsense", False),
    ],
)
def test_a_file_that_is_included_on_a_condition(git, shop, own_config, condition, holds):
    more = own_config.with_name("more")
    more.write_text('[remote "origin"]\n\turl = https://host/acme/shop\n')
    own_config.write_text(f'[includeIf "{condition.format(shop=shop)}"]\n\tpath = more\n')
    said = subprocess.run(
        ["git", "config", "remote.origin.url"], cwd=shop, check=False, capture_output=True
    )
    assert bool(said.stdout) is holds  # git agrees
    assert urls_of(shop) == (["https://host/acme/shop"] if holds else ["origin"])


def test_a_condition_relative_to_the_home_folder(git, shop, own_config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    own_config.with_name("more").write_text('[remote "origin"]\n\turl = https://host/acme/shop\n')
    own_config.write_text(
        f'[includeIf "gitdir:~/shop/"]\n\tpath = ~/{own_config.parent.name}/more\n'
    )
    assert urls_of(shop) == [git(shop, "config", "remote.origin.url")]


def test_the_repository_s_own_setting_is_the_last(git, shop, own_config):
    own_config.write_text("[core]\n\tbare = true\n")
    assert [it.value for it in read_config(find_repository(shop), None) if it.key == "bare"] == [
        "true",
        "false",
    ]


def test_files_that_include_each_other(git, shop):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    git(shop, "config", "include.path", "config")  # git itself gives up over it
    assert urls_of(shop) == ["https://host/acme/shop"]


def test_an_include_that_leads_nowhere_costs_nothing_else(shop, own_config):
    own_config.mkdir()
    (shop / ".git" / "folder").mkdir()
    paths = ("gone", "folder", "/dev/zero", "nul\0")
    text = "[include]\n" + "".join(f"\tpath = {path}\n" for path in paths)
    (shop / ".git" / "config").write_text(text + '[remote "origin"]\n\turl = https://host/a/b\n')
    assert urls_of(shop) == ["https://host/a/b"]


def test_a_setting_of_one_worktree(git, shop, tmp_path):
    git(shop, "remote", "add", "other", "https://host/acme/other")
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    git(shop, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    git(shop, "config", "extensions.worktreeConfig", "true")
    git(tmp_path / "side", "config", "--worktree", "branch.side.remote", "other")
    assert urls_of(tmp_path / "side")[0] == "https://host/acme/other"
    assert urls_of(shop)[0] == "https://host/acme/shop"


def test_the_repository_s_own_config_must_be_a_file(shop):
    (shop / ".git" / "config").unlink()
    (shop / ".git" / "config").mkdir()
    with pytest.raises(RepositoryError):
        urls_of(shop)
