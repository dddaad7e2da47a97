"""A real notebook in a real kernel: what its trace says of it."""

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT, git

CELLS = """
import sys, mlflow
sys.path.insert(0, {root!r})
from otel_mlflow_context import MlflowContextInstrumentor

mlflow.set_tracking_uri({store!r})
MlflowContextInstrumentor().instrument()
---
@mlflow.trace
def ask():
    return "because"

ask()
---
import json
mlflow.flush_trace_async_logging()
traces = mlflow.search_traces(return_type="list", include_spans=False)
print(json.dumps([trace.info.trace_metadata for trace in traces]))
"""


@pytest.mark.parametrize("told_by", ["jupyter", "vs code"])
def test_a_trace_of_a_notebook_says_its_repository(repository, commit, store, tmp_path, told_by):
    import nbformat  # it takes seconds
    from nbclient import NotebookClient

    file = repository / "notebooks" / "eval.ipynb"
    file.parent.mkdir()
    cells = CELLS.format(root=str(ROOT), store=store)
    if told_by == "vs code":
        cells = f"__vsc_ipynb_file__ = {str(file)!r}\n---{cells}"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells.split("---")]
    )
    nbformat.write(notebook, file)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "notebook")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    # The kernel is started as Jupyter's server does, but in another folder.
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "HOME": str(elsewhere),
        "GIT_CONFIG_GLOBAL": str(elsewhere / "none"),
    }
    if told_by == "jupyter":
        environment["JPY_SESSION_NAME"] = str(file)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(elsewhere)}})
    client.execute(env=environment)

    [output] = [out.text for out in notebook.cells[-1].outputs if out.get("name") == "stdout"]
    [metadata] = json.loads(output)
    assert metadata["mlflow.source.git.commit"] == git(repository, "rev-parse", "HEAD") != commit
    assert metadata["mlflow.source.git.branch"] == "main"
    assert metadata["mlflow.source.name"] == "notebooks/eval.ipynb"
    assert metadata["mlflow.source.type"] == "NOTEBOOK"
