"""Runs the code of a page."""

from __future__ import annotations

import os
from pathlib import Path

from documentation.markdown import ROOT
from preloaded import run_python

# A warning is an error, but not one that MLflow gives itself: it drops the trace that it is making.
_STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"mlflow\\.")
"""


def run_code(code: str, uri: str, folder: Path, **variables: str) -> str:
    """What the code of a page prints, with a real server at the address that it names."""
    environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}
    result = run_python(
        *("-c", _STRICT + code.replace("http://localhost:5000", uri)),
        cwd=folder,
        env={**environment, **variables},
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout
