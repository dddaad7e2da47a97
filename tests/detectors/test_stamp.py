"""What a build stamp says, which one is the program's, and what becomes of a damaged one."""

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.detectors import _stamp
from otel_mlflow_context.detectors._stamp import FIELDS, FILE_NAME, stamp_findings
from otel_mlflow_context.detectors.program.command_line import Program, program_of
from otel_mlflow_context.facts.values import clean

VARIABLE = "OTEL_MLFLOW_CONTEXT_STAMP"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path, caplog):
    """Nothing was logged yet, and the home folder is not one around the temporary folder."""
    monkeypatch.setattr(_stamp, "_logged", set())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    caplog.set_level(logging.INFO, logger="otel_mlflow_context")


@pytest.fixture
def app(tmp_path):
    """The folder of an application, as it is copied into an image: no `.git`."""
    folder = tmp_path / "srv" / "app"
    folder.mkdir(parents=True)
    return folder


def stamp(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE_NAME
    file.write_text(json.dumps({"schema": 1, **values}))
    return file


def script(file, cwd=None):
    """`python FILE`"""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return program_of(["python", str(file)], environ={}, cwd=cwd or file.parent)


def module(name, cwd):
    """`python -m NAME`"""
    return program_of(["python", "-m", name], environ={}, cwd=cwd)


def package(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "main.py").touch()
    return folder


def found(program, environ=None, cwd=None):
    return {
        finding.attribute: finding.value for finding in stamp_findings(program, environ or {}, cwd)
    }


def version(program, environ=None, cwd=None):
    return found(program, environ, cwd).get("service.version")


# --- What it says ------------------------------------------------------------------------------


def test_every_fact_of_a_stamp_and_who_says_it(app):
    stamp(
        app,
        time="2026-11-01T10:00:00Z",
        commit=COMMIT,
        branch="main",
        tag="v1.2.0",
        dirty=False,
        repository="https://github.com/acme/shop",
        change="17",
        version="1.2.0",
    )

    findings = stamp_findings(script(app / "main.py"), {}, None)

    assert {finding.attribute: finding.value for finding in findings} == {
        "vcs.ref.head.revision": COMMIT,
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
        "vcs.ref.head.tag": "v1.2.0",
        "vcs.ref.head.dirty": False,
        "vcs.repository.url.full": "https://github.com/acme/shop",
        "vcs.change.id": "17",
        "service.version": "1.2.0",
    }
    assert {finding.source for finding in findings} == {"build stamp of 2026-11-01"}


@pytest.mark.parametrize("time", [None, 1, "yesterday", "2026-11-01 and more"])
def test_a_stamp_without_a_time_counts(time, app):
    stamp(app, version="1", time=time)

    [finding] = stamp_findings(script(app / "main.py"), {}, None)

    assert finding.source == "build stamp"


def test_no_stamp_is_nothing_to_log(app, caplog):
    assert found(script(app / "main.py")) == {}
    assert found(Program()) == {}
    assert not caplog.records


def test_unknown_keys_are_ignored(app, caplog):
    stamp(app, version="1", builder="a robot", nested={"a": [1]})

    assert found(script(app / "main.py")) == {"service.version": "1"}
    assert not caplog.records


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_key_without_a_value_says_nothing(nothing, app, caplog):
    stamp(app, version="1", branch=nothing, commit=nothing)

    assert found(script(app / "main.py")) == {"service.version": "1"}
    assert not caplog.records


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("commit", "main"),
        ("commit", "0123456"[:6]),
        ("commit", "0" * 65),
        ("commit", 1234567),
        ("commit", f"{COMMIT} and more"),
        ("dirty", "perhaps"),
        ("dirty", 987654321),
        ("branch", ["main"]),
        ("version", 1.2),
        ("version", "\x00\n"),
        ("repository", "/home/ada/shop"),
        ("repository", "https://user:p/ss@example.com/shop"),
    ],
)
def test_a_value_of_the_wrong_form_is_logged_by_its_key_and_costs_only_itself(
    key, value, app, caplog
):
    stamp(app, **{"tag": "v1", key: value})

    assert found(script(app / "main.py")) == {"vcs.ref.head.tag": "v1"}
    [record] = caplog.records
    assert key in record.getMessage()
    assert str(value) not in record.getMessage()


