"""Launchers: the facts are those of the application, whatever program runs it."""

from __future__ import annotations

import importlib.util

from detectors.truth.case import any_of, case
from detectors.truth.world import program, traced_program, write

KIND = "launchers"
PORT = ("--bind", "127.0.0.1:0")


def add(title, *command, prepare=None, **expected):
    """A launcher that is started at the top of a repository."""

    @case(KIND, title)
    def _(world):
        shop = world.repository()
        if prepare:
            prepare(world, shop)
        return world.start(*command, cwd=shop, **expected)


def add_from_elsewhere(title, *command, **expected):
    """A launcher that is started in another repository, of another commit."""

    @case(KIND, title)
    def _(world):
        world.repository()
        other = world.repository("other")
        world.commit(other)
        return world.start(*command, cwd=other, **expected)


# --- Web servers ---------------------------------------------------------------------------------

APP = {"name": "app:app"}
JOB = {"name": "pkg.job:app"}
add("uvicorn", "uvicorn", "app:app", **APP)
add("uvicorn, options before the application", "uvicorn", "--port", "0", "pkg.job:app", **JOB)
add("uvicorn, a factory", "uvicorn", "--factory", "pkg.job:app", "--port", "0", **JOB)
add("uvicorn as a module", "python", "-m", "uvicorn", "app:app", **APP)
add("uvicorn with workers", "uvicorn", "app:app", "--workers", "2", "--port", "0", **APP)
add("uvicorn that reloads", "uvicorn", "app:app", "--reload", "--port", "0", **APP)
add_from_elsewhere("uvicorn --app-dir", "uvicorn", "--app-dir", "../shop", "app:app", **APP)
add_from_elsewhere("uvicorn --app-dir=", "uvicorn", "--app-dir=../shop", "pkg.job:app", **JOB)
add("gunicorn", "gunicorn", *PORT, "app:app", **APP)
add("gunicorn with a log at -", "gunicorn", *PORT, "--access-logfile", "-", "app:app", **APP)
add(
    "gunicorn with both logs at -",
    "gunicorn",
    "--error-logfile",
    "-",
    "--access-logfile",
    "-",
    *PORT,
    "app:app",
    **APP,
)
add("gunicorn, the application first", "gunicorn", "app:app", *PORT, "--access-logfile", "-", **APP)
add("gunicorn --preload", "gunicorn", "--preload", *PORT, "app:app", **APP)
add("gunicorn with a call", "gunicorn", *PORT, "app:app()", **APP)
add("gunicorn as a module", "python", "-m", "gunicorn", *PORT, "app:app", **APP)
add(
    "gunicorn, a module without an attribute",
    "gunicorn",
    *PORT,
    "app",
    name=any_of("app", "app:application"),
)
add_from_elsewhere("gunicorn --chdir", "gunicorn", *PORT, "--chdir", "../shop", "app:app", **APP)


def _conf(text, name="gunicorn.conf.py"):
    def prepare(world, shop):
        world.commit(shop, {name: f"bind = '127.0.0.1:0'\n{text}"})

    return prepare


add(
    "gunicorn, the application in its configuration",
    "gunicorn",
    prepare=_conf("wsgi_app = 'app:app'\n"),
    **APP,
)
add(
    *("gunicorn -c, the application in that file", "gunicorn", "-c", "conf/web.py"),
    prepare=_conf("wsgi_app = 'pkg.job:app'\n", "conf/web.py"),
    **JOB,
)
add(
    *(
        "gunicorn --config=file:, the application in that file",
        "gunicorn",
        "--config=file:conf/web.py",
    ),
    prepare=_conf("wsgi_app = 'pkg.job:app'\n", "conf/web.py"),
    **JOB,
)
add(
    *("gunicorn, the command line before the configuration", "gunicorn", "pkg.job:app"),
    prepare=_conf("wsgi_app = 'app:app'\n"),
    **JOB,
)


