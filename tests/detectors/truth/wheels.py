"""The distributions that are made for the cases.

Launchers that are large to install are stood in for by small ones of the same shape: a console
script of an installed distribution that runs or imports the user's code in the way of the real
one. Their versions are far from any that a program has.
"""

from __future__ import annotations

from detectors.truth.environment import Wheel
from detectors.truth.world import program

LAUNCHERS = [
    *("arq", "celery", "coverage", "debugpy", "dramatiq", "flask", "granian", "gunicorn"),
    *("huey_consumer", "hypercorn", "ipython", "opentelemetry-instrument", "pyinstrument"),
    *("pytest", "uvicorn", "viztracer"),
]
"""Console scripts of installed packages."""

VERSION = "99.9"
"""Of every stand-in for a launcher."""

_HEAD = """\
import importlib, os, runpy, sys

def words():
    "All arguments that are no options."
    return [it for it in sys.argv[1:] if not it.startswith("-")]

def run_file(path):
    sys.argv[:] = [path]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    runpy.run_path(path, run_name="__main__")

def run_code(path):
    "As a code object, in a module of its own."
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    code = compile(open(path).read(), os.path.abspath(path), "exec")
    exec(code, {"__name__": "__main__", "__file__": os.path.abspath(path)})

def run_module(name):
    sys.path.insert(0, os.getcwd())
    sys.argv[:] = [name]
    runpy.run_module(name, run_name="__main__", alter_sys=True)

def import_module(name):
    sys.path.insert(0, os.getcwd())
    importlib.import_module(name.partition(":")[0])

def import_file(path):
    spec = importlib.util.spec_from_file_location("loaded", os.path.abspath(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules["loaded"] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec.loader.exec_module(module)

def first_file():
    return next(it for it in sys.argv[1:] if it.endswith(".py"))

def option(*names):
    for it, value in zip(sys.argv, [*sys.argv[1:], ""]):
        if it in names:
            return value

def rest_after(*names):
    "What stands after the first of these words."
    at = min(sys.argv.index(it) for it in names if it in sys.argv)
    return [it for it in sys.argv[at + 1:] if it != "--"]

def execute(command):
    if command[0].endswith(".py"):
        command = ["python", *command]
    os.execvp(command[0], command)

import importlib.util
def main():
    {body}
"""


def stand_in(name: str, body: str, *, package: str | None = None, command: str | None = None):
    """A launcher of one module that can be run by its command and by ``python -m``."""
    package = package or name.replace("-", "_")
    code = _HEAD.replace("{body}", body.strip().replace("\n", "\n    "))
    return Wheel(
        name,
        VERSION,
        {
            f"{package}/__init__.py": "",
            f"{package}/cli.py": code,
            f"{package}/__main__.py": f"from {package}.cli import main\nmain()\n",
        },
        {command or name: f"{package}.cli:main"},
    )


_FILE_OR_MODULE = """
if "-m" in sys.argv:
    run_module(option("-m"))
else:
    run_file(first_file())
"""
_EXECUTE = 'execute(rest_after("run"))'

STAND_INS = [
    stand_in("accelerate", 'execute(["python", first_file()])'),
    stand_in("airflow", 'import_file(os.path.join(os.environ["AIRFLOW_HOME"], "dags", "dag.py"))'),
    stand_in("bokeh", "run_code(first_file())"),
    stand_in("chainlit", "import_file(first_file())"),
    stand_in(
        "dagster", 'import_file(option("-f")) if "-f" in sys.argv else import_module(option("-m"))'
    ),
    stand_in("daphne", "import_module(words()[-1])"),
    stand_in("functions-framework", 'import_file(option("--source") or "main.py")'),
    stand_in("gradio", "run_file(first_file())"),
    stand_in("hatch", _EXECUTE),
    stand_in("kedro", 'import_module("pkg.job")'),
    stand_in("locust", 'import_file(option("-f", "--locustfile") or "locustfile.py")'),
    stand_in("marimo", "run_code(first_file())"),
    stand_in("memray", _FILE_OR_MODULE),
    stand_in("panel", "run_code(first_file())"),
    stand_in("pdm", _EXECUTE),
    stand_in("poetry", _EXECUTE),
    stand_in("prefect", 'import_file(words()[-1].partition(":")[0])'),
    stand_in("ray", 'execute(rest_after("--"))'),
    stand_in("rq", "import_module('app')"),
    stand_in("sanic", "import_module(words()[0])"),
    stand_in("scalene", _FILE_OR_MODULE),
    stand_in("shiny", "import_file(first_file())"),
    stand_in("streamlit", "run_code(first_file())"),
    # The real one stops older versions of `opentelemetry-instrument`.
    stand_in("taskiq", 'import_module(next(it for it in words() if ":" in it))'),
    stand_in("torch", 'execute(["python", "-u", first_file()])', command="torchrun"),
    stand_in("uv", _EXECUTE),
    stand_in("uwsgi", 'import_module(option("--module", "-w"))'),
    stand_in("waitress", "import_module(words()[-1])", command="waitress-serve"),
    # Launchers that nobody knows.
    stand_in("whirl", "run_file(first_file())"),
    stand_in("whirl-code", "run_code(first_file())"),
    stand_in("whirl-import", "import_module(words()[-1])"),
    stand_in("whirl-config", "import_module(open('whirl.ini').read().strip())"),
    stand_in("whirl-module", "run_module(words()[-1])"),
]

# --- Applications --------------------------------------------------------------------------------

SHOP = Wheel(
    "shop-cli",
    "1.2",
    {"shop_cli/__init__.py": "", "shop_cli/main.py": program(), "shop_cli/jobs/run.py": program()},
    {"shop-run": "shop_cli.main:main"},
)
INSTALLED = [
    SHOP,
    # Three distributions in one namespace package.
    Wheel("acme-shop", "2.0", {"acme/shop.py": program()}, {"acme-shop": "acme.shop:main"}),
    Wheel("acme-core", "5.0", {"acme/core.py": program()}),
    Wheel("acme-deep", "3.0", {"acme/deep/__init__.py": "", "acme/deep/jobs/run.py": program()}),
    # A distribution that is not called as its package, and another that adds to that.
    Wheel("till", "4.0", {"counter/__init__.py": "", "counter/main.py": program()}),
    Wheel("counter-extra", "7.0", {"counter/extra.py": program()}),
    Wheel("counter", "8.0", {"unrelated_counter/__init__.py": ""}),
    # A module of its own, and one whose package only begins like another's.
    Wheel("onefile", "6.0", {"onefile.py": program()}),
    Wheel(
        "onefile-tools", "6.1", {"onefile_tools/__init__.py": "", "onefile_tools/run.py": program()}
    ),
]

WHEELS = [*STAND_INS, *INSTALLED]
