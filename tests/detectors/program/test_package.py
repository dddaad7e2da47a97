"""What a program's package says of its commit: left by installers, setuptools-scm, git archive."""

import json
import os
import subprocess
import sys
import tarfile

import pytest

from otel_mlflow_context.detectors import _stamp
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.package import package_findings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch):
    monkeypatch.setattr(_stamp, "_logged", set())


def found(program):
    return {finding.attribute: finding.value for finding in package_findings(program)}


def sources(program):
    return {finding.attribute: finding.source for finding in package_findings(program)}


def installed(folder, package="till"):
    return Program(f"{package}.main", folder / package, package=package)


# --- Really built, really installed ------------------------------------------------------------


@pytest.fixture
def till(git, tmp_path):
    """A project in a repository, with one commit of the tag v1.2."""
    root = tmp_path / "till"
    (root / "src" / "till").mkdir(parents=True)
    (root / "src" / "till" / "__init__.py").touch()
    (root / "src" / "till" / "main.py").touch()
    (root / ".gitignore").write_text("_version.py\n")
    (root / "pyproject.toml").write_text(
        """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "till"
        version = "1.2.3"
        [tool.hatch.build.targets.wheel]
        artifacts = ["_version.py"]
        [tool.setuptools_scm]
        version_file = "src/till/_version.py"
        """
    )
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    git(root, "tag", "v1.2")
    return root


@pytest.fixture
def install(tmp_path):
    """`pip install`, without a network, into a folder of its own, which is returned."""

    def install(requirement, *options):
        target = tmp_path / "installed"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--target", target),
                *("--no-index", "--no-deps", "--no-build-isolation", *options),
                *("--disable-pip-version-check", "--no-cache-dir", requirement),
            ],
            env={**os.environ, "GIT_ALLOW_PROTOCOL": "file"},
            check=True,
            capture_output=True,
            timeout=120,
        )
        return target

    return install


def test_pip_install_from_git_knows_the_commit_and_what_was_asked_for(git, till, install):
    target = install(f"git+{till.as_uri()}@v1.2")

    assert found(installed(target)) == {
        "vcs.ref.head.revision": git(till, "rev-parse", "HEAD"),
        "vcs.ref.head.name": "v1.2",
        "service.version": "1.2.3",
    }
    assert sources(installed(target)) == {
        "vcs.ref.head.revision": "direct_url.json",
        "vcs.ref.head.name": "direct_url.json",
        "service.version": "installed distribution",
    }


def test_pip_install_from_git_of_the_default_branch_knows_the_commit(git, till, install):
    target = install(f"git+{till.as_uri()}")

    assert found(installed(target)) == {
        "vcs.ref.head.revision": git(till, "rev-parse", "HEAD"),
        "service.version": "1.2.3",
    }


def test_pip_install_of_a_folder_knows_the_version_only(till, install):
    assert found(installed(install(till))) == {"service.version": "1.2.3"}


def test_the_version_file_of_setuptools_scm_travels_with_the_package(git, till, install):
    subprocess.run(
        [sys.executable, "-m", "setuptools_scm", "--force-write-version-files"],
        cwd=till,
        check=True,
        capture_output=True,
    )

    program = installed(install(till))

    commit = found(program)["vcs.ref.head.revision"]
    assert git(till, "rev-parse", "HEAD").startswith(commit)
    assert len(commit) >= 7
    assert sources(program)["vcs.ref.head.revision"] == "_version.py"


ARCHIVAL = """\
node: $Format:%H$
node-date: $Format:%cI$
describe-name: $Format:%(describe:tags=true,match=*[0-9]*)$
ref-names: $Format:%D$
"""


@pytest.fixture
def archive(git, till, tmp_path):
    """What `git archive REVISION` makes of the project, unpacked."""
    (till / ".git_archival.txt").write_text(ARCHIVAL)
    (till / ".gitattributes").write_text(".git_archival.txt export-subst\n")
    git(till, "add", ".")
    git(till, "commit", "-q", "-m", "archival")

    def archive(revision):
        file = tmp_path / "till.tar"
        git(till, "archive", "--output", str(file), revision)
        folder = tmp_path / "unpacked"
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data")
        return Program(
            "src/till/main.py", folder / "src" / "till", script=folder / "src/till/main.py"
        )

    return archive