def test_values_are_cleaned(app):
    stamp(
        app,
        version=" 1\n2 ",
        branch="b" * 300,
        commit=COMMIT.upper(),
        repository="https://ada:secret@git.example.com/acme/shop.git?token=secret",
    )

    facts = found(script(app / "main.py"))

    assert facts["service.version"] == "1 2"
    assert len(facts["vcs.ref.head.name"]) == 250
    assert facts["vcs.ref.head.revision"] == COMMIT
    assert facts["vcs.repository.url.full"] == "https://git.example.com/acme/shop"


def test_a_byte_order_mark_is_no_damage(app):
    (app / FILE_NAME).write_bytes(b'\xef\xbb\xbf{"schema": 1, "version": "1"}')

    assert version(script(app / "main.py")) == "1"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=3,
)
_STAMPS = st.dictionaries(st.sampled_from(["time", *FIELDS]), _JSON).map(
    lambda values: json.dumps({"schema": 1, **values}).encode()
)


@given(st.binary() | _STAMPS)
def test_whatever_stands_in_the_file_nothing_raises_and_every_value_is_clean(content):
    with TemporaryDirectory() as folder:
        Path(folder, FILE_NAME).write_bytes(content)
        findings = stamp_findings(script(Path(folder, "main.py")), {}, None)

    for finding in findings:
        assert finding.value in (True, False, clean(finding.value))
        assert re.fullmatch(r"build stamp( of \d{4}-\d\d-\d\d)?", finding.source)


# --- A damaged one -----------------------------------------------------------------------------


def _folder(file):
    file.mkdir()


def _pipe(file):
    os.mkfifo(file)


def _socket(file):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(file))


def _loop(file):
    file.symlink_to(file)


def _link_to_nothing(file):
    file.symlink_to("nowhere")


def _text(text):
    def write(file):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_folder, id="a folder"),
        pytest.param(_pipe, id="a pipe"),
        pytest.param(_socket, id="a socket"),
        pytest.param(_loop, id="a loop"),
        pytest.param(_link_to_nothing, id="a link to nothing"),
        pytest.param(_text(""), id="empty"),
        pytest.param(_text("version=1"), id="not JSON"),
        pytest.param(_text('{"schema": 1, "version": "1"'), id="half written"),
        pytest.param(_text(b'{"schema": 1, "version": "\xff"}'), id="not UTF-8"),
        pytest.param(_text('{"schema": 1, "version": "1"}'.encode("utf-16")), id="UTF-16"),
        pytest.param(_text("[" * 50_000), id="nested deeply"),
        pytest.param(_text('{"schema": ' + "1" * 5_000 + "}"), id="a number without end"),
        pytest.param(_text('[{"schema": 1}]'), id="a list"),
        pytest.param(_text("null"), id="null"),
        pytest.param(_text('{"version": "1"}'), id="no schema"),
        pytest.param(_text('{"schema": 2, "version": "1"}'), id="a later schema"),
        pytest.param(_text('{"schema": true, "version": "1"}'), id="schema true"),
        pytest.param(_text('{"schema": "1", "version": "1"}'), id="schema as text"),
        pytest.param(_text('{"schema": 1, "version": "1"}' + " " * (64 << 10)), id="too large"),
    ],
)
def test_a_damaged_stamp_is_ignored_with_one_line(damage, app, caplog, monkeypatch):
    monkeypatch.chdir(app)  # the address of a socket must be short
    program = script(app / "main.py")
    damage(app / FILE_NAME)

    assert found(program) == {}
    assert found(program) == {}  # asked by a second detector
    [record] = caplog.records
    assert str(app / FILE_NAME) in record.getMessage()


def test_no_other_stamp_takes_the_place_of_a_damaged_one(app):
    stamp(app, version="1")
    (app / "jobs").mkdir()
    (app / "jobs" / FILE_NAME).write_text("{")

    assert found(script(app / "jobs" / "main.py")) == {}


def test_a_stamp_that_may_not_be_read_is_ignored_with_one_line(app, caplog, monkeypatch):
    # Simulated: root, as which tests run in a container, may read everything.
    file = stamp(app, version="1")
    real_open = Path.open

    def refuse(path, *arguments):
        if path == file:
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)

    assert found(script(app / "main.py")) == {}
    [record] = caplog.records
    assert "Permission denied" in record.getMessage()


