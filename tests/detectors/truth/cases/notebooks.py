"""Notebooks and other kernels, as they are started: the notebook and its repository, if known."""

from __future__ import annotations

from detectors.truth.case import any_of, case
from detectors.truth.world import program, write

KIND = "notebooks"
COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"
IN_MEMORY = "what the runtime knows is in the kernel's memory"

CELL = program()
"""A cell has no file."""

_KERNEL = """\
import os, sys
for number, name in enumerate(("before", "cell")):
    code = os.environ.get("TRUTH_" + name.upper())
    if code:
        exec(compile(code, f"<ipython-input-{number}>", "exec"), vars(sys.modules["__main__"]))
"""
"""What a kernel does with cells, without the connection to a server."""

_RUNTIME = """\
import os
from types import SimpleNamespace
def get_context():
    return SimpleNamespace(**eval(os.environ["TRUTH_CONTEXT"]))
"""
"""Databricks' own module, by which its runtime and MLflow know the notebook."""


def kernel(world, *command, cwd, environ=None, before="", **more):
    cell = CELL.replace('if "__file__" in globals()', "if False")
    environ = {"TRUTH_CELL": cell, "TRUTH_BEFORE": before, **(environ or {})}
    return world.start(*command, cwd=cwd, environ=environ, **{"type": "NOTEBOOK", **more})


def launcher(world, name, folder="kernels"):
    """A kernel's launcher somewhere in an installation."""
    return world.folder(folder, {name: _KERNEL}) / name


def with_notebook(world, name="eval.ipynb"):
    shop = world.repository()
    world.commit(shop, {name: "{}"})
    return shop


for _name in ("ipykernel_launcher.py", "colab_kernel_launcher.py"):

    @case(KIND, f"{_name} by its path, a notebook of Jupyter")
    def _(world, name=_name):
        shop = with_notebook(world)
        environ = {"JPY_SESSION_NAME": str(shop / "eval.ipynb")}
        return kernel(
            *(world, "python", launcher(world, name), "-f", "kernel.json"),
            cwd=shop,
            environ=environ,
            name="eval.ipynb",
            question=shop / "eval.ipynb",
        )

    @case(KIND, f"{_name} by its path, a notebook that nobody names")
    def _(world, name=_name):
        return kernel(
            *(world, "python", launcher(world, name), "-f", "kernel.json"),
            cwd=world.folder("notebooks"),
            name=None,
        )


@case(KIND, "a kernel as a module, a notebook of Jupyter")
def _(world):
    shop = with_notebook(world, "notebooks/eval.ipynb")
    write(world.root, {"kernels/ipykernel_launcher.py": _KERNEL})
    return kernel(
        *(world, "python", "-m", "ipykernel_launcher", "-f", "kernel.json"),
        cwd=shop / "notebooks",
        environ={
            "JPY_SESSION_NAME": str(shop / "notebooks" / "eval.ipynb"),
            "PYTHONPATH": str(world.root / "kernels"),
        },
        name="notebooks/eval.ipynb",
        question=shop / "notebooks" / "eval.ipynb",
    )


@case(KIND, "the real kernel, a notebook of Jupyter")
def _(world):
    shop = with_notebook(world)
    write(world.root, {"cell.py": program().replace('if "__file__" in globals()', "if False")})
    code = f"exec(open('{world.root}/cell.py').read())"
    command = ("python", "-m", "ipykernel_launcher", "-f", str(world.root / "kernel.json"))
    return kernel(
        *(world, *command, f"--IPKernelApp.exec_lines={code}"),
        cwd=shop,
        environ={"JPY_SESSION_NAME": str(shop / "eval.ipynb")},
        name="eval.ipynb",
        question=shop / "eval.ipynb",
    )


@case(KIND, "a notebook that is not tracked")
def _(world):
    shop = write(world.repository(), {"draft.ipynb": "{}"})
    return kernel(
        *(world, "python", launcher(world, "ipykernel_launcher.py"), "-f", "kernel.json"),
        cwd=shop,
        environ={"JPY_SESSION_NAME": str(shop / "draft.ipynb")},
        name="draft.ipynb",
        question=shop / "draft.ipynb",
    )


@case(KIND, "a notebook of another repository than the kernel's folder")
def _(world):
    shop = with_notebook(world)
    other = world.repository("other")
    world.commit(other)
    return kernel(
        *(world, "python", launcher(world, "ipykernel_launcher.py"), "-f", "kernel.json"),
        cwd=other,
        environ={"JPY_SESSION_NAME": str(shop / "eval.ipynb")},
        name="eval.ipynb",
        question=shop / "eval.ipynb",
    )


@case(KIND, "a notebook of VS Code")
def _(world):
    shop = with_notebook(world)
    return kernel(
        *(world, "python", launcher(world, "ipykernel_launcher.py"), "-f", "kernel.json"),
        cwd=shop,
        before=f"__vsc_ipynb_file__ = {str(shop / 'eval.ipynb')!r}",
        name="eval.ipynb",
        question=shop / "eval.ipynb",
        show=IN_MEMORY,
    )


@case(KIND, "a notebook that was started in a home folder with dotfiles")
def _(world):
    world.git(world.home, "init", "-q", "-b", "dotfiles")
    write(world.home, {".bashrc": "", "eval.ipynb": "{}"})
    world.git(world.home, "add", ".bashrc")
    world.git(world.home, "commit", "-q", "-m", "dotfiles")
    return kernel(
        *(world, "python", launcher(world, "ipykernel_launcher.py"), "-f", "kernel.json"),
        cwd=world.home,
        environ={"JPY_SESSION_NAME": str(world.home / "eval.ipynb")},
        name="eval.ipynb",
        question=world.home / "eval.ipynb",
    )