def test_a_git_archive_of_a_branch(git, till, archive):
    program = archive("main")

    assert found(program) == {
        "vcs.ref.head.revision": git(till, "rev-parse", "HEAD"),
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
    }
    assert set(sources(program).values()) == {".git_archival.txt"}


def test_a_git_archive_of_a_tag(git, till, archive):
    git(till, "tag", "v2.0")
    git(till, "checkout", "-q", "--detach")

    assert found(archive("v2.0")) == {
        "vcs.ref.head.revision": git(till, "rev-parse", "HEAD"),
        "vcs.ref.head.tag": "v2.0",
    }


def test_in_a_checkout_the_placeholders_of_an_archive_say_nothing(till, archive):
    assert found(Program("main.py", till, script=till / "main.py")) == {}


# --- Forms that are not made here --------------------------------------------------------------


@pytest.fixture
def distribution(tmp_path):
    """An installed distribution; returns its folder and the program in it."""

    def distribution(direct_url=None, version_file=None):
        folder = tmp_path / "site-packages"
        info = folder / "till-1.2.3.dist-info"
        info.mkdir(parents=True)
        package = folder / "till"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "main.py").touch()
        (info / "METADATA").write_text("Name: till\nVersion: 1.2.3\n")
        (info / "RECORD").write_text("till/__init__.py,,\ntill/main.py,,\ntill/jobs/main.py,,\n")
        if direct_url is not None:
            text = direct_url if isinstance(direct_url, str) else json.dumps(direct_url)
            (info / "direct_url.json").write_text(text)
        if version_file is not None:
            (package / "_version.py").write_text(version_file)
        return installed(folder)

    return distribution


VERSION = {"service.version": "1.2.3"}


def of_git(**more):
    return {
        "url": "https://ada:secret@git.example.com/acme/till.git",
        "vcs_info": {"vcs": "git", "commit_id": COMMIT, **more},
    }


def test_credentials_in_the_url_are_not_taken_over(distribution):
    program = distribution(of_git())

    assert found(program)["vcs.repository.url.full"] == "https://git.example.com/acme/till"
    assert "secret" not in str(package_findings(program))


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("main", {"vcs.ref.head.name": "main"}),
        ("refs/heads/feat/x", {"vcs.ref.head.name": "feat/x", "vcs.ref.head.type": "branch"}),
        ("refs/tags/v1", {"vcs.ref.head.tag": "v1"}),
        ("refs/pull/1/head", {}),
        ("HEAD", {}),
        (COMMIT, {}),
        (COMMIT[:9].upper(), {}),
        ("", {}),
        (17, {}),
        (None, {}),
    ],
)
def test_what_stands_after_the_at_sign(requested, expected, distribution):
    facts = found(distribution(of_git(requested_revision=requested)))

    assert {key: value for key, value in facts.items() if "ref.head" in key} == {
        "vcs.ref.head.revision": COMMIT,
        **expected,
    }


@pytest.mark.parametrize(
    "direct_url",
    [
        "{",
        "[" * 50_000,
        "[]",
        "null",
        {},
        {"vcs_info": None},
        {"vcs_info": "git"},
        {"vcs_info": {"vcs": "git"}},
        {"vcs_info": {"vcs": "git", "commit_id": "main"}},
        {"vcs_info": {"vcs": "git", "commit_id": 1}},
        {"vcs_info": {"vcs": "hg", "commit_id": COMMIT}, "url": "https://example.com/a/b"},
        {"url": "https://example.com/till.whl", "archive_info": {}},
    ],
)
def test_a_direct_url_of_no_commit_says_nothing(direct_url, distribution):
    assert found(distribution(direct_url)) == VERSION


def test_a_commit_without_a_url_is_a_commit(distribution):
    direct_url = of_git() | {"url": 17}

    assert found(distribution(direct_url)) == VERSION | {"vcs.ref.head.revision": COMMIT}