@case(KIND, "gunicorn --pythonpath")
def _(world):
    shop = world.repository()
    world.commit(shop, {"lib/svc.py": program()})
    other = world.repository("other")
    command = ("gunicorn", *PORT, "--pythonpath", "../shop/lib", "svc:app")
    return world.start(*command, cwd=other, name="svc:app")


@case(KIND, "gunicorn --pythonpath of two folders")
def _(world):
    shop = world.repository()
    world.commit(shop, {"lib/svc.py": program()})
    other = world.repository("other")
    world.commit(other)
    command = ("gunicorn", *PORT, f"--pythonpath={world.root},{shop / 'lib'}", "svc:app")
    return world.start(*command, cwd=other, name="svc:app")


@case(KIND, "gunicorn, its arguments in a variable")
def _(world):
    shop = world.repository()
    other = world.repository("other")
    world.commit(other)
    environ = {"GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:0 --chdir={shop}"}
    return world.start("gunicorn", "app:app", cwd=other, environ=environ, **APP)


add("hypercorn", "hypercorn", *PORT, "app:app", **APP)
add("hypercorn as a module", "python", "-m", "hypercorn", *PORT, "pkg.job:app", **JOB)
add("hypercorn with a log at -", "hypercorn", *PORT, "--access-logfile", "-", "app:app", **APP)
add("hypercorn, the kind of application", "hypercorn", *PORT, "asgi:app:app", **APP)
add("granian", "granian", "--interface", "asgi", "--port", "0", "app:app", **APP)
add("granian as a module", "python", "-m", "granian", "--interface", "wsgi", "pkg.job:app", **JOB)
add_from_elsewhere(
    "granian --working-dir, an application that is in both folders",
    *("granian", "--interface", "asgi", "--working-dir", "../shop", "app:app"),
    **APP,
)


@case(KIND, "granian --working-dir")
def _(world):
    shop = world.repository()
    world.commit(shop, {"svc.py": program()})
    other = world.repository("other")
    command = ("granian", "--interface", "asgi", "--working-dir", "../shop", "svc:app")
    return world.start(*command, cwd=other, name="svc:app")


add(
    "flask --app",
    "flask",
    "--app",
    "app",
    "run",
    "--port",
    "0",
    name=any_of("app", "app:app", "app.py"),
)
add("flask --app with a factory", "flask", "--app", "pkg.job:app()", "run", **JOB)
add("flask without an application", "flask", "run", name="app.py")
add("flask as a module", "python", "-m", "flask", "--app", "pkg.job", "run", name="pkg.job")


@case(KIND, "flask, the application in a variable")
def _(world):
    environ = {"FLASK_APP": "pkg.job:app"}
    return world.start("flask", "run", cwd=world.repository(), environ=environ, **JOB)


add("daphne", "daphne", "-p", "0", "app:app", **APP)
add("waitress-serve", "waitress-serve", "--port=0", "app:app", **APP)
add("uwsgi", "uwsgi", "--http", ":0", "--module", "app:app", **APP)

# --- Workers -------------------------------------------------------------------------------------

add("celery -A", "celery", "-A", "app", "worker", "-P", "solo", name="app")
add("celery --app=", "celery", "--app=pkg.job:app", "worker", **JOB)
add("celery beat", "celery", "-A", "pkg.job", "beat", name="pkg.job")
add("celery as a module", "python", "-m", "celery", "-A", "app", "worker", name="app")
add_from_elsewhere(
    "celery --workdir", "celery", "--workdir", "../shop", "-A", "app", "worker", name="app"
)
add("dramatiq", "dramatiq", "app", "-p", "1", "-t", "1", name="app")
add("dramatiq, a broker", "dramatiq", "-p", "1", "pkg.job:app", **JOB)
add("dramatiq as a module", "python", "-m", "dramatiq", "pkg.job", "-p", "1", name="pkg.job")


@case(KIND, "dramatiq --path")
def _(world):
    shop = world.repository()
    world.commit(shop, {"svc.py": program()})
    other = world.repository("other")
    command = ("dramatiq", "svc", "-p", "1", "--path", "../shop")
    return world.start(*command, cwd=other, name="svc")


