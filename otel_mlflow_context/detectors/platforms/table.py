"""What CI systems and hosting platforms say of a process in its environment variables.

`PLATFORMS` is the table: a platform is a row, and a new one is a new row. Only the variables of
rows are ever asked for, each only where its platform is known; none is a secret. Nothing here
makes a network call, and the one file that is read is the event of GitHub Actions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from otel_mlflow_context.detectors._files import read_text
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._stamp import checked
from otel_mlflow_context.semconv import (
    CLOUD_PLATFORM,
    CLOUD_PROVIDER,
    CLOUD_REGION,
    DEPLOYMENT_ENVIRONMENT_NAME,
    DEPLOYMENT_ID,
    DEPLOYMENT_NAME,
    SERVICE_NAME,
    SERVICE_VERSION,
    VCS_CHANGE_ID,
    VCS_REF_HEAD_NAME,
    VCS_REF_HEAD_REVISION,
    VCS_REF_HEAD_TAG,
    VCS_REF_HEAD_TYPE,
    VCS_REPOSITORY_URL_FULL,
)

_BRANCH: Final = "branch"  # a value of `vcs.ref.head.type`


@dataclass(frozen=True)
class Made:
    """A fact that is no variable's value as it stands."""

    variables: tuple[str, ...]
    """What it is made of. The last one is named as its source."""
    make: Callable[..., str | None]
    """From their values, in this order, "" for one that is not set. Never raises."""


@dataclass(frozen=True)
class Platform:
    """One row of the table: how to know a platform, and which of its variables say what."""

    name: str
    kind: Literal["runtime", "CI"]
    page: str
    """The page of the platform's own documentation that the row follows."""
    known_by: Mapping[str, str | bool]
    """All of: a variable is set (True), is not set (False), or has this value in any case."""
    says: Mapping[str, tuple[str | Made, ...]] = field(default_factory=dict)
    """For each attribute the variables that say it; the first that says something wins."""
    always: Mapping[str, str] = field(default_factory=dict)
    """Attributes that are so wherever the platform is."""
    instead_of_head: str | None = None
    """The variable with the commit that is checked out. In a change it may be a merge commit,
    made in place of the head that `says` has first."""
    branch_or_tag: bool = False
    """The variable for the branch may hold a tag: the type of the ref stays unsaid."""

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """For each attribute the names of the variables it is read from: for documentation."""
        return {
            attribute: tuple(
                dict.fromkeys(name for reading in readings for name in _variables(reading))
            )
            for attribute, readings in self.says.items()
        }


def platforms(environ: Mapping[str, str]) -> list[Platform]:
    """The platforms that a process is on, in the order of the table. Never raises."""
    return [row for row in PLATFORMS if _is_known(row, environ)]


def platform_findings(environ: Mapping[str, str]) -> list[Finding]:
    """What the platforms of a process say: at most one finding for an attribute and platform.

    In the order of the table: what runs the process before what built it. A tag is a finding of
    its own and never the name of the branch. Never raises.
    """
    return [finding for row in platforms(environ) for finding in findings_of(row, environ)]


def merge_commits(environ: Mapping[str, str]) -> frozenset[str]:
    """Commits that a platform made and checked out in place of the head of a change.

    Only where the head is known too, in `platform_findings`. Never raises.
    """
    commits = set()
    for row in platforms(environ):
        if row.instead_of_head is None:
            continue
        head = _first(row, VCS_REF_HEAD_REVISION, environ)
        commit = checked(VCS_REF_HEAD_REVISION, environ.get(row.instead_of_head))
        if head and isinstance(commit, str) and head.value != commit:
            commits.add(commit)
    return frozenset(commits)


def _is_known(row: Platform, environ: Mapping[str, str]) -> bool:
    for name, wanted in row.known_by.items():
        value = environ.get(name, "").strip()
        if isinstance(wanted, bool):
            if bool(value) is not wanted:
                return False
        elif value.lower() != wanted:
            return False
    return True


def findings_of(row: Platform, environ: Mapping[str, str]) -> list[Finding]:
    """What one of the platforms of a process says. Never raises."""
    findings = []
    for attribute in row.says:
        finding = _first(row, attribute, environ)
        if finding is None:
            continue
        findings.append(finding)
        if attribute == VCS_REF_HEAD_NAME and not row.branch_or_tag:
            findings.append(Finding(VCS_REF_HEAD_TYPE, _BRANCH, finding.source))
    source = next(iter(row.known_by))
    return [*findings, *(Finding(name, value, source) for name, value in row.always.items())]


