"""`otel-mlflow-context stamp`, the build hook that does the same, and the page about both."""

from __future__ import annotations

import calendar
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from conftest import git

from otel_mlflow_context.cli.stamp import build_stamp as stamp_module
from otel_mlflow_context.detectors._stamp import FIELDS, FILE_NAME, stamp_findings
from otel_mlflow_context.detectors.program.command_line import program_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "build-stamp.md").read_text()
EXAMPLE = ROOT / "examples" / "wheel_with_stamp"
GIT = {
    "GIT_CONFIG_GLOBAL": str(ROOT / "no such file"),
    "GIT_CONFIG_NOSYSTEM": "1",
}


def environment(**more):
    """No variable of the machine that runs the tests, and this interpreter's programs first."""
    kept = {key: os.environ[key] for key in ("HOME", "TMPDIR", "PYTHONPATH") if key in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | GIT | {"PATH": path} | more


def run_stamp(folder, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "stamp", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stamped(folder, *arguments, **variables):
    """What the stamp says that the command wrote."""
    result = run_stamp(folder, *arguments, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# --- What it says ------------------------------------------------------------------------------


def test_it_says_what_git_says(repository, commit):
    git(repository, "tag", "v1.2.0")

    said = stamped(repository)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said.pop("time"))
    assert said == {
        "schema": 1,
        "commit": commit,
        "branch": "main",
        "tag": "v1.2.0",
        "dirty": False,
        "repository": "https://github.com/acme/app",
    }


def test_it_prints_what_it_wrote_and_says_where(repository):
    result = run_stamp(repository)

    assert result.stdout == (repository / FILE_NAME).read_text()
    assert result.stderr == f"otel-mlflow-context: wrote {FILE_NAME}\n"
    assert "secret" not in result.stdout  # the remote's password


def test_the_detector_reads_what_the_command_wrote(repository):
    git(repository, "tag", "v1.2.0")
    said = stamped(repository, "--version", "1.2.0")
    program = program_of(["python", "app.py"], environ={}, cwd=repository)

    found = {finding.attribute: finding.value for finding in stamp_findings(program, {}, None)}

    assert found.pop("vcs.ref.head.type") == "branch"
    assert found == {FIELDS[key]: said[key] for key in FIELDS if key in said}
    assert len(found) == 6


def test_uncommitted_changes_are_dirty_and_the_stamp_itself_is_none(repository):
    assert stamped(repository)["dirty"] is False
    assert stamped(repository)["dirty"] is False
    (repository / "README").write_text("two\n")
    assert stamped(repository)["dirty"] is True


def test_a_detached_head_has_no_branch_and_an_annotated_tag_comes_first(repository):
    git(repository, "checkout", "-q", "--detach")
    git(repository, "tag", "light")
    git(repository, "tag", "-a", "-m", "release", "release-1")

    said = stamped(repository)

    assert "branch" not in said
    assert said["tag"] == "release-1"


def test_a_tag_of_another_commit_is_not_the_commits(repository):
    git(repository, "tag", "v1")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")

    assert "tag" not in stamped(repository)


def test_without_git_it_knows_what_stands_in_the_repositorys_files(repository, commit):
    git(repository, "tag", "v1")

    said = stamped(repository, PATH="")

    assert said["commit"] == commit
    assert said["branch"] == "main"
    assert said["tag"] == "v1"
    assert "dirty" not in said


def test_where_git_refuses_for_the_owner_the_commit_is_known_and_why_is_said(repository, commit):
    # Git's own variable for its tests: as in a container whose user does not own the checkout.
    result = run_stamp(repository, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")

    assert json.loads(result.stdout)["commit"] == commit
    assert "dirty" not in json.loads(result.stdout)
    assert "dubious ownership" in result.stderr


def test_in_a_folder_of_the_checkout_it_is_the_checkouts(repository, commit):
    (repository / "app").mkdir()
    (repository / "app" / "main.py").touch()
    git(repository, "add", ".")

    assert stamped(repository / "app")["commit"] == commit


def test_the_version_is_the_arguments_then_the_variables(repository):
    otel = {"OTEL_RESOURCE_ATTRIBUTES": "service.version=3"}

    assert "version" not in stamped(repository)
    assert stamped(repository, APP_VERSION="2")["version"] == "2"
    assert stamped(repository, APP_VERSION="2", **otel)["version"] == "3"
    assert stamped(repository, "--version", " 4\n", APP_VERSION="2", **otel)["version"] == "4"


def test_a_variable_that_names_another_commit_is_another_checkouts(repository, commit):
    other = "0" * 40
    result = run_stamp(repository, OTEL_RESOURCE_ATTRIBUTES=f"vcs.ref.head.revision={other}")

    said = json.loads(result.stdout)
    assert said["commit"] == other
    assert not {"branch", "repository", "dirty"} & said.keys()
    assert "another commit" in result.stderr


def test_a_variable_that_names_the_same_commit_adds_to_it(repository, commit):
    said = stamped(
        repository,
        OTEL_RESOURCE_ATTRIBUTES=f"vcs.ref.head.revision={commit[:9]},vcs.change.id=17",
    )

    assert said["change"] == "17"
    assert said["branch"] == "main"


def test_a_variable_of_a_wrong_form_is_nothing(repository, commit):
    said = stamped(repository, OTEL_RESOURCE_ATTRIBUTES="vcs.ref.head.revision=main")

    assert said["commit"] == commit


def test_the_time_is_now_in_utc_or_that_of_a_reproducible_build(repository):
    said = stamped(repository, TZ="Asia/Tokyo")["time"]
    seconds = calendar.timegm(time.strptime(said, "%Y-%m-%dT%H:%M:%SZ"))
    assert abs(seconds - time.time()) < 60

    assert stamped(repository, SOURCE_DATE_EPOCH="1")["time"] == "1970-01-01T00:00:01Z"
    assert stamped(repository, SOURCE_DATE_EPOCH="soon")["time"] >= said


# --- When nothing is known ---------------------------------------------------------------------


def test_where_nothing_is_known_nothing_is_written(tmp_path):
    (tmp_path / FILE_NAME).write_text("an older one")

    result = run_stamp(tmp_path)

    assert result.returncode == 1
    assert result.stdout == ""
    assert "neither a commit nor a version" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_text() == "an older one"


def test_before_the_first_commit_nothing_is_known(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")

    assert run_stamp(tmp_path).returncode == 1


def test_a_version_alone_is_something(tmp_path):
    assert stamped(tmp_path, "--version", "1")["version"] == "1"
    assert run_stamp(tmp_path, "--version", "").returncode == 1  # "$(git describe)" that failed


# --- Where it goes -----------------------------------------------------------------------------


def test_it_goes_to_a_file_or_a_folder(repository, tmp_path):
    (tmp_path / "dist").mkdir()

    stamped(repository, "--output", "../dist")
    stamped(repository, "--output", str(tmp_path / "dist" / "stamp.json"))

    assert {file.name for file in (tmp_path / "dist").iterdir()} == {FILE_NAME, "stamp.json"}
    assert not (repository / FILE_NAME).exists()


def test_where_it_cannot_be_written_that_is_said(repository):
    result = run_stamp(repository, "--output", "no such folder/stamp.json")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "cannot be written: No such file or directory" in result.stderr


def regular_package(folder):
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    return folder


@pytest.mark.parametrize("layout", ["src/shop", "shop"])
def test_it_goes_into_a_package_of_the_checkout(layout, repository):
    regular_package(repository / layout)

    stamped(repository, "--package", "shop")

    assert (repository / layout / FILE_NAME).exists()
    assert not (repository / FILE_NAME).exists()


def test_it_goes_into_a_package_in_a_namespace(repository):
    regular_package(repository / "src" / "acme" / "shop")

    stamped(repository, "--package", "acme.shop")

    assert (repository / "src" / "acme" / "shop" / FILE_NAME).exists()


def test_it_goes_into_an_installed_package_unless_the_checkout_has_it(repository, tmp_path):
    installed = regular_package(tmp_path / "site-packages" / "till")
    path = os.pathsep.join(filter(None, [str(installed.parent), os.environ.get("PYTHONPATH")]))

    stamped(repository, "--package", "till", PYTHONPATH=path)
    assert (installed / FILE_NAME).exists()

    (installed / FILE_NAME).unlink()
    regular_package(repository / "till")
    stamped(repository, "--package", "till", PYTHONPATH=path)
    assert not (installed / FILE_NAME).exists()


@pytest.mark.parametrize("package", ["nowhere", "nowhere.shop", "acme", "shop", "os"])
def test_what_is_no_package_of_one_distribution_gets_none(package, repository):
    regular_package(repository / "acme" / "shop")  # acme is a namespace
    (repository / "shop.py").touch()

    result = run_stamp(repository, "--package", package)

    assert result.returncode == 1
    assert f"there is no package {package} " in result.stderr
    assert list(repository.rglob(FILE_NAME)) == []


@pytest.mark.parametrize(
    "arguments",
    [["--package", "../shop"], ["--package", "a-b"], ["--package", "a", "--output", "b"], ["x"]],
)
def test_wrong_usage_is_said_with_status_2(arguments, repository):
    assert run_stamp(repository, *arguments).returncode == 2


def test_its_help_names_the_file_and_the_variable(repository):
    result = run_stamp(repository, "--help", COLUMNS="80")

    assert FILE_NAME in result.stdout
    assert "OTEL_MLFLOW_CONTEXT_STAMP" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_others_may_read_it_as_the_users_mask_allows(repository):
    os.umask(before := os.umask(0o022))
    stamped(repository)

    assert (repository / FILE_NAME).stat().st_mode & 0o777 == 0o666 & ~before


def test_a_write_that_fails_leaves_the_old_stamp_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / FILE_NAME
    file.write_text("old")

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OSError, match="No space left"):
        stamp_module.write({"schema": 1}, file)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {FILE_NAME: "old"}


def test_who_reads_while_it_is_written_reads_all_of_one(tmp_path):
    file = tmp_path / FILE_NAME
    stamp = {"schema": 1, "version": "v" * 50_000}
    stamp_module.write(stamp, file)
    seen = []
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.append(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        stamp_module.write(stamp, file)
    done.set()
    reader.join()

    assert set(seen) == {stamp_module.as_json(stamp)}


# --- The build hook ----------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """The example in a repository of its own."""
    folder = tmp_path / "greeter"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", FILE_NAME))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "https://ada:secret@github.com/acme/greeter.git")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def hatchling(folder, target, **variables):
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def build(folder, target="wheel", **variables):
    result = hatchling(folder, target, **variables)
    assert result.returncode == 0, result.stderr
    pattern = "*.tar.gz" if target == "sdist" else "*.whl"
    [built] = (folder / "dist").glob(pattern)
    return built


def stamps_in(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {
            name: json.loads(file.read(name)) for name in file.namelist() if "stamp.json" in name
        }


def test_a_wheel_carries_its_stamp(project):
    git(project, "tag", "v1.2.0")

    [(name, said)] = stamps_in(build(project)).items()

    assert name == f"greeter/{FILE_NAME}"
    del said["time"]
    assert said == {
        "schema": 1,
        "commit": git(project, "rev-parse", "HEAD"),
        "branch": "main",
        "tag": "v1.2.0",
        "dirty": False,
        "repository": "https://github.com/acme/greeter",
        "version": "1.2.0",
    }
    assert git(project, "status", "--porcelain", "--", "src") == ""


def test_a_wheel_of_a_source_distribution_carries_the_stamp_of_that(project, tmp_path):
    commit = git(project, "rev-parse", "HEAD")
    with tarfile.open(build(project, "sdist")) as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    [source] = (tmp_path / "elsewhere").iterdir()
    assert json.loads((source / FILE_NAME).read_text())["commit"] == commit

    [said] = stamps_in(build(source)).values()

    assert said["commit"] == commit
    assert said["dirty"] is False
    assert said["version"] == "1.2.0"


def test_without_a_commit_a_wheel_carries_its_version_and_the_build_says_so(tmp_path):
    folder = tmp_path / "greeter"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / FILE_NAME).write_text("damaged")

    result = hatchling(folder, "wheel")

    assert "no commit is known" in result.stdout + result.stderr
    [said] = stamps_in(folder / "dist" / "greeter-1.2.0-py3-none-any.whl").values()
    assert said.keys() == {"schema", "time", "version"}


def test_variables_of_who_builds_are_not_the_projects(project):
    variables = {
        "OTEL_RESOURCE_ATTRIBUTES": f"vcs.ref.head.revision={'0' * 40},service.version=9",
        "APP_VERSION": "9",
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": "0" * 40,
    }

    [said] = stamps_in(build(project, **variables)).values()

    assert said["commit"] == git(project, "rev-parse", "HEAD")
    assert said["version"] == "1.2.0"


def test_a_stamp_that_lies_in_the_package_is_replaced(project):
    old = {"schema": 1, "commit": "0" * 40}
    (project / "src" / "greeter" / FILE_NAME).write_text(json.dumps(old))

    wheel = build(project)

    with zipfile.ZipFile(wheel) as file:
        assert file.namelist().count(f"greeter/{FILE_NAME}") == 1
    [said] = stamps_in(wheel).values()
    assert said["commit"] == git(project, "rev-parse", "HEAD")


def test_an_editable_wheel_has_no_stamp_because_its_checkout_changes(project):
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.hatch.build]\ndev-mode-dirs = ["src"]\n')

    assert stamps_in(build(project, "wheel:editable")) == {}


def test_each_package_of_a_wheel_has_the_stamp_and_a_namespace_has_none(project):
    regular_package(project / "src" / "acme" / "shop")
    regular_package(project / "src" / "acme" / "shop" / "jobs")
    regular_package(project / "src" / "acme" / "till")
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.hatch.build.targets.wheel]\npackages = ["src/greeter", "src/acme"]\n')

    assert stamps_in(build(project)).keys() == {
        f"{folder}/{FILE_NAME}" for folder in ("greeter", "acme/shop", "acme/till")
    }


def test_a_wheel_without_a_package_is_not_built(project):
    shutil.rmtree(project / "src")
    (project / "greeter.py").touch()

    result = hatchling(project, "wheel")

    assert result.returncode != 0
    assert "there is no package" in result.stdout + result.stderr


def test_a_reproducible_build_is_one(project):
    wheels = []
    for _ in range(2):
        wheel = build(project, SOURCE_DATE_EPOCH="1700000000")
        wheels.append(wheel.read_bytes())
        wheel.unlink()

    assert wheels[0] == wheels[1]


def test_a_build_leaves_nothing_behind(project, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    warned = hatchling(project, "wheel", TMPDIR=str(temporary), PYTHONWARNINGS="always").stderr
    assert "cleaning up" not in warned  # what is left for the end of the process to remove
    shutil.rmtree(project / "src")
    (project / "greeter.py").touch()
    hatchling(project, "wheel", TMPDIR=str(temporary))  # it fails

    assert list(temporary.iterdir()) == []


# --- The page and the example ------------------------------------------------------------------


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def shell(commands, folder, **variables):
    """As the page has it; pip without a network, into a folder."""
    pip = {
        "PIP_NO_BUILD_ISOLATION": "false",  # pip's way to say: none
        "PIP_NO_INDEX": "true",
        "PIP_NO_DEPS": "true",
        "PIP_DISABLE_PIP_VERSION_CHECK": "true",
        "PIP_TARGET": str(folder.parent / "installed"),
    }
    return subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=folder,
        env=environment(**pip, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.fixture
def shop(repository):
    """What the page's commands are about."""
    (repository / "app").mkdir()
    (repository / "app" / "main.py").write_text(
        "import os\n"
        "from otel_mlflow_context.detectors.program.process import current_program\n"
        "from otel_mlflow_context.detectors._stamp import stamp_findings\n"
        "for found in stamp_findings(current_program(), os.environ, None):\n"
        "    print(found.attribute, found.value)\n"
    )
    regular_package(repository / "src" / "shop")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "two")
    return repository


@pytest.mark.parametrize(
    "commands", [block for block in blocks(PAGE, "sh") if "export" not in block]
)
def test_the_pages_commands_write_a_stamp_of_the_commit(commands, shop):
    shell(commands, shop)

    [file] = shop.rglob(FILE_NAME)
    assert json.loads(file.read_text())["commit"] == git(shop, "rev-parse", "HEAD")


def test_the_pages_variable_names_a_folder(shop, tmp_path):
    [export] = [block for block in blocks(PAGE, "sh") if "export" in block]
    run_stamp(shop)
    program = tmp_path / "elsewhere.py"
    shutil.copy(shop / "app" / "main.py", program)
    python = shlex.join([sys.executable, str(program)])

    output = shell(export.replace("/app", shlex.quote(str(shop))) + python, tmp_path)

    assert f"vcs.ref.head.revision {git(shop, 'rev-parse', 'HEAD')}" in output.splitlines()
    assert shell(python, tmp_path) == ""


def image(dockerfile, context, root):
    """The files of the last stage and its command: COPY and WORKDIR are done, RUN where it is ours.

    There is no Docker in a test run. A stage is a folder.
    """
    stages = {}
    for line in dockerfile.strip().splitlines():
        instruction, _, rest = line.partition(" ")
        words = shlex.split(rest)
        match instruction:
            case "FROM":
                stage = root / f"stage {len(stages)}"
                stages[words[-1]] = stage
                folder = stage
            case "WORKDIR":
                folder = stage / words[0].lstrip("/")
                folder.mkdir(parents=True)
            case "COPY":
                source = context
                if words[0].startswith("--from="):
                    source = stages[words.pop(0).removeprefix("--from=")]
                origin, target = source / words[0].lstrip("/"), folder / words[1]
                if origin.is_dir():
                    shutil.copytree(origin, target, dirs_exist_ok=True)
                else:
                    shutil.copy(origin, target)
            case "RUN" if rest.startswith("otel-mlflow-context"):
                shell(rest, folder)
            case "RUN":
                assert "pip install otel-mlflow-context" in rest
            case "CMD":
                command = json.loads(rest)
    return folder, command


@pytest.mark.parametrize("dockerfile", blocks(PAGE, "dockerfile"), ids=["before", "stage"])
def test_the_pages_images_know_their_commit(dockerfile, shop, tmp_path):
    commit = git(shop, "rev-parse", "HEAD")
    if "AS build" not in dockerfile:
        shell(blocks(PAGE, "sh")[0], shop)
    folder, command = image(dockerfile, shop, tmp_path / "image")
    shutil.rmtree(folder / ".git", ignore_errors=True)
    assert command.pop(0) == "python"

    output = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout

    assert f"vcs.ref.head.revision {commit}" in output.splitlines()


def test_a_tracked_file_that_the_build_context_leaves_out_makes_it_dirty(shop, tmp_path):
    context = tmp_path / "context"
    shutil.copytree(shop, context)
    (context / "README").unlink()

    assert stamped(context)["dirty"] is True


def test_the_pages_table_is_the_schema():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (?:`([\w.]+)`.*)?\|$", PAGE, re.MULTILINE)

    assert dict(rows) == {"schema": "", "time": "", **FIELDS}


def test_the_pages_stamp_is_one(tmp_path, caplog):
    [text] = blocks(PAGE, "json")
    (tmp_path / FILE_NAME).write_text(text)
    program = program_of(["python", "main.py"], environ={}, cwd=tmp_path)

    assert len(stamp_findings(program, {}, None)) == 7
    assert not caplog.records


def test_the_pages_hook_is_the_examples():
    lines = (EXAMPLE / "pyproject.toml").read_text().splitlines()
    [hook] = [block for block in blocks(PAGE, "toml") if "hatch" in block]

    assert set(hook.splitlines()) <= set(lines)


def test_the_example_says_its_commit_from_anywhere(project):
    [commands] = blocks((EXAMPLE / "README.md").read_text(), "sh")
    installed = project.parent / "installed"
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))

    output = shell(
        commands,
        project,
        PYTHONPATH=path,
        PATH=f"{installed / 'bin'}{os.pathsep}{environment()['PATH']}",
    ).splitlines()

    assert f"vcs.ref.head.revision = {git(project, 'rev-parse', 'HEAD')}" in output
    assert "service.version = 1.2.0" in output
