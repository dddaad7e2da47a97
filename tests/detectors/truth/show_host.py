"""Runs `otel-mlflow-context show` in a new process each time, without starting an interpreter.

Reads requests from its standard input, a line of JSON each; a child forked for each request changes
into the folder, takes the environment, imports the package (of which nothing is loaded here) and
runs the command; the answer is a line with its JSON, or its error.
"""

# What the command imports of others, which no case changes.
import argparse  # noqa: F401
import contextlib
import importlib.metadata  # noqa: F401
import io
import json
import os
import site
import sys

import opentelemetry.sdk.resources  # noqa: F401


def show(request):
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    if request["environment"]:
        use(**request["environment"])
    from otel_mlflow_context.cli import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main(["show", "--json", "--", *request["command"]])
    return output.getvalue() if not status else f"exit status {status}"


def use(folder, python, site_packages):
    """Another environment, as its interpreter would have it."""
    site_of_host = next(it for it in sys.path if it.startswith(sys.prefix))
    sys.path.remove(site_of_host)
    others, sys.path[:] = sys.path[:], [it for it in sys.path if it.startswith(sys.base_prefix)]
    site.addsitedir(site_packages)
    sys.path += [it for it in others if it not in sys.path]
    sys.prefix = sys.exec_prefix = folder
    sys.executable = python


def answer(request):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = show(request)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        with os.fdopen(writing, "w", encoding="utf-8", errors="surrogateescape") as pipe:
            pipe.write(text)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="surrogateescape") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


if __name__ == "__main__":
    del sys.path[0]
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