def _first(row: Platform, attribute: str, environ: Mapping[str, str]) -> Finding | None:
    for reading in row.says.get(attribute, ()):
        variables = _variables(reading)
        values = [environ.get(name, "").strip() for name in variables]
        text = values[0] if isinstance(reading, str) else reading.make(*values)
        if text and attribute in _FORMS:
            text = _FORMS[attribute](text)
        value = checked(attribute, text)
        if value is None or (attribute == VCS_REF_HEAD_NAME and value == _tag(row, environ)):
            continue
        return Finding(attribute, value, variables[-1])
    return None


def _variables(reading: str | Made) -> tuple[str, ...]:
    return (reading,) if isinstance(reading, str) else reading.variables


def _tag(row: Platform, environ: Mapping[str, str]) -> object:
    """The tag that is built. Many platforms give it as the name of the branch too."""
    tag = _first(row, VCS_REF_HEAD_TAG, environ)
    return tag.value if tag else None


# --- Forms of values -----------------------------------------------------------------------------

_HEADS: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
_REFS: Final = "refs/"
_NO_BRANCH: Final = frozenset({"HEAD", "detached"})
# GitHub's refs/pull/5/merge, CircleCI's pull/5, Netlify's pull/5/head and merge-requests/5/head.
_CHANGE_REF: Final = re.compile(
    r"(?:refs/)?(?:pull|pull-requests|merge-requests)/([0-9]+)(?:/(?:head|merge))?"
)
_CHANGE_URL: Final = re.compile(r"https?://\S+/(?:pull|pull-requests)/([0-9]+)")
_CHANGE_NUMBER: Final = re.compile(r"(?:pr/)?([0-9]+)")  # CodeBuild's pr/5


def _branch(ref: str) -> str | None:
    if ref.startswith(_HEADS):
        return ref.removeprefix(_HEADS)
    if ref.startswith(_REFS) or ref in _NO_BRANCH or _CHANGE_REF.fullmatch(ref):
        return None
    return ref


def _change(text: str) -> str | None:
    """The number of a change. Not "false", which many say where there is none."""
    forms = (_CHANGE_NUMBER, _CHANGE_REF, _CHANGE_URL)
    return next((match[1] for form in forms if (match := form.fullmatch(text))), None)


_FORMS: Final[Mapping[str, Callable[[str], str | None]]] = {
    VCS_REF_HEAD_NAME: _branch,
    VCS_CHANGE_ID: _change,
}


# --- Facts that are made of variables ------------------------------------------------------------


def _ref(kind: str, variable: str) -> Made:
    """A branch or tag, from a variable with a whole ref, which may be of another kind."""
    return Made((variable,), lambda ref: ref.removeprefix(kind) if ref.startswith(kind) else None)


def _outside_a_change(change: str, branch: str) -> Made:
    """A branch, from a variable that in a change names the branch that the change goes into."""
    return Made((change, branch), lambda number, name: None if _change(number) else name)


def _web_address(host: str, *variables: str) -> Made:
    """A repository at `host`, its path from variables that must all be set."""
    return Made(variables, lambda *path: f"{host}/{'/'.join(path)}" if all(path) else None)


_HOSTS: Final = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
}


def _hosted(provider: str, *path: str) -> str | None:
    host = _HOSTS.get(provider.lower())
    return f"{host}/{'/'.join(path)}" if host and all(path) else None


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"https://{address}"


def _github_repository(server: str, repository: str) -> str | None:
    return f"{server}/{repository}" if server and repository else None


def _github_branch(ref: str, head: str) -> str | None:
    # For `pull_request_target` the head is named too, but the base is what runs.
    return head if _change(ref) else None


_MAX_EVENT: Final = 1 << 20  # bytes; that of a pull request has some 30,000


