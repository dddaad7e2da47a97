import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_mlflow_context import settings
from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors._sources import code_findings
from otel_mlflow_context.detectors.git import GitResourceDetector
from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.repository import command


@pytest.fixture
def detect(monkeypatch, caplog):
    """What the detector says of a program whose code is in the given folder."""
    caplog.set_level(logging.INFO, logger="otel_mlflow_context")

    def run(directory):
        program = Program(name=None, directory=directory, package=None)
        monkeypatch.setattr(process, "current_program", lambda: program)
        _process.forget()
        return dict(GitResourceDetector().detect().attributes)

    return run


@pytest.fixture
def without_dirty(monkeypatch):
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_DIRTY", "false")


def test_all_facts_of_a_repository(git, shop, detect, caplog):
    git(shop, "remote", "add", "origin", "https://me:secret@github.com/acme/shop.git")
    assert detect(shop / "app") == {
        "vcs.ref.head.revision": git(shop, "rev-parse", "HEAD"),
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
        "vcs.repository.url.full": "https://github.com/acme/shop",
        "vcs.repository.name": "shop",
        "vcs.owner.name": "acme",
        "vcs.provider.name": "github",
        "vcs.ref.head.dirty": False,
    }
    assert not caplog.records


def test_a_fact_that_is_not_known_is_absent(git, shop, detect):
    git(shop, "checkout", "-q", "--detach")
    git(shop, "remote", "add", "origin", "/home/me/shop.git")
    assert detect(shop).keys() == {"vcs.ref.head.revision", "vcs.ref.head.dirty"}


def test_a_branch_that_follows_a_local_remote_leaves_origin(git, shop, detect, without_dirty):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    git(shop, "config", "branch.main.remote", ".")
    assert detect(shop)["vcs.repository.url.full"] == "https://host/acme/shop"


def test_an_unborn_branch_has_a_name_only(git, tmp_path, detect):
    git(tmp_path, "init", "-q", "-b", "main")
    assert detect(tmp_path) == {"vcs.ref.head.name": "main", "vcs.ref.head.type": "branch"}


def test_a_long_branch_name_is_shortened_like_every_value(git, shop, detect, without_dirty):
    git(shop, "checkout", "-q", "-b", "a/" * 150 + "b")
    assert len(detect(shop)["vcs.ref.head.name"]) == 250


def test_the_tag_of_the_commit(git, shop, detect, without_dirty):
    git(shop, "tag", "-a", "-m", "it", "v1.2.0")
    assert detect(shop)["vcs.ref.head.tag"] == "v1.2.0"


def test_git_describe_says_the_version_where_it_is_asked_for(git, shop, without_dirty, monkeypatch):
    git(shop, "tag", "v1.2.0")
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    program = Program(directory=shop)
    assert "service.version" not in code_findings(program, dirty=False)
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_DESCRIBE", "true")
    settings.forget()
    found = code_findings(program, dirty=False)["service.version"]
    assert (found.value, found.source) == (git(shop, "describe", "--tags"), "git describe")


def test_without_a_tag_git_describe_has_nothing_to_say(git, shop, monkeypatch, detect, caplog):
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_DESCRIBE", "true")
    settings.forget()
    assert "service.version" not in detect(shop)
    assert [it for it in caplog.records if "No names found" in it.getMessage()]


def test_no_repository_is_nothing_to_log(tmp_path, detect, caplog):
    assert detect(tmp_path) == {}
    assert detect(tmp_path / "nowhere") == {}
    assert detect(None) == {}
    assert not caplog.records


def test_one_bad_file_costs_its_own_facts_and_one_line(git, shop, detect, caplog):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    (shop / ".git" / "HEAD").write_bytes(b"\xff\x00")
    assert detect(shop).keys() == {
        "vcs.repository.url.full",
        "vcs.repository.name",
        "vcs.owner.name",
    }
    assert len(caplog.records) == 1