add("huey", "huey_consumer", "app.app", "-w", "2", name="app.app")
add("huey, options first", "huey_consumer", "-k", "thread", "pkg.job.app", name="pkg.job.app")
add("taskiq worker", "taskiq", "worker", "app:app", **APP)
add("taskiq worker, options first", "taskiq", "worker", "--workers", "1", "pkg.job:app", **JOB)
add("taskiq scheduler", "taskiq", "scheduler", "app:app", **APP)
add("arq", "arq", "app.main", name="app.main")
add("arq with options", "arq", "--burst", "pkg.job.main", name="pkg.job.main")
add(
    "rq",
    "rq",
    "worker",
    "default",
    show="only the code that it imports knows",
    name=any_of("app", "app.py"),
)
add("locust -f", "locust", "-f", "app.py", "--headless", name="app.py")
add(
    *("locust without a file", "locust", "--headless"),
    prepare=lambda world, shop: world.commit(shop, {"locustfile.py": program()}),
    name="locustfile.py",
)

# --- Debuggers, profilers, and other wrappers ----------------------------------------------------

SCRIPT = {"name": "app.py"}
MODULE = {"name": "pkg.job"}
for _wrapper in (
    ("pyinstrument",),
    ("python", "-m", "pyinstrument"),
    ("viztracer",),
    ("memray", "run"),
    ("scalene",),
    ("python", "-m", "scalene"),
    ("coverage", "run"),
    ("python", "-m", "coverage", "run", "--source=."),
    ("python", "-m", "cProfile", "-o", "profile"),
    ("python", "-m", "debugpy", "--listen", "127.0.0.1:0"),
):
    add(f"{' '.join(_wrapper)}, a script", *_wrapper, "app.py", **SCRIPT)
    add(f"{' '.join(_wrapper)}, a module", *_wrapper, "-m", "pkg.job", **MODULE)
add("pyinstrument with options", "pyinstrument", "-o", "out.html", "-r", "html", "app.py", **SCRIPT)
add("viztracer with options", "viztracer", "-o", "out.json", "--", "app.py", **SCRIPT)
add("memray run with options", "memray", "run", "-o", "out.bin", "app.py", **SCRIPT)
add("scalene with options", "scalene", "--cpu", "--outfile", "x.json", "app.py", **SCRIPT)
add("coverage run --branch", "coverage", "run", "--branch", "-p", "app.py", **SCRIPT)
add("python -m trace", "python", "-m", "trace", "--trace", "app.py", **SCRIPT)
add("python -m trace with options", "python", "-m", "trace", "-c", "-C", ".", "app.py", **SCRIPT)
add("python -m trace, a module", "python", "-m", "trace", "-l", "--module", "pkg.job", **MODULE)
add("python -m runpy", "python", "-m", "runpy", "pkg.job", **MODULE)
add("python -m pdb", "python", "-m", "pdb", "-c", "continue", "app.py", **SCRIPT)
add("python -m pdb, a module", "python", "-m", "pdb", "-c", "continue", "-m", "pkg.job", **MODULE)
add("python -m profile", "python", "-m", "profile", "app.py", **SCRIPT)
add(
    "python -m timeit",
    "python",
    "-m",
    "timeit",
    "-n",
    "1",
    "import app",
    show="it is code",
    name=any_of(None, "app.py"),
)

_PYDEVD = """\
import os, runpy, sys
words = sys.argv[sys.argv.index("--file") + 1:]
sys.argv[:] = words
sys.path.insert(0, os.getcwd())
if os.path.isfile(words[0]):
    runpy.run_path(words[0], run_name="__main__")
else:
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
"""
_PYDEVD_OPTIONS = ("--multiproc", "--qt-support=auto", "--client", "127.0.0.1", "--port", "50123")


@case(KIND, "PyCharm's debugger")
def _(world):
    ide = world.folder("pycharm/plugins/python/helpers/pydev", {"pydevd.py": _PYDEVD})
    shop = world.repository()
    command = ("python", ide / "pydevd.py", *_PYDEVD_OPTIONS, "--file", shop / "app.py")
    return world.start(*command, cwd=shop, **SCRIPT)