# --- The variable ------------------------------------------------------------------------------


def test_the_variable_names_the_file_or_its_folder(app, tmp_path):
    file = stamp(tmp_path / "etc", version="named")
    stamp(app, version="beside")
    program = script(app / "main.py")

    assert version(program, {VARIABLE: str(file)}) == "named"
    assert version(program, {VARIABLE: str(file.parent)}) == "named"
    assert version(program, {VARIABLE: "../etc"}, cwd=app.parent) == "named"
    assert version(program, {VARIABLE: "  "}) == "beside"


def test_the_variable_speaks_for_any_program(app, tmp_path):
    file = stamp(tmp_path / "etc", version="named")

    assert version(Program(), {VARIABLE: str(file)}) == "named"


@pytest.mark.parametrize("named", ["nowhere.json", "\0", "relative.json"])
def test_a_variable_that_names_no_stamp_is_logged_once_and_nothing_else_is_looked_for(
    named, app, tmp_path, caplog
):
    stamp(app, version="beside")
    environ = {VARIABLE: named if named == "relative.json" else str(tmp_path / named)}
    program = script(app / "main.py")

    assert found(program, environ) == {}
    assert found(program, environ) == {}
    [record] = caplog.records
    assert VARIABLE in record.getMessage()


# --- Which one is the program's ----------------------------------------------------------------


def test_beside_the_entry_script(app):
    stamp(app, version="1")

    assert version(script(app / "main.py")) == "1"
    assert version(script(app / "main.py", cwd=Path("/")), cwd=Path("/")) == "1"


def test_around_the_entry_script(app):
    stamp(app, version="1")

    assert version(script(app / "src" / "shop" / "jobs" / "main.py")) == "1"


def test_the_nearest_counts(app):
    stamp(app, version="far")
    stamp(app / "jobs", version="near")

    assert version(script(app / "jobs" / "main.py")) == "near"


def test_the_top_of_the_project_is_the_last_folder_that_counts(app):
    stamp(app, version="of the folder around")
    for top in (".git", "pyproject.toml", "setup.py", "setup.cfg"):
        project = app / f"project with {top}"
        program = script(project / "src" / "main.py")
        assert version(program) == "of the folder around"

        (project / top).touch()
        assert version(program) is None

        stamp(project, version="its own")
        assert version(program) == "its own"


def test_a_stamp_far_above_is_not_looked_for(app):
    stamp(app, version="1")

    assert version(script(app.joinpath(*"abcdefg") / "main.py")) == "1"
    assert version(script(app.joinpath(*"abcdefgh") / "main.py")) is None


def test_a_home_folder_holds_many_programs(tmp_path):
    home = tmp_path / "home"
    stamp(home, version="1")
    program = script(home / "work" / "main.py")

    assert version(program) is None
    assert version(script(home / "main.py")) == "1"  # an image whose user has it as home

    (home / "pyproject.toml").touch()
    assert version(program) == "1"


def test_the_folder_around_a_virtual_environment_is_not_its_scripts(app):
    stamp(app, version="1")
    (app / "env" / "bin").mkdir(parents=True)
    (app / "env" / "pyvenv.cfg").touch()

    assert version(script(app / "env" / "bin" / "tool.py")) is None


def test_the_working_directory_counts_where_the_program_is_in_it(app):
    stamp(app, version="1")
    package(app / "src" / "shop")

    launched = ["uvicorn", "shop.main:app", "--app-dir", "src"]
    assert version(program_of(launched, environ={}, cwd=app)) == "1"
    assert version(program_of(["python", "-c", "pass"], environ={}, cwd=app)) == "1"
    assert version(program_of(["jupyter-lab"], environ={}, cwd=app)) == "1"


def test_the_working_directory_does_not_speak_for_a_program_from_elsewhere(app, tmp_path):
    stamp(app, version="1")

    elsewhere = script(tmp_path / "other" / "main.py", cwd=app)
    assert version(elsewhere, cwd=app) is None


def test_in_the_package_of_a_module(app):
    stamp(package(app / "shop"), version="1")

    assert version(module("shop.main", app)) == "1"
    assert version(program_of(["uvicorn", "shop.main:app"], environ={}, cwd=app)) == "1"