def test_an_unreadable_config_leaves_the_commit(shop, detect, caplog):
    config = shop / ".git" / "config"
    config.unlink()
    config.mkdir()
    assert "vcs.ref.head.revision" in detect(shop)
    assert len(caplog.records) == 1


def test_all_bad_files_together_cost_one_line(shop, detect, caplog):
    for name in ("HEAD", "config"):
        (shop / ".git" / name).unlink()
        (shop / ".git" / name).mkdir()
    assert detect(shop) == {}
    assert len(caplog.records) == 1


def test_a_format_that_is_not_known_is_logged(git, shop, detect, caplog):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    (shop / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    assert "vcs.ref.head.revision" not in detect(shop)
    assert [record for record in caplog.records if "reftable" in record.getMessage()]


def test_nothing_that_goes_wrong_reaches_the_application(monkeypatch, detect, caplog):
    detect(None)

    def fail():
        raise RuntimeError

    monkeypatch.setattr(process, "current_program", fail)
    _process.forget()
    assert GitResourceDetector().detect().attributes == {}
    assert len(caplog.records) == 1


# --- Uncommitted changes ---------------------------------------------------------------------


def dirty(facts):
    return facts.get("vcs.ref.head.dirty")


def test_a_changed_file_is_dirty(shop, detect):
    (shop / "app" / "main.py").write_text("print(1)\n")
    assert dirty(detect(shop)) is True


def test_a_staged_file_is_dirty(git, shop, detect):
    (shop / "app" / "new.py").touch()
    git(shop, "add", ".")
    assert dirty(detect(shop)) is True


def test_a_deleted_file_is_dirty(shop, detect):
    (shop / "app" / "main.py").unlink()
    assert dirty(detect(shop)) is True


def test_an_untracked_file_is_not_dirty(shop, detect):
    (shop / "app" / "log.txt").touch()
    assert dirty(detect(shop)) is False


def test_a_file_that_was_only_touched_is_not_dirty(shop, detect):
    os.utime(shop / "app" / "main.py", (1, 1))
    assert dirty(detect(shop)) is False


def test_a_worktree_is_dirty_by_itself(git, shop, detect, tmp_path):
    worktree = tmp_path / "worktree"
    git(shop, "worktree", "add", "-q", str(worktree))
    (worktree / "app" / "main.py").write_text("print(1)\n")
    assert dirty(detect(worktree)) is True
    assert dirty(detect(shop)) is False


def test_a_conflict_is_dirty(git, shop, detect):
    git(shop, "checkout", "-q", "-b", "other")
    (shop / "app" / "main.py").write_text("other\n")
    git(shop, "commit", "-q", "-a", "-m", "other")
    git(shop, "checkout", "-q", "main")
    (shop / "app" / "main.py").write_text("main\n")
    git(shop, "commit", "-q", "-a", "-m", "main")
    with pytest.raises(subprocess.CalledProcessError):
        git(shop, "merge", "other")
    assert dirty(detect(shop)) is True


def test_the_check_can_be_turned_off(shop, detect, without_dirty, monkeypatch):
    monkeypatch.setattr(command, "is_dirty", pytest.fail)
    assert dirty(detect(shop)) is None


def test_the_repository_is_left_as_it_was(git, shop, detect):
    os.utime(shop / "app" / "main.py", (1, 1))
    index = (shop / ".git" / "index").read_bytes()
    detect(shop)
    assert (shop / ".git" / "index").read_bytes() == index


def test_nothing_that_the_repository_names_is_run(git, shop, detect):
    trace = shop.parent / "trace"
    hook = shop / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {trace}\n")
    hook.chmod(0o755)
    (shop / ".git" / "hooks").mkdir(exist_ok=True)
    (shop / ".git" / "hooks" / "post-index-change").symlink_to(hook)
    git(shop, "config", "core.fsmonitor", str(hook))
    os.utime(shop / "app" / "main.py", (1, 1))
    assert dirty(detect(shop)) is False
    assert not trace.exists()
    git(shop, "status")
    assert trace.exists()  # so git would have run it


def test_git_s_refusal_of_somebody_else_s_repository_stands(shop, detect, caplog):
    if os.getuid() != 0:
        pytest.skip("only root can give a repository away")
    for path in (shop, *shop.rglob("*")):
        os.chown(path, 4_242, 4_242)
    facts = detect(shop)
    assert facts["vcs.ref.head.name"] == "main"
    assert dirty(facts) is None
    assert "dubious ownership" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_a_git_that_is_told_to_look_elsewhere_is_not_asked(
    shop, detect, monkeypatch, caplog, variable
):
    monkeypatch.setenv(variable, str(shop.parent))
    assert dirty(detect(shop)) is None
    assert not caplog.records


def test_a_broken_repository_is_not_answered_for_by_one_above(git, shop, detect):
    inner = shop / "app" / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "inner")
    git(inner, "commit", "-q", "--allow-empty", "-m", "first")
    (inner / ".git" / "objects").rename(inner / ".git" / "lost")
    facts = detect(inner)
    assert facts["vcs.ref.head.name"] == "inner"
    assert dirty(facts) is None


