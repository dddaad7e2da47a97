"""The source detector: the entry point of the process, and the kind of run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.databricks import is_job
from otel_mlflow_context.detectors.program.launchers import NOTEBOOK_KERNELS
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.facts.values import clean


class SourceResourceDetector(ResourceDetector):
    """Detects `mlflow.source.name` and `mlflow.source.type`: the application, not its launcher.

    The name is ``app.main:app`` for ``uvicorn app.main:app``, ``pkg.job`` for ``python -m
    pkg.job``; for a script or a notebook its path in the repository, or where there is none, the
    path as typed; never an absolute path, which may hold a person's name. It is absent where
    there is none: ``python -c``, a prompt.

    The type is ``NOTEBOOK``, ``JOB`` (Databricks) or ``LOCAL``, as in `mlflow.entities.SourceType`.
    """

    def detect(self) -> Resource:
        return Resource(source_attributes(_process.program(), os.environ))


def source_attributes(program: Program, environ: Mapping[str, str]) -> dict[str, str]:
    """The attributes that `SourceResourceDetector` finds for a program."""
    if is_job(environ):
        kind = semconv.SOURCE_TYPE_JOB
    else:
        is_notebook = program.launcher in NOTEBOOK_KERNELS
        kind = semconv.SOURCE_TYPE_NOTEBOOK if is_notebook else semconv.SOURCE_TYPE_LOCAL
    name = clean(_name(program))
    attributes = {semconv.MLFLOW_SOURCE_TYPE: kind}
    return attributes | {semconv.MLFLOW_SOURCE_NAME: name} if name else attributes


def _name(program: Program) -> str | None:
    file = program.script
    if file is None:
        return program.name
    try:
        repository = program.repository
    except (RepositoryError, OSError):
        repository = None
    if repository and file != repository.root:
        return file.relative_to(repository.root).as_posix()
    typed = PurePath(program.name or "")
    # ../../jane/s.py reveals as much as an absolute path.
    if typed.is_absolute() or ".." in typed.parts or not typed.name:
        return file.name
    return typed.as_posix()
