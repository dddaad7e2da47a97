"""Fresh Python processes that time themselves, for what a process pays only once."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from _tables import progress

ROOT = Path(__file__).resolve().parents[1]

# What is set in the shell that runs the benchmark must not be measured.
_PREFIXES = ("OTEL_", "MLFLOW_", "APP_", "GIT_", "PYTHON")


def measure(
    commands: Mapping[str, Sequence[str]],
    processes: int,
    *,
    warm_up: bool = True,
    environment: Mapping[str, Mapping[str, str]] | None = None,
    folder: Path | None = None,
) -> dict[str, list[dict]]:
    """Run each command of Python `processes` times, interleaved, and collect what they print.

    Args:
        commands: arguments of Python by name; each prints one JSON object.
        processes: how often.
        warm_up: once more before, so that nothing is compiled, or read from disk for the first
            time, in a process that counts.
        environment: variables more, by the command's name.
        folder: the working directory.
    """
    clean = clean_environment() | {"PYTHONPATH": str(ROOT)}
    printed: dict[str, list[dict]] = {name: [] for name in commands}
    for round_number in range(0 if warm_up else 1, processes + 1):
        for name in random.sample(list(commands), len(commands)):
            progress(f"{name}: process {round_number} of {processes}")
            ran = subprocess.run(
                [sys.executable, *commands[name]],
                env=clean | dict((environment or {}).get(name, {})),
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                raise RuntimeError(f"{name} failed:\n{ran.stderr}")
            if round_number:
                printed[name].append(json.loads(ran.stdout.splitlines()[-1]))
    return printed


def clean_environment() -> dict[str, str]:
    """The environment without what would change what is measured."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES)}