def test_in_a_package_within_a_package(app):
    package(app / "acme")
    stamp(package(app / "acme" / "shop"), version="1")

    assert version(program_of(["uvicorn", "acme.shop.main:app"], environ={}, cwd=app)) == "1"
    assert version(program_of(["uvicorn", "acme.main:app"], environ={}, cwd=app)) is None


@pytest.fixture
def site_packages(app, monkeypatch):
    """An environment inside the application's folder, as most are."""
    folder = app / ".venv" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (app / ".venv" / "pyvenv.cfg").touch()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_an_installed_package_has_its_own_stamp(site_packages, tmp_path):
    stamp(package(site_packages / "stamped_shop"), version="1")

    assert version(module("stamped_shop.main", tmp_path)) == "1"


def test_nothing_around_an_installed_package_is_its_stamp(app, site_packages):
    stamp(site_packages, version="of nobody")
    stamp(site_packages.parent, version="of nobody")
    package(site_packages / "plain_shop")
    (site_packages / "single_shop.py").touch()

    assert version(module("plain_shop.main", app), cwd=app) is None
    assert version(module("single_shop", app), cwd=app) is None


def test_an_installed_program_takes_that_of_the_working_directory(app, site_packages):
    stamp(app, version="of the image")
    package(site_packages / "plain_image")

    assert version(module("plain_image.main", app), cwd=app) == "of the image"

    stamp(site_packages / "plain_image", version="its own")
    assert version(module("plain_image.main", app), cwd=app) == "its own"


def test_what_several_distributions_share_is_nobodys(site_packages, tmp_path):
    package(site_packages / "shared_acme" / "shop")
    stamp(site_packages / "shared_acme", version="of another distribution")

    assert version(module("shared_acme.shop.main", tmp_path)) is None
    launched = ["uvicorn", "shared_acme.shop.main:app"]
    assert version(program_of(launched, environ={}, cwd=site_packages)) is None

    stamp(site_packages / "shared_acme" / "shop", version="its own")
    assert version(module("shared_acme.shop.main", tmp_path)) == "its own"


# --- In a container ----------------------------------------------------------------------------


def test_in_an_image_without_git_and_without_a_repository(git, shop, tmp_path):
    """Built where there is a checkout, run where there is neither, from another folder."""
    commit = git(shop, "rev-parse", "HEAD")
    subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "stamp"],
        cwd=shop,
        check=True,
        capture_output=True,
    )
    image = tmp_path / "image"
    subprocess.run(["cp", "-r", shop, image], check=True)
    subprocess.run(["rm", "-r", image / ".git"], check=True)
    (image / "app" / "main.py").write_text(
        "from otel_mlflow_context.detectors.program.process import current_program\n"
        "from otel_mlflow_context.detectors._stamp import stamp_findings\n"
        "for found in stamp_findings(current_program(), {}, None):\n"
        "    print(found.attribute, found.value)\n"
    )
    # Read-only for who has no root's rights; for root nothing changes.
    subprocess.run(["chmod", "-R", "a-w", image], check=True)
    before = {file: file.stat().st_mtime_ns for file in image.rglob("*")}

    result = subprocess.run(
        [sys.executable, "-B", image / "app" / "main.py"],
        cwd="/",
        env={"PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )

    assert f"vcs.ref.head.revision {commit}" in result.stdout.splitlines()
    assert "vcs.ref.head.dirty False" in result.stdout.splitlines()
    assert result.stderr == ""
    assert {file: file.stat().st_mtime_ns for file in image.rglob("*")} == before


def test_looking_for_a_stamp_that_is_not_there_costs_next_to_nothing(app, monkeypatch):
    """Six names in each of the nearest folders, each once, and no folder or file is opened."""
    program = script(app.joinpath(*"abcdefgh") / "main.py")
    lstat, looked_at = os.lstat, []
    monkeypatch.setattr(os, "lstat", lambda path: looked_at.append(Path(path)) or lstat(path))
    for name in ("stat", "listdir", "scandir", "open"):
        monkeypatch.setattr(os, name, None)
    monkeypatch.setattr(io, "open", None)

    assert stamp_findings(program, {}, app) == []

    names = [it for it in looked_at if it.is_relative_to(app)]
    assert len(names) == len(set(names))
    assert max(Counter(it.parent for it in names).values()) <= 6
    assert len({it.parent for it in names}) <= 8