@case(KIND, "PyCharm's debugger, a module")
def _(world):
    ide = world.folder("pycharm/plugins/python/helpers/pydev", {"pydevd.py": _PYDEVD})
    shop = world.repository()
    command = ("python", ide / "pydevd.py", "--module", *_PYDEVD_OPTIONS, "--file", "pkg.job")
    return world.start(*command, cwd=shop, **MODULE)


_DEBUGPY = importlib.util.find_spec("debugpy").submodule_search_locations[0]


@case(KIND, "VS Code's debugger")
def _(world):
    bundled = world.folder(".vscode/extensions/ms-python.debugpy/bundled/libs")
    (bundled / "debugpy").symlink_to(_DEBUGPY)
    command = ("python", bundled / "debugpy", "--listen", "127.0.0.1:0", "app.py")
    return world.start(*command, cwd=world.repository(), **SCRIPT)


@case(KIND, "VS Code's debugger, a module")
def _(world):
    bundled = world.folder(".vscode/extensions/ms-python.debugpy/bundled/libs")
    (bundled / "debugpy").symlink_to(_DEBUGPY)
    command = ("python", bundled / "debugpy", "--listen", "127.0.0.1:0", "-m", "pkg.job")
    return world.start(*command, cwd=world.repository(), **MODULE)


add("opentelemetry-instrument python", "opentelemetry-instrument", "python", "app.py", **SCRIPT)
add("opentelemetry-instrument uvicorn", "opentelemetry-instrument", "uvicorn", "app:app", **APP)

# --- Tools that run applications -----------------------------------------------------------------

add("streamlit run", "streamlit", "run", "app.py", **SCRIPT)
add(
    "streamlit run with options",
    "streamlit",
    "run",
    "--server.port",
    "0",
    "app.py",
    "--",
    "--x",
    **SCRIPT,
)
add("streamlit as a module", "python", "-m", "streamlit", "run", "app.py", **SCRIPT)
add("chainlit run", "chainlit", "run", "-w", "app.py", **SCRIPT)
add("gradio", "gradio", "app.py", **SCRIPT)
add("marimo run", "marimo", "run", "app.py", **SCRIPT)
add("marimo edit", "marimo", "edit", "--port", "0", "app.py", **SCRIPT)
add("dagster dev -f", "dagster", "dev", "-f", "app.py", **SCRIPT)
add("dagster dev -m", "dagster", "dev", "-m", "pkg.job", **MODULE)
add(
    "prefect, a flow of a file",
    "prefect",
    "flow",
    "serve",
    "app.py:flow",
    name=any_of("app.py:flow", "app.py", "app:flow"),
)
add("torchrun", "torchrun", "--nproc-per-node=1", "app.py", **SCRIPT)
add("accelerate launch", "accelerate", "launch", "--cpu", "app.py", **SCRIPT)
add("ray job submit", "ray", "job", "submit", "--", "python", "app.py", **SCRIPT)
add(
    "kedro run",
    "kedro",
    "run",
    show="nothing on the command line names the code",
    name=any_of(None, "pkg", "pkg.job", "pkg/job.py"),
)


@case(KIND, "airflow")
def _(world):
    shop = world.repository()
    world.commit(shop, {"dags/dag.py": program()})
    return world.start(
        *("airflow", "scheduler"),
        cwd=world.home,
        environ={"AIRFLOW_HOME": str(shop)},
        show="nothing on the command line names the code",
        name=any_of(None, "dags/dag.py"),
    )


for _tool in ("pdm", "hatch", "poetry", "uv"):
    add(f"{_tool} run python", _tool, "run", "python", "app.py", **SCRIPT)
    add(f"{_tool} run uvicorn", _tool, "run", "uvicorn", "app:app", **APP)
