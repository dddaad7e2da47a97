"""What Databricks' runtime knows of the notebook or the job run in this process.

Read as MLflow reads it (mlflow/utils/databricks_utils.py), without a network call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._finding import Finding, branch, commit_findings, findings
from otel_mlflow_context.settings import environment_variables as env


def context(environ: Mapping[str, str]) -> Any:
    """The runtime's context of this process; None elsewhere."""
    if env.DATABRICKS_RUNTIME_VERSION not in environ:
        return None
    try:
        from dbruntime.databricks_repl_context import get_context

        return get_context()
    except Exception:
        return None


def is_job(environ: Mapping[str, str]) -> bool:
    """Whether a job runs here: on a cluster that was made for it, or on another.

    https://docs.databricks.com/init-scripts/environment-variables.html
    """
    on_job_cluster = environ.get(env.DB_IS_JOB_CLUSTER, "").strip().lower() == "true"
    return on_job_cluster or bool(getattr(context(environ), "isInJob", False))


def git_folder_findings(environ: Mapping[str, str]) -> list[Finding]:
    """The commit of the Git folder that the notebook lies in, where there is no .git."""
    found = context(environ)
    is_branch = getattr(found, "mlflowGitRepoReferenceType", None) == "branch"
    return commit_findings(
        "Databricks Git folder",
        getattr(found, "mlflowGitRepoCommit", None),
        {
            **branch(getattr(found, "mlflowGitRepoReference", None) if is_branch else None),
            semconv.VCS_REPOSITORY_URL_FULL: getattr(found, "mlflowGitRepoUrl", None),
        },
    )


def job_findings(environ: Mapping[str, str]) -> list[Finding]:
    """The run of the job, named as MLflow names it: ``jobs/<job id>/run/<run id>``."""
    found = context(environ)
    job, run = (getattr(found, name, None) for name in ("jobId", "idInJob"))
    if not job or not run:
        return []
    return findings("Databricks job", {semconv.DEPLOYMENT_ID: f"jobs/{job}/run/{run}"})
