"""The notebook that this process's kernel runs, as far as it is known without a network call.

Jupyter's own server and VS Code tell a kernel the notebook's path, Databricks keeps it in the
process; Colab and Kaggle do neither.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import is_file, is_folder, real_path
from otel_mlflow_context.detectors.program import databricks
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.launchers import NOTEBOOK_KERNELS
from otel_mlflow_context.settings import environment_variables as env

# Where Jupyter (jupyter_server's session manager; a console gets a name there too) and VS Code (a
# global variable of the notebook) put the notebook's path.
_JUPYTER_VARIABLE: Final = env.JPY_SESSION_NAME
_VSCODE_GLOBAL: Final = "__vsc_ipynb_file__"
_SUFFIX: Final = ".ipynb"
_KERNEL: Final = "ipykernel"

# Folders of Databricks that are a person's: /Users/jane@example.com/..., /Repos/jane@.../shop/...
_OF_A_PERSON: Final = re.compile(r"/(Workspace/)?(Users|Repos)/[^/]*/")


def is_notebook(program: Program) -> bool:
    """Whether a program is a notebook's kernel, or this process has become one."""
    if program.launcher or program.name or program.script:
        return program.launcher in NOTEBOOK_KERNELS
    ipython = sys.modules.get("IPython")
    try:
        # The one of a terminal has no such attribute.
        return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    except Exception:  # half imported, or another thing of that name
        return False


def notebook(program: Program, environ: Mapping[str, str], cwd: Path | None) -> Program:
    """The notebook as a program: its file, and the folder that holds it where that is there.

    Args:
        program: the kernel.
        environ: the environment variables.
        cwd: the kernel's folder, from which a relative path starts.
    """
    launcher = program.launcher or _KERNEL
    if context := databricks.context(environ):
        name = getattr(context, "mlflowGitRelativePath", None) or _OF_A_PERSON.sub(
            "", str(getattr(context, "notebookPath", None) or ""), count=1
        )
        return Program(name.lstrip("/") or None, cwd, launcher=launcher)
    typed = getattr(sys.modules.get("__main__"), _VSCODE_GLOBAL, environ.get(_JUPYTER_VARIABLE))
    file = real_path(typed, cwd) if isinstance(typed, str) and typed.strip() else None
    if file is None or not (file.suffix == _SUFFIX or is_file(file)):
        return Program(directory=cwd, launcher=launcher)
    if not is_folder(file.parent):
        # Of an older Jupyter: from the server's folder, and the kernel is in the notebook's.
        return Program(file.name, cwd, launcher=launcher)
    return Program(
        *(str(typed).strip(), file.parent),
        script=file,
        launcher=launcher,
        file=file if is_file(file) else None,
    )