@pytest.mark.parametrize(
    ("version_file", "commit"),
    [
        ("__commit_id__ = commit_id = 'g1234abc'\n", "1234abc"),
        ('__commit_id__ = "g1234abc0"\r\n', "1234abc0"),
        ("__commit_id__ = commit_id = None\n", None),
        ("__commit_id__ = commit_id = 'h1234abc'\n", None),  # Mercurial's
        ("__commit_id__ = commit_id = '1234abc'\n", None),
        ("__commit_id__ = commit_id = 'g1234ab'\n", None),
        ("__commit_id__ = 'g1234abc' + suffix()\n", None),
        ("__commit_id__ = commit_id = 'g1234abc\"\n", None),
        ("    __commit_id__ = commit_id = 'g1234abc'\n", None),
        ("# __commit_id__ = commit_id = 'g1234abc'\n", None),
        ("__commit_id__: str\nraise SystemExit\n", None),
        ("__commit_id__ = commit_id = 'g1234abc'\n" + "#" * 70_000, None),
    ],
)
def test_a_version_file_is_read_to_the_letter_and_never_run(version_file, commit, distribution):
    expected = VERSION | ({"vcs.ref.head.revision": commit} if commit else {})

    assert found(distribution(version_file=version_file)) == expected


def test_the_version_file_in_a_source_folder_may_be_old_and_says_nothing(tmp_path, monkeypatch):
    project = tmp_path / "project"
    package = project / "src" / "till"
    package.mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (package / "_version.py").write_text("__commit_id__ = commit_id = 'g1234abc'\n")
    info = tmp_path / "site-packages" / "till-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: till\nVersion: 1.2.3\n")
    editable = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(editable))
    monkeypatch.setattr(sys, "path", [str(info.parent)])

    assert found(Program("till.main", package, package="till")) == VERSION


def test_the_installer_knows_better_than_the_version_file(distribution):
    program = distribution(of_git(), "__commit_id__ = commit_id = 'g1234abc'\n")

    assert found(program)["vcs.ref.head.revision"] == COMMIT


def test_the_version_file_of_a_package_above_is_the_distributions(distribution):
    program = distribution(version_file="__commit_id__ = commit_id = 'g1234abc'\n")
    jobs = program.directory / "jobs"
    jobs.mkdir()
    (jobs / "__init__.py").touch()

    nested = Program("till.jobs.main", jobs, package="till")
    assert found(nested)["vcs.ref.head.revision"] == "1234abc"


@pytest.mark.parametrize(
    ("archival", "expected"),
    [
        (
            "node: {c}\nref-names: HEAD -> main, tag: v1, origin/main\n",
            {"name": "main", "type": "branch", "tag": "v1"},
        ),
        ("node: {c}\ndescribe-name: v1-2-g0123456\nref-names: \n", {}),
        ("node: {c}\ndescribe-name: $Format:%(describe)$\nref-names: tag: v1", {"tag": "v1"}),
        ("node: {c}\r\ndescribe-name: v1-2-g0123456\r\nref-names: main\r\n", {}),
        ("node: {c}", {}),
    ],
)
def test_what_the_refs_of_an_archive_say(archival, expected, tmp_path):
    (tmp_path / ".git_archival.txt").write_bytes(archival.format(c=COMMIT).encode())

    assert found(Program("main.py", tmp_path, script=tmp_path / "main.py")) == {
        "vcs.ref.head.revision": COMMIT,
        **{f"vcs.ref.head.{key}": value for key, value in expected.items()},
    }


@pytest.mark.parametrize("text", ["", "node:", "node: main", "ref-names: HEAD -> main", "\0"])
def test_an_archival_file_without_a_commit_says_nothing(text, tmp_path):
    (tmp_path / ".git_archival.txt").write_text(text)

    assert found(Program("main.py", tmp_path, script=tmp_path / "main.py")) == {}


def test_the_archival_file_of_a_project_around_it_is_not_the_programs(tmp_path):
    (tmp_path / ".git_archival.txt").write_text(f"node: {COMMIT}\n")
    project = tmp_path / "project"
    project.mkdir()
    program = Program("main.py", project, script=project / "main.py")
    assert found(program) == {"vcs.ref.head.revision": COMMIT}

    (project / "pyproject.toml").touch()
    assert found(program) == {}


def test_a_program_without_a_folder_has_no_package():
    assert found(Program()) == {}