def _github_head(ref: str, event: str) -> str | None:
    """The commit that a pull request proposes; GITHUB_SHA is its merge into the base."""
    if not event or not _change(ref):
        return None
    try:
        sha = json.loads(read_text(Path(event), _MAX_EVENT))["pull_request"]["head"]["sha"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return sha if isinstance(sha, str) else None


def _published_version(version: str) -> str | None:
    """A version of a Lambda function; $LATEST is whatever was deployed last."""
    return None if version == "$LATEST" else version


_MODAL_CLOUDS: Final = {"aws": "aws", "gcp": "gcp", "oci": "oracle_cloud"}


def _modal_cloud(provider: str) -> str | None:
    return _MODAL_CLOUDS.get(provider.lower().removeprefix("cloud_provider_"))


def _jenkins_branch(change: str, branch: str) -> str | None:
    return None if change else branch.removeprefix("origin/")


def _cloud(provider: str, platform: str | None = None) -> dict[str, str]:
    """Values of the semantic conventions, and only where they have one.

    https://opentelemetry.io/docs/specs/semconv/registry/attributes/cloud/
    """
    return {CLOUD_PROVIDER: provider} | ({CLOUD_PLATFORM: platform} if platform else {})


# --- The table -----------------------------------------------------------------------------------

_RUNTIME: Final = (
    Platform(
        # With `heroku labs:enable runtime-dyno-metadata` and `runtime-dyno-build-metadata`, or in
        # a review app (https://devcenter.heroku.com/articles/github-integration-review-apps).
        # Not by DYNO, which others set too.
        "Heroku",
        "runtime",
        "https://devcenter.heroku.com/articles/dyno-metadata",
        known_by={"HEROKU_APP_NAME": True},
        says={
            VCS_REF_HEAD_REVISION: ("HEROKU_BUILD_COMMIT", "HEROKU_SLUG_COMMIT"),
            VCS_REF_HEAD_NAME: ("HEROKU_BRANCH",),
            VCS_CHANGE_ID: ("HEROKU_PR_NUMBER",),
            DEPLOYMENT_ID: ("HEROKU_RELEASE_VERSION",),
            SERVICE_NAME: ("HEROKU_APP_NAME",),
        },
        always=_cloud("heroku"),
    ),
    Platform(
        # RENDER_GIT_REPO_SLUG does not say at which host the repository is.
        "Render",
        "runtime",
        "https://render.com/docs/environment-variables",
        known_by={"RENDER": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("RENDER_GIT_COMMIT",),
            VCS_REF_HEAD_NAME: ("RENDER_GIT_BRANCH",),
            SERVICE_NAME: ("RENDER_SERVICE_NAME",),
        },
    ),
    Platform(
        # The variables of git are there after a deployment from GitHub.
        "Railway",
        "runtime",
        "https://docs.railway.com/reference/variables",
        known_by={"RAILWAY_DEPLOYMENT_ID": True},
        says={
            VCS_REF_HEAD_REVISION: ("RAILWAY_GIT_COMMIT_SHA",),
            VCS_REF_HEAD_NAME: ("RAILWAY_GIT_BRANCH",),
            VCS_REPOSITORY_URL_FULL: (
                _web_address(
                    "https://github.com", "RAILWAY_GIT_REPO_OWNER", "RAILWAY_GIT_REPO_NAME"
                ),
            ),
            DEPLOYMENT_ENVIRONMENT_NAME: ("RAILWAY_ENVIRONMENT_NAME",),
            DEPLOYMENT_ID: ("RAILWAY_DEPLOYMENT_ID",),
            CLOUD_REGION: ("RAILWAY_REPLICA_REGION",),
            SERVICE_NAME: ("RAILWAY_SERVICE_NAME",),
        },
    ),
    Platform(
        "Vercel",
        "runtime",
        "https://vercel.com/docs/environment-variables/system-environment-variables",
        known_by={"VERCEL": "1"},
        says={
            VCS_REF_HEAD_REVISION: ("VERCEL_GIT_COMMIT_SHA",),
            VCS_REF_HEAD_NAME: ("VERCEL_GIT_COMMIT_REF",),
            VCS_REPOSITORY_URL_FULL: (
                Made(
                    ("VERCEL_GIT_PROVIDER", "VERCEL_GIT_REPO_OWNER", "VERCEL_GIT_REPO_SLUG"),
                    _hosted,
                ),
            ),
            VCS_CHANGE_ID: ("VERCEL_GIT_PULL_REQUEST_ID",),
            DEPLOYMENT_ENVIRONMENT_NAME: ("VERCEL_TARGET_ENV", "VERCEL_ENV"),
            DEPLOYMENT_ID: ("VERCEL_DEPLOYMENT_ID",),
            CLOUD_REGION: ("VERCEL_REGION",),
        },
    ),
    Platform(
        # A machine's version differs from machine to machine; the image is the deployment's.
        "Fly.io",
        "runtime",
        "https://fly.io/docs/machines/runtime-environment/",
        known_by={"FLY_APP_NAME": True, "FLY_MACHINE_ID": True},
        says={
            DEPLOYMENT_ID: ("FLY_IMAGE_REF",),
            CLOUD_REGION: ("FLY_REGION",),
            SERVICE_NAME: ("FLY_APP_NAME",),
        },
    ),
    Platform(
        # Not by MODAL_ENVIRONMENT, which is a setting of the client too.
        "Modal",
        "runtime",
        "https://modal.com/docs/guide/environment_variables",
        known_by={"MODAL_TASK_ID": True},
        says={
            DEPLOYMENT_ENVIRONMENT_NAME: ("MODAL_ENVIRONMENT",),
            CLOUD_REGION: ("MODAL_REGION",),
            CLOUD_PROVIDER: (Made(("MODAL_CLOUD_PROVIDER",), _modal_cloud),),
        },
    ),
    Platform(
        # KOYEB_GIT_REPOSITORY has no scheme: github.com/acme/shop.
        "Koyeb",
        "runtime",
        "https://www.koyeb.com/docs/build-and-deploy/environment-variables",
        known_by={"KOYEB_SERVICE_NAME": True},
        says={
            VCS_REF_HEAD_REVISION: ("KOYEB_GIT_SHA",),
            VCS_REF_HEAD_NAME: ("KOYEB_GIT_BRANCH",),
            VCS_REPOSITORY_URL_FULL: (Made(("KOYEB_GIT_REPOSITORY",), _with_scheme),),
            DEPLOYMENT_ID: ("KOYEB_REGIONAL_DEPLOYMENT_ID",),
            CLOUD_REGION: ("KOYEB_REGION",),
            SERVICE_NAME: ("KOYEB_SERVICE_NAME",),
        },
    ),
    Platform(
        "Northflank",
        "runtime",
        "https://northflank.com/docs/v1/application/run/inject-runtime-variables",
        known_by={"NF_PROJECT_ID": True, "NF_OBJECT_ID": True},
        says={
            VCS_REF_HEAD_REVISION: ("NF_DEPLOYMENT_SHA",),
            VCS_REF_HEAD_NAME: ("NF_DEPLOYMENT_BRANCH",),
            VCS_REPOSITORY_URL_FULL: ("NF_DEPLOYMENT_REPO",),
            SERVICE_NAME: ("NF_OBJECT_ID",),
        },
    ),
    Platform(
        # Not confirmed: the page was not to be had. Replit's own templates know it by REPL_ID.
        "Replit",
        "runtime",
        "https://docs.replit.com/replit-workspace/workspace-features/secrets",
        known_by={"REPL_ID": True},
        says={SERVICE_NAME: ("REPL_SLUG",)},
    ),
    Platform(
        "Hugging Face Spaces",
        "runtime",
        "https://huggingface.co/docs/hub/spaces-overview#helper-environment-variables",
        known_by={"SPACE_ID": True, "SPACE_REPO_NAME": True},
        says={
            VCS_REPOSITORY_URL_FULL: (_web_address("https://huggingface.co/spaces", "SPACE_ID"),),
            SERVICE_NAME: ("SPACE_REPO_NAME",),
        },
    ),
    Platform(
        # A deployment is what others call an environment. The commit is a branch deployment's.
        "Dagster+",
        "runtime",
        "https://docs.dagster.io/dagster-plus/managing-deployments/reserved-environment-variables",
        known_by={"DAGSTER_CLOUD_DEPLOYMENT_NAME": True},
        says={
            VCS_REF_HEAD_REVISION: ("DAGSTER_CLOUD_GIT_SHA",),
            VCS_REF_HEAD_NAME: ("DAGSTER_CLOUD_GIT_BRANCH",),
            VCS_CHANGE_ID: ("DAGSTER_CLOUD_PULL_REQUEST_ID",),
            DEPLOYMENT_ENVIRONMENT_NAME: ("DAGSTER_CLOUD_DEPLOYMENT_NAME",),
            DEPLOYMENT_NAME: ("DAGSTER_CLOUD_DEPLOYMENT_NAME",),
        },
    ),
    Platform(
        "Databricks Apps",
        "runtime",
        "https://docs.databricks.com/en/dev-tools/databricks-apps/system-env.html",
        known_by={"DATABRICKS_APP_NAME": True, "DATABRICKS_APP_PORT": True},
        says={SERVICE_NAME: ("DATABRICKS_APP_NAME",)},
    ),
    Platform(
        # No variable names the endpoint. The one here is what MLflow goes by.
        "Databricks Model Serving",
        "runtime",
        "https://docs.databricks.com/en/machine-learning/model-serving/index.html",
        known_by={"IS_IN_DB_MODEL_SERVING_ENV": "true"},
    ),
    Platform(
        # Notebooks and jobs. The variables are of the cluster, not of what runs on it.
        "Databricks compute",
        "runtime",
        "https://docs.databricks.com/en/init-scripts/environment-variables.html",
        known_by={"DATABRICKS_RUNTIME_VERSION": True},
    ),
    Platform(
        # 2nd generation; the first has no Python that we run on. The region is known only to the
        # metadata server, here and below.
        "Google Cloud Functions",
        "runtime",
        "https://cloud.google.com/functions/docs/configuring/env-var",
        known_by={"FUNCTION_TARGET": True, "K_SERVICE": True, "KUBERNETES_SERVICE_HOST": False},
        says={DEPLOYMENT_ID: ("K_REVISION",), SERVICE_NAME: ("K_SERVICE",)},
        always=_cloud("gcp", "gcp_cloud_functions"),
    ),
    Platform(
        # Knative in a cluster of one's own sets the same variables.
        "Google Cloud Run service",
        "runtime",
        "https://cloud.google.com/run/docs/container-contract#env-vars",
        known_by={"K_SERVICE": True, "FUNCTION_TARGET": False, "KUBERNETES_SERVICE_HOST": False},
        says={DEPLOYMENT_ID: ("K_REVISION",), SERVICE_NAME: ("K_SERVICE",)},
        always=_cloud("gcp", "gcp_cloud_run"),
    ),
    Platform(
        # CLOUD_RUN_EXECUTION is one run of the job, not its deployment.
        "Google Cloud Run job",
        "runtime",
        "https://cloud.google.com/run/docs/container-contract#jobs-env-vars",
        known_by={"CLOUD_RUN_JOB": True},
        says={SERVICE_NAME: ("CLOUD_RUN_JOB",)},
        always=_cloud("gcp", "gcp_cloud_run"),
    ),
    Platform(
        "Google App Engine",
        "runtime",
        "https://cloud.google.com/appengine/docs/standard/python3/runtime#environment_variables",
        known_by={"GAE_SERVICE": True, "GAE_VERSION": True},
        says={
            DEPLOYMENT_ID: ("GAE_DEPLOYMENT_ID",),
            SERVICE_NAME: ("GAE_SERVICE",),
            SERVICE_VERSION: ("GAE_VERSION",),
        },
        always=_cloud("gcp", "gcp_app_engine"),
    ),
    Platform(
        # Vercel runs on it, with names of functions that mean nothing outside.
        "AWS Lambda",
        "runtime",
        "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html",
        known_by={"AWS_LAMBDA_FUNCTION_NAME": True, "VERCEL": False},
        says={
            DEPLOYMENT_ID: (Made(("AWS_LAMBDA_FUNCTION_VERSION",), _published_version),),
            CLOUD_REGION: ("AWS_REGION",),
            SERVICE_NAME: ("AWS_LAMBDA_FUNCTION_NAME",),
        },
        always=_cloud("aws", "aws_lambda"),
    ),
    Platform(
        # Service and task are known only to the metadata endpoint.
        "Amazon ECS",
        "runtime",
        "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-environment-variables.html",
        known_by={"ECS_CONTAINER_METADATA_URI_V4": True},
        says={CLOUD_REGION: ("AWS_REGION", "AWS_DEFAULT_REGION")},
        always=_cloud("aws", "aws_ecs"),
    ),
    Platform(
        # Training jobs only: nothing documented tells a container that it serves an endpoint.
        # Not confirmed: the page was not to be had.
        "Amazon SageMaker training",
        "runtime",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/"
        "your-algorithms-training-algo-running-container.html",
        known_by={"TRAINING_JOB_NAME": True, "TRAINING_JOB_ARN": True},
        says={CLOUD_REGION: ("AWS_REGION",)},
        always=_cloud("aws"),
    ),
    Platform(
        "Azure Functions",
        "runtime",
        "https://learn.microsoft.com/azure/azure-functions/functions-app-settings",
        known_by={"FUNCTIONS_WORKER_RUNTIME": True, "WEBSITE_SITE_NAME": True},
        says={
            DEPLOYMENT_ENVIRONMENT_NAME: ("WEBSITE_SLOT_NAME",),
            CLOUD_REGION: ("REGION_NAME",),
            SERVICE_NAME: ("WEBSITE_SITE_NAME",),
        },
        always=_cloud("azure", "azure.functions"),
    ),
    Platform(
        "Azure App Service",
        "runtime",
        "https://learn.microsoft.com/azure/app-service/reference-app-settings",
        known_by={"WEBSITE_SITE_NAME": True, "FUNCTIONS_WORKER_RUNTIME": False},
        says={
            DEPLOYMENT_ENVIRONMENT_NAME: ("WEBSITE_SLOT_NAME",),
            CLOUD_REGION: ("REGION_NAME",),
            SERVICE_NAME: ("WEBSITE_SITE_NAME",),
        },
        always=_cloud("azure", "azure.app_service"),
    ),
    Platform(
        "Azure Container Apps",
        "runtime",
        "https://learn.microsoft.com/azure/container-apps/environment-variables#apps",
        known_by={"CONTAINER_APP_NAME": True},
        says={
            DEPLOYMENT_ID: ("CONTAINER_APP_REVISION",),
            SERVICE_NAME: ("CONTAINER_APP_NAME",),
        },
        always=_cloud("azure", "azure.container_apps"),
    ),
    Platform(
        "Azure Container Apps job",
        "runtime",
        "https://learn.microsoft.com/azure/container-apps/environment-variables#jobs",
        known_by={"CONTAINER_APP_JOB_NAME": True},
        says={SERVICE_NAME: ("CONTAINER_APP_JOB_NAME",)},
        always=_cloud("azure", "azure.container_apps"),
    ),
    Platform(
        # What the downward API puts into variables has the names that the manifest gives it.
        "Kubernetes",
        "runtime",
        "https://kubernetes.io/docs/concepts/containers/container-environment/",
        known_by={"KUBERNETES_SERVICE_HOST": True},
    ),
)

_CI: Final = (
    Platform(
        # A merge of the pull request is checked out; only the event knows its head.
        "GitHub Actions",
        "CI",
        "https://docs.github.com/en/actions/reference/workflows-and-actions/variables",
        known_by={"GITHUB_ACTIONS": "true"},
        says={
            VCS_REF_HEAD_REVISION: (
                Made(("GITHUB_REF", "GITHUB_EVENT_PATH"), _github_head),
                "GITHUB_SHA",
            ),
            VCS_REF_HEAD_NAME: (
                Made(("GITHUB_REF", "GITHUB_HEAD_REF"), _github_branch),
                _ref(_HEADS, "GITHUB_REF"),
            ),
            VCS_REF_HEAD_TAG: (_ref(_TAGS, "GITHUB_REF"),),
            VCS_REPOSITORY_URL_FULL: (
                Made(("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"), _github_repository),
            ),
            VCS_CHANGE_ID: ("GITHUB_REF",),
        },
        instead_of_head="GITHUB_SHA",
    ),
    Platform(
        # CI_MERGE_REQUEST_SOURCE_BRANCH_SHA is set in merged results pipelines only.
        # CI_REPOSITORY_URL holds a token.
        "GitLab CI/CD",
        "CI",
        "https://docs.gitlab.com/ci/variables/predefined_variables/",
        known_by={"GITLAB_CI": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "CI_COMMIT_SHA"),
            VCS_REF_HEAD_NAME: (
                "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
                "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME",
                "CI_COMMIT_BRANCH",
            ),
            VCS_REF_HEAD_TAG: ("CI_COMMIT_TAG",),
            VCS_REPOSITORY_URL_FULL: ("CI_PROJECT_URL",),
            VCS_CHANGE_ID: ("CI_MERGE_REQUEST_IID", "CI_EXTERNAL_PULL_REQUEST_IID"),
            DEPLOYMENT_ENVIRONMENT_NAME: ("CI_ENVIRONMENT_NAME",),
        },
        instead_of_head="CI_COMMIT_SHA",
    ),
    Platform(
        # A pull request at GitHub has a number of its own beside the id.
        "Azure Pipelines",
        "CI",
        "https://learn.microsoft.com/azure/devops/pipelines/build/variables",
        known_by={"TF_BUILD": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("SYSTEM_PULLREQUEST_SOURCECOMMITID", "BUILD_SOURCEVERSION"),
            VCS_REF_HEAD_NAME: (
                "SYSTEM_PULLREQUEST_SOURCEBRANCH",
                _ref(_HEADS, "BUILD_SOURCEBRANCH"),
            ),
            VCS_REF_HEAD_TAG: (_ref(_TAGS, "BUILD_SOURCEBRANCH"),),
            VCS_REPOSITORY_URL_FULL: ("BUILD_REPOSITORY_URI",),
            VCS_CHANGE_ID: (
                "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER",
                "SYSTEM_PULLREQUEST_PULLREQUESTID",
            ),
            DEPLOYMENT_ENVIRONMENT_NAME: ("ENVIRONMENT_NAME",),
        },
        instead_of_head="BUILD_SOURCEVERSION",
    ),
    Platform(
        "Bitbucket Pipelines",
        "CI",
        "https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/",
        known_by={"BITBUCKET_BUILD_NUMBER": True},
        says={
            VCS_REF_HEAD_REVISION: ("BITBUCKET_COMMIT",),
            VCS_REF_HEAD_NAME: ("BITBUCKET_BRANCH",),
            VCS_REF_HEAD_TAG: ("BITBUCKET_TAG",),
            VCS_REPOSITORY_URL_FULL: ("BITBUCKET_GIT_HTTP_ORIGIN",),
            VCS_CHANGE_ID: ("BITBUCKET_PR_ID",),
            DEPLOYMENT_ENVIRONMENT_NAME: ("BITBUCKET_DEPLOYMENT_ENVIRONMENT",),
        },
    ),
    Platform(
        # The commit may be HEAD, and the branch of a tag's build is the tag.
        "Buildkite",
        "CI",
        "https://buildkite.com/docs/pipelines/configure/environment-variables",
        known_by={"BUILDKITE": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("BUILDKITE_COMMIT",),
            VCS_REF_HEAD_NAME: ("BUILDKITE_BRANCH",),
            VCS_REF_HEAD_TAG: ("BUILDKITE_TAG",),
            VCS_REPOSITORY_URL_FULL: ("BUILDKITE_REPO",),
            VCS_CHANGE_ID: ("BUILDKITE_PULL_REQUEST",),
        },
    ),
    Platform(
        # The number is there for pull requests from forks only, the URL for all.
        "CircleCI",
        "CI",
        "https://circleci.com/docs/reference/variables/",
        known_by={"CIRCLECI": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("CIRCLE_SHA1",),
            VCS_REF_HEAD_NAME: ("CIRCLE_BRANCH",),
            VCS_REF_HEAD_TAG: ("CIRCLE_TAG",),
            VCS_REPOSITORY_URL_FULL: ("CIRCLE_REPOSITORY_URL",),
            VCS_CHANGE_ID: ("CIRCLE_PR_NUMBER", "CIRCLE_PULL_REQUEST"),
        },
    ),
    Platform(
        # GIT_* are the git plugin's (https://plugins.jenkins.io/git/), the others those of a
        # multibranch project, where the branch is PR-5 in a change.
        "Jenkins",
        "CI",
        "https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables",
        known_by={"JENKINS_URL": True},
        says={
            VCS_REF_HEAD_REVISION: ("GIT_COMMIT",),
            VCS_REF_HEAD_NAME: (
                "CHANGE_BRANCH",
                _outside_a_change("CHANGE_ID", "BRANCH_NAME"),
                _outside_a_change("CHANGE_ID", "GIT_LOCAL_BRANCH"),
                Made(("CHANGE_ID", "GIT_BRANCH"), _jenkins_branch),
            ),
            VCS_REF_HEAD_TAG: ("TAG_NAME",),
            VCS_REPOSITORY_URL_FULL: ("GIT_URL",),
            VCS_CHANGE_ID: ("CHANGE_ID",),
        },
    ),
    Platform(
        # TRAVIS_REPO_SLUG does not say at which host the repository is.
        "Travis CI",
        "CI",
        "https://docs.travis-ci.com/user/environment-variables/",
        known_by={"TRAVIS": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"),
            VCS_REF_HEAD_NAME: (
                "TRAVIS_PULL_REQUEST_BRANCH",
                _outside_a_change("TRAVIS_PULL_REQUEST", "TRAVIS_BRANCH"),
            ),
            VCS_REF_HEAD_TAG: ("TRAVIS_TAG",),
            VCS_CHANGE_ID: ("TRAVIS_PULL_REQUEST",),
        },
        instead_of_head="TRAVIS_COMMIT",
    ),
    Platform(
        "AppVeyor",
        "CI",
        "https://www.appveyor.com/docs/environment-variables/",
        known_by={"APPVEYOR": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("APPVEYOR_PULL_REQUEST_HEAD_COMMIT", "APPVEYOR_REPO_COMMIT"),
            VCS_REF_HEAD_NAME: (
                "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH",
                _outside_a_change("APPVEYOR_PULL_REQUEST_NUMBER", "APPVEYOR_REPO_BRANCH"),
            ),
            VCS_REF_HEAD_TAG: ("APPVEYOR_REPO_TAG_NAME",),
            VCS_REPOSITORY_URL_FULL: (
                Made(("APPVEYOR_REPO_PROVIDER", "APPVEYOR_REPO_NAME"), _hosted),
            ),
            VCS_CHANGE_ID: ("APPVEYOR_PULL_REQUEST_NUMBER",),
        },
        instead_of_head="APPVEYOR_REPO_COMMIT",
    ),
    Platform(
        # The commit is there where a webhook told it, else after the step that clones.
        "Bitrise",
        "CI",
        "https://docs.bitrise.io/en/bitrise-ci/references/available-environment-variables.html",
        known_by={"BITRISE_IO": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("BITRISE_GIT_COMMIT", "GIT_CLONE_COMMIT_HASH"),
            VCS_REF_HEAD_NAME: ("BITRISE_GIT_BRANCH",),
            VCS_REF_HEAD_TAG: ("BITRISE_GIT_TAG",),
            VCS_REPOSITORY_URL_FULL: ("GIT_REPOSITORY_URL",),
            VCS_CHANGE_ID: ("BITRISE_PULL_REQUEST",),
        },
    ),
    Platform(
        # BUDDY_EXECUTION_* are the older names of BUDDY_RUN_*.
        "Buddy",
        "CI",
        "https://buddy.works/docs/pipelines/variables/default-variables",
        known_by={"BUDDY": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("BUDDY_RUN_COMMIT", "BUDDY_EXECUTION_REVISION"),
            VCS_REF_HEAD_NAME: (
                "BUDDY_RUN_PR_HEAD_BRANCH",
                "BUDDY_EXECUTION_PULL_REQUEST_HEAD_BRANCH",
                "BUDDY_RUN_BRANCH",
                "BUDDY_EXECUTION_BRANCH",
            ),
            VCS_REF_HEAD_TAG: ("BUDDY_EXECUTION_TAG",),
            VCS_REPOSITORY_URL_FULL: ("BUDDY_SCM_URL",),
            VCS_CHANGE_ID: ("BUDDY_RUN_PR_NO", "BUDDY_EXECUTION_PULL_REQUEST_NO"),
        },
    ),
    Platform(
        # DRONE_BRANCH is the target of a pull request.
        "Drone",
        "CI",
        "https://docs.drone.io/pipeline/environment/reference/",
        known_by={"DRONE": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("DRONE_COMMIT_SHA",),
            VCS_REF_HEAD_NAME: (
                "DRONE_SOURCE_BRANCH",
                _outside_a_change("DRONE_PULL_REQUEST", "DRONE_BRANCH"),
            ),
            VCS_REF_HEAD_TAG: ("DRONE_TAG",),
            VCS_REPOSITORY_URL_FULL: ("DRONE_REPO_LINK", "DRONE_GIT_HTTP_URL"),
            VCS_CHANGE_ID: ("DRONE_PULL_REQUEST",),
            DEPLOYMENT_ENVIRONMENT_NAME: ("DRONE_DEPLOY_TO",),
        },
    ),
    Platform(
        # From CodePipeline, the source may be in S3: then there is no commit and no repository.
        "AWS CodeBuild",
        "CI",
        "https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html",
        known_by={"CODEBUILD_BUILD_ID": True},
        says={
            VCS_REF_HEAD_REVISION: ("CODEBUILD_RESOLVED_SOURCE_VERSION",),
            VCS_REF_HEAD_NAME: (_ref(_HEADS, "CODEBUILD_WEBHOOK_HEAD_REF"),),
            VCS_REF_HEAD_TAG: (_ref(_TAGS, "CODEBUILD_WEBHOOK_HEAD_REF"),),
            VCS_REPOSITORY_URL_FULL: ("CODEBUILD_SOURCE_REPO_URL",),
            VCS_CHANGE_ID: ("CODEBUILD_WEBHOOK_TRIGGER",),
            CLOUD_REGION: ("AWS_REGION",),
        },
        always=_cloud("aws"),
    ),
    Platform(
        # The branch is known only to the server, unless a build parameter passes it on.
        "TeamCity",
        "CI",
        "https://www.jetbrains.com/help/teamcity/predefined-build-parameters.html",
        known_by={"TEAMCITY_VERSION": True},
        says={VCS_REF_HEAD_REVISION: ("BUILD_VCS_NUMBER",)},
    ),
    Platform(
        "Codefresh",
        "CI",
        "https://codefresh.io/docs/docs/pipelines/variables/",
        known_by={"CF_BUILD_ID": True},
        says={
            VCS_REF_HEAD_REVISION: ("CF_REVISION",),
            VCS_REF_HEAD_NAME: ("CF_BRANCH",),
            VCS_REF_HEAD_TAG: ("CF_RELEASE_TAG",),
            VCS_CHANGE_ID: ("CF_PULL_REQUEST_NUMBER",),
        },
        branch_or_tag=True,
    ),
    Platform(
        # Here because Python runs there in builds only. In a preview BRANCH is pull/5/head. The
        # URL of the repository may hold a token, which does not get past `browsable_url`.
        "Netlify",
        "CI",
        "https://docs.netlify.com/build/configure-builds/environment-variables/",
        known_by={"NETLIFY": "true"},
        says={
            VCS_REF_HEAD_REVISION: ("COMMIT_REF",),
            VCS_REF_HEAD_NAME: ("HEAD", "BRANCH"),
            VCS_REPOSITORY_URL_FULL: ("REPOSITORY_URL",),
            VCS_CHANGE_ID: ("REVIEW_ID",),
            DEPLOYMENT_ENVIRONMENT_NAME: ("CONTEXT",),
            DEPLOYMENT_ID: ("DEPLOY_ID",),
            SERVICE_NAME: ("SITE_NAME",),
        },
    ),
)

PLATFORMS: Final = (*_RUNTIME, *_CI)
"""What runs a process before what built it. More than one may apply."""
