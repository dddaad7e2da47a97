import subprocess

import pytest

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.com",
}


@pytest.fixture
def git(monkeypatch, tmp_path_factory):
    """Runs the real git in a folder, apart from the settings of whoever runs the tests."""
    nothing = tmp_path_factory.mktemp("settings") / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(nothing))
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(directory, *arguments):
        return subprocess.run(
            ["git", *arguments], cwd=directory, check=True, capture_output=True, text=True
        ).stdout.strip()

    return run


@pytest.fixture
def shop(git, tmp_path):
    """A repository on branch main with one commit, and a program in its folder `app`."""
    root = tmp_path / "shop"
    (root / "app").mkdir(parents=True)
    (root / "app" / "main.py").write_text("print()\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root