add("uv run, a script", "uv", "run", "app.py", **SCRIPT)
add("pdm run, a script", "pdm", "run", "app.py", **SCRIPT)
add("poetry run gunicorn", "poetry", "run", "gunicorn", *PORT, "app:app", **APP)
add("panel serve", "panel", "serve", "app.py", **SCRIPT)
add("bokeh serve", "bokeh", "serve", "--port", "0", "app.py", **SCRIPT)
add("shiny run", "shiny", "run", "--reload", "app.py", **SCRIPT)
add("sanic", "sanic", "app:app", name=any_of("app:app", "app.py"))
add(
    "functions-framework",
    "functions-framework",
    "--target",
    "main",
    "--source",
    "app.py",
    name=any_of("app.py", "app:main"),
)

# --- Launchers that nobody knows -----------------------------------------------------------------

NOTHING_NAMED = "nothing on the command line names the code"
add("an unknown launcher of a script", "whirl", "--fast", "app.py", **SCRIPT)
add("an unknown launcher of code", "whirl-code", "app.py", **SCRIPT)
add(
    "an unknown launcher of a module",
    "whirl-module",
    "pkg.job",
    name=any_of("pkg.job", "pkg/job.py"),
)
add(
    "an unknown launcher of an application",
    "whirl-import",
    "pkg.job:app",
    name=any_of("pkg.job:app", "pkg.job", "pkg/job.py"),
)
add("an unknown launcher as a module", "python", "-m", "whirl", "app.py", **SCRIPT)
add(
    *("an unknown launcher with a configuration", "whirl-config"),
    prepare=lambda world, shop: world.commit(shop, {"whirl.ini": "pkg.job"}),
    show=NOTHING_NAMED,
    name=any_of("pkg.job", "pkg/job.py"),
)


def _traced(world, shop):
    world.commit(shop, {"traced.py": traced_program(), "whirl.ini": "traced"})


add(
    "an unknown launcher of an application that makes spans",
    "whirl",
    "traced.py",
    prepare=_traced,
    name="traced.py",
)
add(
    *("an unknown launcher with a configuration, and spans", "whirl-config"),
    prepare=_traced,
    show=NOTHING_NAMED,
    name=any_of("traced", "traced.py"),
)


@case(KIND, "an unknown launcher in another repository's folder")
def _(world):
    shop = world.repository()
    other = world.repository("other")
    world.commit(other)
    return world.start("whirl", shop / "app.py", cwd=other, **SCRIPT)


@case(KIND, "an unknown launcher of a script in no repository")
def _(world):
    world.folder("tools", {"tool.py": program()})
    shop = world.repository()
    return world.start("whirl", "../tools/tool.py", cwd=shop, name="tool.py")


@case(KIND, "an unknown launcher of an installed module")
def _(world):
    return world.start(
        *("whirl-import", "shop_cli.main"),
        cwd=world.repository(),
        name=any_of("shop_cli.main", "shop_cli/main.py", "main.py"),
        version="1.2",
    )


@case(KIND, "an installed command, from a repository")
def _(world):
    return world.start("shop-run", cwd=world.repository(), name="shop-run", version="1.2")


@case(KIND, "an installed command by its path, from a repository")
def _(world):
    command = world.environment.bin / "shop-run"
    return world.start(command, cwd=world.repository(), name="shop-run", version="1.2")


@case(KIND, "an installed module, from a repository")
def _(world):
    return world.start(
        *("python", "-m", "shop_cli.main"),
        cwd=world.repository(),
        name="shop_cli.main",
        version="1.2",
    )


@case(KIND, "a script without a suffix that is found on the path")
def _(world):
    shop = world.repository()
    world.commit(shop, {"bin/shop-tool": f"#!/usr/bin/env python\n{program()}"})
    (shop / "bin" / "shop-tool").chmod(0o755)
    world.commit(shop)
    other = world.repository("other")
    path = f"{shop / 'bin'}:{world.environ['PATH']}"
    return world.start("shop-tool", cwd=other, environ={"PATH": path}, name="bin/shop-tool")