# --- Databricks ----------------------------------------------------------------------------------

_GIT_FOLDER = {
    "notebookPath": "/Repos/ada@example.com/shop/jobs/eval",
    "mlflowGitRelativePath": "jobs/eval",
    "mlflowGitRepoCommit": COMMIT,
    "mlflowGitRepoUrl": "https://github.com/acme/shop.git",
    "mlflowGitRepoReference": "main",
    "mlflowGitRepoReferenceType": "branch",
}
_KNOWN = {
    "name": "jobs/eval",
    "commit": COMMIT,
    "branch": "main",
    "url": "https://github.com/acme/shop",
}


def databricks(world, context, *, file="db_ipykernel_launcher.py", environ=None, **expected):
    folder = "databricks/python_shell/scripts"
    write(
        world.root,
        {
            f"{folder}/{file}": _KERNEL,
            "runtime/dbruntime/__init__.py": "",
            "runtime/dbruntime/databricks_repl_context.py": _RUNTIME,
        },
    )
    return kernel(
        *(world, "python", world.root / folder / file, "-f", "kernel.json"),
        cwd=world.folder("databricks/driver"),
        environ={
            "DATABRICKS_RUNTIME_VERSION": "15.4",
            "PYTHONPATH": str(world.root / "runtime"),
            "TRUTH_CONTEXT": repr(context),
            **(environ or {}),
        },
        show=IN_MEMORY,
        **expected,
    )


@case(KIND, "Databricks, a Git folder")
def _(world):
    return databricks(world, _GIT_FOLDER, **_KNOWN)


@case(KIND, "Databricks, a Git folder, an older launcher")
def _(world):
    return databricks(world, _GIT_FOLDER, file="ipykernel_launcher.py", **_KNOWN)


@case(KIND, "Databricks, a notebook in the workspace")
def _(world):
    return databricks(
        world, {"notebookPath": "/Users/ada@example.com/drafts/eval"}, name="drafts/eval"
    )


@case(KIND, "Databricks, nothing known of the notebook")
def _(world):
    return databricks(world, {}, name=None)


@case(KIND, "Databricks, a Git folder at a tag")
def _(world):
    context = _GIT_FOLDER | {"mlflowGitRepoReference": "v1", "mlflowGitRepoReferenceType": "tag"}
    return databricks(world, context, **_KNOWN | {"branch": None, "tag": any_of(None, "v1")})


@case(KIND, "Databricks, a job of a notebook")
def _(world):
    job = {"isInJob": True, "jobId": "12", "idInJob": "34"}
    return databricks(
        world, _GIT_FOLDER | job, type="JOB", **_KNOWN | {"deployment": "jobs/12/run/34"}
    )


@case(KIND, "Databricks, a job of a script")
def _(world):
    environ = {"DATABRICKS_RUNTIME_VERSION": "15.4", "DB_IS_JOB_CLUSTER": "TRUE"}
    return world.start("python", "app.py", cwd=world.repository(), environ=environ, type="JOB")


# --- Other processes that run code of others -----------------------------------------------------

_RAY = """\
import os, sys
sys.path.insert(0, os.environ["TRUTH_WORKING_DIR"])
import job
"""


@case(KIND, "a worker of Ray, code of a repository")
def _(world):
    shop = world.repository()
    world.commit(shop, {"job.py": program()})
    ray = world.folder("site/ray/_private/workers", {"default_worker.py": _RAY})
    return world.start(
        *("python", ray / "default_worker.py", "--node-ip-address=127.0.0.1", "--startup-token=1"),
        cwd=world.folder("tmp/ray/session_1"),
        environ={"TRUTH_WORKING_DIR": str(shop)},
        show="nothing on the command line names the code",
        name=any_of(None, "job.py", "job"),
    )


@case(KIND, "a worker of Ray, code that was uploaded")
def _(world):
    uploaded = world.folder("tmp/ray/working_dir_files/_ray_pkg_1", {"job.py": program()})
    ray = world.folder("site/ray/_private/workers", {"default_worker.py": _RAY})
    return world.start(
        *("python", ray / "default_worker.py", "--node-ip-address=127.0.0.1", "--startup-token=1"),
        cwd=uploaded,
        environ={"TRUTH_WORKING_DIR": str(uploaded)},
        show="nothing on the command line names the code",
        name=any_of(None, "job.py", "job"),
    )


@case(KIND, "IPython runs a script")
def _(world):
    return world.start("ipython", "app.py", cwd=world.repository(), name="app.py")


@case(KIND, "IPython runs a script after its options")
def _(world):
    command = ("ipython", "--no-banner", "--quick", "pkg/job.py")
    return world.start(*command, cwd=world.repository(), name="pkg/job.py")


@case(KIND, "IPython runs a module")
def _(world):
    command = ("ipython", "--no-banner", "-m", "pkg.job")
    return world.start(*command, cwd=world.repository(), name="pkg.job")


@case(KIND, "a script that a kernel has started")
def _(world):
    shop = with_notebook(world)
    environ = {"JPY_SESSION_NAME": str(shop / "eval.ipynb"), "JPY_PARENT_PID": "1"}
    return world.start("python", "app.py", cwd=shop, environ=environ)
