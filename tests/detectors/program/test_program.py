"""Which program a process runs: real processes for the main forms, a table for all others."""

import dataclasses
import json
import os
import shlex
import string
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import click
import gunicorn.config
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.main import main as uvicorn_command

from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program, program_of
from otel_mlflow_context.detectors.program.launchers import LAUNCHERS, WRAPPERS
from otel_mlflow_context.detectors.program.process import current_program

ROOT = Path(__file__).parents[3]

# What all modules of the test project do when they are imported: say which program they are
# part of, and end the process. With 3, gunicorn does not start another worker.
PROBE = """
import dataclasses, json, os, signal
from otel_mlflow_context.detectors.program.process import current_program

def write(name):
    program = current_program()
    names = [it.name for it in dataclasses.fields(program) if it.compare]
    answer = json.dumps({name: getattr(program, name) for name in names}, default=str)
    # A second worker that starts when the first has reported may find the parent gone.
    if name == "running" or not os.path.exists(os.path.join(os.environ["REPORTS"], "running")):
        with open(os.path.join(os.environ["REPORTS"], name), "w") as file:
            file.write(answer)

def report(end_parent=False):
    write("running")
    if end_parent:
        os.kill(os.getppid(), signal.SIGKILL)
    os._exit(3)
"""
# Runs before there is a __main__, as the detectors do under opentelemetry-instrument.
# Not in multiprocessing's resource tracker, which runs nothing of the program and may outlive it.
SITECUSTOMIZE = """
import sys
if "resource_tracker" not in " ".join(sys.orig_argv):
    import probe
    probe.write("starting")
"""
REPORT = "import probe\nprobe.report()\n"
STARTS_A_WORKER = """
import multiprocessing, probe
if __name__ == "__main__":
    worker = multiprocessing.get_context({method!r}).Process(target=probe.report)
    worker.start()
    worker.join()
"""


@pytest.fixture
def project(tmp_path):
    """A project of scripts, modules and applications, all of which report."""
    project = tmp_path / "shop"
    files = {
        "s.py": REPORT,
        "pkg/__init__.py": "",
        "pkg/__main__.py": REPORT,
        "pkg/sub/__init__.py": "",
        "pkg/sub/job.py": REPORT,
        "folder/__main__.py": REPORT,
        "web/main.py": REPORT,
        "web/many.py": "import probe\nprobe.report(end_parent=True)\n",
        "src/inner.py": REPORT,
        "tests/test_it.py": f"def test():\n    {REPORT.replace(chr(10), '; ')}\n",
        "spawned.py": STARTS_A_WORKER.format(method="spawn"),
        "pkg/forked.py": STARTS_A_WORKER.format(method="fork"),
        "pkg/served.py": STARTS_A_WORKER.format(method="forkserver"),
        "moved.py": f"import os\nos.chdir('/')\n{REPORT}",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


@pytest.fixture
def run(tmp_path):
    """Runs a command to its end; returns what its program said at the start and while it ran."""
    (tmp_path / "site-packages").mkdir()  # what reports is no program
    (tmp_path / "site-packages" / "probe.py").write_text(PROBE)
    (tmp_path / "site-packages" / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def run(command, folder, stdin="", path=(), **environment):
        words = shlex.split(command) if isinstance(command, str) else command
        result = subprocess.run(
            words,
            cwd=folder,
            env={
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "site-packages", ROOT, *path))),
                "REPORTS": str(tmp_path),
            }
            | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        reports = [tmp_path / "starting", tmp_path / "running"]
        assert reports[1].exists(), result.stdout + result.stderr
        return tuple(json.loads(report.read_text()) for report in reports if report.exists())

    return run


def as_json(program):
    return {
        key: str(value) if isinstance(value, Path) else value
        for key in (it.name for it in dataclasses.fields(program) if it.compare)
        for value in (getattr(program, key),)
    }