@case(KIND, "a script that is executable")
def _(world):
    shop = world.repository()
    world.commit(shop, {"run.py": f"#!/usr/bin/env python\n{program()}"})
    (shop / "run.py").chmod(0o755)
    return world.start("./run.py", cwd=shop, name="run.py")


# --- Python's own options ------------------------------------------------------------------------

add("python -u -O -B", "python", "-u", "-O", "-B", "app.py", **SCRIPT)
add("python -X and -W", "python", "-X", "dev", "-W", "ignore", "app.py", **SCRIPT)
add("python -Wignore -m", "python", "-Wignore", "-m", "pkg.job", **MODULE)
add("python -im", "python", "-im", "pkg.job", **MODULE)
add("python -i", "python", "-i", "app.py", **SCRIPT)
add("python -P, a script", "python", "-P", "app.py", **SCRIPT)
add("python3", "python3", "app.py", **SCRIPT)
add(
    "python -P -c",
    "python",
    "-P",
    "-c",
    "import sys; sys.path.insert(0, 'pkg'); import job",
    show="it is code",
    name=None,
)


def _from_path(name, *options, **environ):
    """A module of a folder on PYTHONPATH, with one of the same name in the working directory."""

    @case(KIND, name)
    def _(world):
        shop = world.repository()
        other = world.repository("other")
        world.commit(other)
        environ["PYTHONPATH"] = str(shop)
        command = ("python", *options, "-m", "pkg.job")
        return world.start(*command, cwd=other, environ=environ, **MODULE)


_from_path("python -P -m", "-P")
_from_path("PYTHONSAFEPATH", PYTHONSAFEPATH="1")
_from_path("python -m, two of a name")


@case(KIND, "python -m, a module on PYTHONPATH")
def _(world):
    shop = world.repository()
    world.commit(shop, {"lib/svc/__init__.py": "", "lib/svc/run.py": program()})
    return world.start(
        *("python", "-m", "svc.run"),
        cwd=world.repository("other"),
        environ={"PYTHONPATH": f"{shop / 'lib'}"},
        name="svc.run",
    )


@case(KIND, "a script that shadows an installed module")
def _(world):
    shop = world.repository()
    world.commit(shop, {"shop_cli.py": program()})
    return world.start("python", "-m", "shop_cli", cwd=shop, name="shop_cli")


# --- Processes that a program starts -------------------------------------------------------------

_STARTS = """\
import multiprocessing
def work():
    import app
if __name__ == "__main__":
    worker = multiprocessing.get_context({!r}).Process(target=work)
    worker.start()
    worker.join()
"""
for _method in ("spawn", "fork", "forkserver"):

    @case(KIND, f"a worker process, by {_method}")
    def _(world, method=_method):
        shop = world.repository()
        world.commit(shop, {"starts.py": _STARTS.format(method)})
        return world.start("python", "starts.py", cwd=shop, name="starts.py")


@case(KIND, "a worker process of a module")
def _(world):
    shop = world.repository()
    world.commit(shop, {"pkg/starts.py": _STARTS.format("spawn")})
    return world.start("python", "-m", "pkg.starts", cwd=shop, name="pkg.starts")


@case(KIND, "a program that replaces its arguments")
def _(world):
    shop = world.repository()
    write(shop, {"app.py": f"import sys\nsys.argv[:] = ['x', 'y']\n{program()}"})
    return world.start("python", "app.py", cwd=shop)


@case(KIND, "pytest")
def _(world):
    shop = world.repository()
    world.commit(shop, {"tests/test_it.py": "def test():\n    import app\n", "conftest.py": ""})
    return world.start("pytest", "-p", "no:cacheprovider", "-s", "tests", cwd=shop, name="pytest")


@case(KIND, "python -m unittest")
def _(world):
    test = (
        "import unittest\nclass Test(unittest.TestCase):\n    def test(self):\n        import app\n"
    )
    shop = world.repository()
    world.commit(shop, {"tests/__init__.py": "", "tests/test_it.py": test})
    return world.start("python", "-m", "unittest", "tests.test_it", cwd=shop, name="unittest")