# --- In a process of its own -----------------------------------------------------------------

PROGRAM = """
import logging, pathlib, sys, time
from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.git import GitResourceDetector
logging.basicConfig(format="LOG %(message)s", stream=sys.stdout)
program = Program(None, pathlib.Path(sys.argv[1]), None)
process.current_program = lambda: program
start = time.perf_counter()
facts = GitResourceDetector().detect().attributes
print("SECONDS", time.perf_counter() - start)
print("DIRTY", facts.get("vcs.ref.head.dirty"))
print("COMMIT", facts.get("vcs.ref.head.revision"))
print("GIT", "git" in sys.modules)
"""


def run_program(shop, **environment):
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(shop)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert finished.stderr == ""
    return finished.stdout


def git_stand_in(folder, script):
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def ended(pid):
    """Whether a process has ended; one that nobody waits for counts as well."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_slow_git_is_killed_with_its_children_after_one_second(shop, tmp_path):
    pids = tmp_path / "pids"
    path = git_stand_in(tmp_path / "bin", f"sleep 60 & echo $$ $! > {pids}; wait")
    output = run_program(shop, PATH=path)
    assert "DIRTY None" in output
    assert output.count("LOG") == 1
    assert "did not answer within 1 s" in output
    assert float(output.partition("SECONDS ")[2].split()[0]) < 1.5
    for pid in pids.read_text().split():
        assert ended(pid)


def test_a_git_that_fails_is_reported_in_one_line(shop, tmp_path):
    path = git_stand_in(
        tmp_path / "bin",
        """case "$*" in *status*) echo bad >&2; echo worse >&2; exit 3;; esac
        echo git version 2.39""",
    )
    output = run_program(shop, PATH=path)
    assert "DIRTY None" in output
    assert output.count("LOG") == 1
    assert "git failed: bad\n" in output


def test_without_a_git_binary_the_rest_is_known_and_nothing_is_logged(git, shop, tmp_path):
    commit = git(shop, "rev-parse", "HEAD")
    output = run_program(shop, PATH=str(tmp_path))
    assert f"COMMIT {commit}" in output
    assert "DIRTY None" in output
    assert "LOG" not in output


def test_a_git_that_does_not_answer_is_asked_only_once(shop, tmp_path):
    path = git_stand_in(tmp_path / "bin", "sleep 60")
    output = run_program(shop, PATH=path, OTEL_MLFLOW_CONTEXT_DESCRIBE="true")
    assert "DIRTY None" in output
    assert float(output.partition("SECONDS ")[2].split()[0]) < 1.5


def test_gitpython_is_not_imported(shop):
    assert "GIT False" in run_program(shop)