def installed(launcher, name="web.main:app", **more):
    return {"name": name, "package": "web", "launcher": launcher} | more


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python s.py", {"name": "s.py", "script": "s.py"}),
        ("python ./src/inner.py x", {"name": "./src/inner.py", "script": "src/inner.py"}),
        ("python moved.py", {"name": "moved.py", "script": "moved.py"}),
        ("python folder", {"name": "folder", "directory": "folder", "script": "folder"}),
        ("python -m pkg", {"name": "pkg", "directory": "pkg", "package": "pkg"}),
        (
            "python -X dev -bWignore -mpkg.sub.job -x",
            {"name": "pkg.sub.job", "directory": "pkg/sub", "package": "pkg"},
        ),
        ("python -c 'import probe; probe.report()'", {}),
        ("python -", {}),
        ("python", {}),
        ("uvicorn --port 0 web.main:app", installed("uvicorn")),
        ("python -m uvicorn --app-dir src inner:app",
         installed("uvicorn", "inner:app", directory="src", package="inner")),
        ("uvicorn --port 0 --workers 2 web.many:app", installed("uvicorn", "web.many:app")),
        ("gunicorn -b 127.0.0.1:0 --preload web.main", installed("gunicorn", "web.main")),
        ("gunicorn -b 127.0.0.1:0 --chdir src 'inner:make(1)'",
         installed("gunicorn", "inner:make", directory="src", package="inner")),
        ("flask --app web.main:app run", installed("flask")),
        ("pytest -q -p no:cacheprovider tests", {"name": "pytest", "launcher": "pytest"}),
        ("python -m pytest -q -p no:cacheprovider tests",
         {"name": "pytest", "launcher": "pytest"}),
        ("python spawned.py", {"name": "spawned.py", "script": "spawned.py"}),
        ("python -m pkg.forked", {"name": "pkg.forked", "directory": "pkg", "package": "pkg"}),
        ("python -m pkg.served", {"name": "pkg.served", "directory": "pkg", "package": "pkg"}),
        ("python -m cProfile -o profile -m pkg",
         {"name": "pkg", "directory": "pkg", "package": "pkg"}),
    ],
)  # fmt: skip
def test_a_process_knows_its_program_while_it_runs_and_before_there_is_a_main(
    command, expected, project, run
):
    starting, running = run(command, project, stdin=REPORT)

    folder = (project / expected.get("script", "x")).parent
    folder = project / expected["directory"] if "directory" in expected else folder
    script = project / expected["script"] if "script" in expected else None
    assert running == as_json(Program(**expected | {"directory": folder, "script": script}))
    assert starting == running


def test_opentelemetry_instrument_is_not_the_program(project, run):
    exporters = "--traces_exporter none --metrics_exporter none --logs_exporter none"

    *_, running = run(f"opentelemetry-instrument {exporters} uvicorn web.main:app", project)

    assert (running["name"], running["directory"]) == ("web.main:app", str(project))


def test_a_process_whose_working_directory_is_gone_has_a_name(tmp_path, run):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); {REPORT.replace(chr(10), '; ')}"

    assert run(["python", "-c", code], gone)[-1] == as_json(Program())


# --- A worker process whose parent cannot be asked ------------------------------------------

WORKER = [sys.executable, "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"]


@pytest.fixture
def worker(monkeypatch):
    """This process, as one that multiprocessing started where there is no /proc."""
    monkeypatch.setattr(process, "_parents_command_line", lambda: None)
    monkeypatch.setattr(sys, "orig_argv", [*WORKER, "--multiprocessing-fork"])

    def prepared(argv, main):
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setitem(sys.modules, "__main__", main)

    return prepared


def test_a_worker_of_a_script_runs_its_parents_program(worker):
    worker(["s.py", "-x"], main=ModuleType("__mp_main__"))

    assert current_program().name == "s.py"


def test_a_worker_of_a_module_runs_its_parents_program(worker):
    main = ModuleType("__mp_main__")
    main.__spec__ = ModuleSpec("uvicorn.__main__", None)
    worker(["/lib/uvicorn/__main__.py", "web.main:app"], main)

    assert current_program().name == "web.main:app"


def test_a_worker_that_is_not_prepared_yet_has_no_name(worker):
    worker(["-c", "--multiprocessing-fork"], main=ModuleType("__main__"))

    assert current_program() == Program(directory=Path.cwd())


@pytest.mark.parametrize("argv", [None, [], [""], [None, 1], ["-c"]])
def test_python_inside_another_program_may_have_no_arguments(argv, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", [])
    monkeypatch.setattr(sys, "argv", argv)

    assert current_program() == Program(directory=Path.cwd())


# --- Command lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [
        # Python's own options
        ("python -W ignore -X dev s.py", "s.py"),
        ("python3.13t -uXfrozen_modules=off -m pkg.__main__ -m x", "pkg"),
        ("/opt/bin/pypy3 --check-hash-based-pycs never -E s.py", "s.py"),
        ("python -- s.py", "s.py"),
        ("python -uc 'import x' s.py", None),
        ("python manage.py runserver", "manage.py"),
        ("python flask.py", "flask.py"),
        ("s.py", "s.py"),
        (r"C:\\Python\\python.exe C:\\env\\Scripts\\uvicorn.exe app:app", "app:app"),
        ("", None),
        # Web servers
        ("uvicorn --port 8000 --reload app.main:app", "app.main:app"),
        ("uvicorn --host=localhost --factory app:create", "app:create"),
        ("uvicorn --no-access-log app:app --log-level debug", "app:app"),
        ("uvicorn -- app:app", "app:app"),
        ("uvicorn --version", None),
        ("gunicorn -w 4 -k uvicorn.workers.UvicornWorker -c python:conf app.wsgi", "app.wsgi"),
        ("gunicorn -w4 -D 'app:create(\"secret\", f())' -b unix:app.sock", "app:create"),
        ("gunicorn -c conf.py", None),
        ("hypercorn --bind localhost:80 asgi:app.main:app", "app.main:app"),
        ("hypercorn file:app.py:app", "app.py"),
        ("hypercorn app.py:app", "app.py"),
        ("granian --interface asgi --no-ws app.main:app", "app.main:app"),
        ("daphne -b 0.0.0.0 -p 80 --proxy-headers site.asgi:application", "site.asgi:application"),
        ("waitress-serve --port=80 --no-ipv6 --call app:create", "app:create"),
        ("python -m waitress --app=app:wsgi", "app:wsgi"),
        ("uwsgi --http :80 --module app.wsgi:application", "app.wsgi:application"),
        ("flask --app hello run", "hello"),
        ("flask -A 'hello:create(1)' --debug run", "hello:create"),
        ("flask --app app.py run", "app.py"),
        ("flask --app src/hello run", "src/hello.py"),
        ("flask run", "wsgi.py"),
        ("fastapi dev --port 80 src/hello.py", "src/hello.py"),
        ("fastapi run --entrypoint app.main:app", "app.main:app"),
        ("fastapi run", "app.py"),
        ("django-admin runserver", None),
        # Workers and front ends
        ("celery -A proj.celery worker -l info", "proj.celery"),
        ("celery --app=proj worker", "proj"),
        ("celery -Aproj beat", "proj"),
        ("celery worker -E -A proj", "proj"),
        ("celery worker", None),
        ("streamlit run app.py --server.port 80 -- --x", "app.py"),
        ("streamlit run --server.port 80 src/hello.py", "src/hello.py"),
        ("streamlit run https://user:secret@example.com/app.py", None),
        ("streamlit hello", None),
        ("python -m streamlit run app.py", "app.py"),
        ("chainlit run -w app.py", "app.py"),
        # Test runners, prompts, kernels
        ("pytest tests/test_a.py -k x", "pytest"),
        ("py.test", "py.test"),
        ("python -m unittest discover", "unittest"),
        ("ipython", None),
        ("ipython app.py", "app.py"),
        ("python -m ipykernel_launcher -f kernel.json", None),
        # Wrappers
        ("python -m pdb -c continue s.py", "s.py"),
        ("python -m cProfile -s time -m pkg.job", "pkg.job"),
        ("coverage run --branch --source src -m pytest", "pytest"),
        ("coverage run -p s.py", "s.py"),
        ("coverage report -m", None),
        ("debugpy --listen 127.0.0.1:1 --wait-for-client -m uvicorn app:app", "app:app"),
        ("python /ide/debugpy --connect 1 --configure-qt none s.py", "s.py"),
    ],
)
def test_the_application_is_found_on_the_command_line(command, name, tmp_path):
    for file in ("app.py", "wsgi.py", "src/hello.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()

    assert program_of(shlex.split(command), environ={}, cwd=tmp_path).name == name


def test_some_launchers_take_the_application_from_the_environment(tmp_path):
    def name(*command, **environ):
        return program_of(command, environ=environ, cwd=tmp_path).name

    assert name("flask", "run", FLASK_APP="hello:app") == "hello:app"
    assert name("flask", "--app", "other", "run", FLASK_APP="hello") == "other"
    assert name("celery", "worker", APP="proj") == "proj"


def test_an_option_names_the_folder_of_the_application(tmp_path):
    (tmp_path / "src").mkdir()

    def folder(command, cwd=tmp_path):
        return program_of(shlex.split(command), environ={}, cwd=cwd).directory

    assert folder("uvicorn --app-dir src app:app") == tmp_path / "src"
    assert folder("gunicorn --chdir=src app:app") == tmp_path / "src"
    assert folder("celery --workdir src -A app worker") == tmp_path / "src"
    # gunicorn goes there before it loads the application.
    assert folder("gunicorn --chdir=src app:app", tmp_path / "src") == tmp_path / "src"


def test_the_folder_of_an_application_that_is_installed_elsewhere_is_where_it_is(
    tmp_path, monkeypatch
):
    (tmp_path / "lib/installed_app").mkdir(parents=True)
    (tmp_path / "lib/installed_app/main.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "lib")

    program = program_of(["uvicorn", "installed_app.main:app"], environ={}, cwd=tmp_path)

    assert program.directory == tmp_path / "lib/installed_app"


def test_a_program_is_described_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "costly").mkdir()
    (tmp_path / "costly/__init__.py").write_text("raise RuntimeError")
    (tmp_path / "costly/job.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    program = program_of(["python", "-m", "costly.job"], environ={}, cwd=None)

    assert program == Program("costly.job", tmp_path / "costly", package="costly")


def test_a_script_behind_a_symbolic_link_is_where_the_link_leads(tmp_path):
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases/s.py").touch()
    (tmp_path / "current").symlink_to("releases")

    program = program_of(["python", "current/s.py"], environ={}, cwd=tmp_path)

    assert (program.name, program.directory) == ("current/s.py", tmp_path / "releases")


def test_every_flag_of_the_installed_uvicorn_is_known():
    options = [it for it in uvicorn_command.params if isinstance(it, click.Option) and it.is_flag]

    flags = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    assert flags <= LAUNCHERS["uvicorn"].flags


def test_every_flag_of_the_installed_gunicorn_is_known():
    without_value = ("store_true", "store_false", "store_const")
    settings = [it for it in gunicorn.config.KNOWN_SETTINGS if it.action in without_value]

    flags = {name for it in settings for name in it.cli or ()}
    # It takes a value in newer versions, and that must not be taken for the application.
    flags.discard("--proxy-protocol")
    assert flags <= LAUNCHERS["gunicorn"].flags


WORDS = st.one_of(
    st.text(max_size=20),
    st.text(string.printable, max_size=20),
    st.sampled_from(["python", "-m", "-c", "--", "-", "run", "--app", "a.b:c", "x" * 5_000, "\0"]),
    st.sampled_from([*LAUNCHERS, *WRAPPERS]),
)


@given(st.lists(WORDS, max_size=8))
def test_no_command_line_is_too_strange(words):
    program = program_of(words, environ={}, cwd=Path.cwd())

    assert program.directory is None or program.directory.is_absolute()
    assert program.name is None or program.name


# --- Installed commands ------------------------------------------------------------------------

# As pip writes it.
COMMAND = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from {module} import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""


@pytest.fixture
def environment(project):
    """A virtual environment inside the project, with the command `shop`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    command = project / ".venv/bin/shop"
    command.write_text(
        COMMAND.format(python=project / ".venv/bin/python", module="shop_package.cli")
    )
    command.chmod(0o755)
    return project / ".venv"


# What the modules of the test environment need, behind what the virtual environment has.
PATH = [path for path in sys.path if path.endswith("site-packages")]


def test_an_installed_command_is_its_package_and_not_the_checkout_around_its_environment(
    environment, run
):
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "shop_package").mkdir()
    (site_packages / "shop_package/cli.py").write_text(REPORT)

    starting, running = run([str(environment / "bin/shop")], environment.parent, path=PATH)

    directory = site_packages / "shop_package"
    assert running == starting == as_json(Program("shop", directory, package="shop_package"))


def test_an_editable_command_leads_to_its_source(environment, run):
    (site_packages,) = environment.glob("lib/python*/site-packages")
    source = environment.parent / "src"
    (source / "shop_package").mkdir()
    (source / "shop_package/cli.py").write_text(REPORT)
    (site_packages / "shop.pth").write_text(f"{source}\n")

    starting, running = run([str(environment / "bin/shop")], environment.parent, path=PATH)

    directory = source / "shop_package"
    assert running == starting == as_json(Program("shop", directory, package="shop_package"))


def test_an_installed_command_that_does_not_say_its_module_has_no_folder(tmp_path):
    for name in ("python3", "tool"):
        (tmp_path / name).touch()

    assert program_of(["python", "tool"], environ={}, cwd=tmp_path) == Program("tool")


def test_a_script_without_suffix_is_a_script(tmp_path):
    (tmp_path / "serve").write_text("from app import main\nmain()\n")

    program = program_of(["python", "./serve"], environ={}, cwd=tmp_path)

    assert program == Program("./serve", tmp_path, script=tmp_path / "serve")
