"""Names in SSH's configuration, as `ssh -G` resolves them."""

import shutil
import subprocess

import pytest

from otel_mlflow_context.detectors.repository.ssh import host_of


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Writes the user's configuration, with another file to include."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "more").write_text("Host work\n  HostName more.example\n")

    def write(text):
        (folder / "config").write_text(text)
        return folder / "config"

    return write


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", None),
        ("Host other\n HostName a.example\n", None),
        ("Host work\n HostName a.example\n", "a.example"),
        ("host=work\nhostname = A.example\n", "a.example"),
        ("HostName a.example\nHost work\n HostName b.example\n", "a.example"),
        ("Host w?rk !work\n HostName a.example\nHost w*\n HostName b.example\n", "b.example"),
        ("Host work\n HostName %h.example\n", "work.example"),
        ('Host "work" # a comment\n HostName "a.example"\n', "a.example"),
        ("Host [w]ork\n HostName a.example\n", None),
        ("Include more\n", "more.example"),
        ("Include m*\n", "more.example"),
        ("Host other\n Include more\nHost *\n HostName a.example\n", "a.example"),
        ("Include config\nHost work\n HostName a.example\n", "a.example"),
        ("Match all\n HostName a.example\n", "a.example"),
        ("Match host work,other\n HostName a.example\n", "a.example"),
        ("Match originalhost other\n HostName a.example\n", None),
    ],
)
def test_the_host_of_an_alias(configured, text, host):
    file = configured(text)
    assert host_of("work") == host
    # From which folder it includes depends on who runs this.
    if "Include" not in text and shutil.which("ssh"):
        output = subprocess.run(
            ["ssh", "-G", "-F", file, "work"], capture_output=True, text=True, check=True
        ).stdout
        assert f"hostname {host or 'work'}\n" in output


def test_what_depends_on_more_than_the_name_is_not_known(configured):
    for text in (
        "Match exec true\n HostName a.example\n",
        "Match user ada host work\n HostName a.example\n",
        "Host work\n HostName %k.example\n",
    ):
        configured(f"{text}Host work\n HostName b.example\n")
        assert host_of("work") is None


def test_a_host_that_is_reached_in_another_way_keeps_its_name(configured):
    for there in ("localhost", "127.0.0.1"):
        configured(f"Host git.example\n  HostName {there}\n")
        assert host_of("git.example") == "git.example"


def test_a_file_that_cannot_be_used_is_as_none(configured):
    configured('Host work\n HostName "a.example\n\0 = % \n=\nHost\nHostName\nMatch\nInclude\n')
    assert host_of("work") is None
    assert host_of("git.example") == "git.example"
