"""Hosting platforms and CI: their variables count for the code that is theirs, and only there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from detectors.truth.case import GIT, any_of, case
from detectors.truth.wheels import SHOP
from detectors.truth.world import program

HOSTING = "hosting platforms"
CI = "CI platforms"
TARGETS = "names of targets"
COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"

# --- Where a program runs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """A hosting platform: what its runtime sets, and which facts that is."""

    name: str
    environ: dict[str, str]
    host: dict[str, object] = field(default_factory=dict)
    """Facts of where the program runs."""
    code: dict[str, object] = field(default_factory=dict)
    """Facts of the code that the platform has built."""


_UUID = "3a1bb3d0-7502-40a5-ae12-7e28f807531b"
HOSTS = (
    Host(
        "Heroku",
        {
            "DYNO": "web.1",
            "PORT": "5000",
            "HEROKU_APP_ID": "9daa2797-e49b-4624-932f-ec3f9688e3da",
            "HEROKU_APP_NAME": "shop",
            "HEROKU_BUILD_COMMIT": COMMIT,
            "HEROKU_SLUG_COMMIT": COMMIT,
            "HEROKU_RELEASE_CREATED_AT": "2026-11-01T10:00:00Z",
            "HEROKU_RELEASE_VERSION": "v42",
        },
        {"service": "shop", "deployment": "v42"},
        {"commit": COMMIT},
    ),
    Host(
        "Heroku, a review app",
        {
            "DYNO": "web.1",
            "PORT": "5000",
            "HEROKU_APP_NAME": "shop-pr-5",
            "HEROKU_SLUG_COMMIT": COMMIT,
            "HEROKU_BRANCH": "feature",
            "HEROKU_PR_NUMBER": "5",
        },
        {"service": "shop-pr-5"},
        {"commit": COMMIT, "branch": "feature", "change": "5"},
    ),
    Host(
        "Render",
        {
            "RENDER": "true",
            "RENDER_SERVICE_ID": "srv-1",
            "RENDER_INSTANCE_ID": "srv-1-a",
            "RENDER_SERVICE_NAME": "shop",
            "RENDER_GIT_COMMIT": COMMIT,
            "RENDER_GIT_BRANCH": "main",
            "IS_PULL_REQUEST": "false",
        },
        {"service": "shop"},
        {"commit": COMMIT, "branch": "main"},
    ),
    Host(
        "Railway",
        {
            "RAILWAY_DEPLOYMENT_ID": _UUID,
            "RAILWAY_REPLICA_ID": _UUID,
            "RAILWAY_REPLICA_REGION": "us-west2",
            "RAILWAY_ENVIRONMENT_NAME": "production",
            "RAILWAY_SERVICE_NAME": "shop",
            "RAILWAY_GIT_COMMIT_SHA": COMMIT,
            "RAILWAY_GIT_BRANCH": "main",
            "RAILWAY_GIT_REPO_OWNER": "acme",
            "RAILWAY_GIT_REPO_NAME": "shop",
        },
        {
            "service": "shop",
            "environment": "production",
            "deployment": _UUID,
            "region": "us-west2",
        },
        {"commit": COMMIT, "branch": "main", "url": "https://github.com/acme/shop"},
    ),
    Host(
        "Vercel",
        {
            "VERCEL": "1",
            "VERCEL_ENV": "preview",
            "VERCEL_REGION": "cdg1",
            "VERCEL_DEPLOYMENT_ID": "dpl_7Gw5",
            "VERCEL_GIT_PROVIDER": "github",
            "VERCEL_GIT_REPO_OWNER": "acme",
            "VERCEL_GIT_REPO_SLUG": "shop",
            "VERCEL_GIT_COMMIT_REF": "feature",
            "VERCEL_GIT_COMMIT_SHA": COMMIT,
            "VERCEL_GIT_PULL_REQUEST_ID": "23",
            "AWS_LAMBDA_FUNCTION_NAME": "ab12cd34",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
            "AWS_REGION": "eu-west-3",
        },
        {"environment": "preview", "deployment": "dpl_7Gw5", "region": "cdg1"},
        {
            "commit": COMMIT,
            "branch": "feature",
            "change": "23",
            "url": "https://github.com/acme/shop",
        },
    ),
    Host(
        "Fly.io",
        {
            "FLY_APP_NAME": "shop",
            "FLY_MACHINE_ID": "91857266fe1938",
            "FLY_ALLOC_ID": "91857266fe1938",
            "FLY_REGION": "ams",
            "FLY_IMAGE_REF": "registry.fly.io/shop:deployment-01",
            "FLY_PRIVATE_IP": "fdaa::3",
        },
        {
            "service": "shop",
            "region": "ams",
            "deployment": "registry.fly.io/shop:deployment-01",
        },
    ),
    Host(
        "Modal",
        {
            "MODAL_TASK_ID": "ta-01",
            "MODAL_IMAGE_ID": "im-01",
            "MODAL_IS_REMOTE": "1",
            "MODAL_ENVIRONMENT": "main",
            "MODAL_REGION": "us-ashburn-1",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_OCI",
        },
        {"environment": "main", "region": "us-ashburn-1"},
    ),
    Host(
        "Koyeb",
        {
            "KOYEB_APP_NAME": "acme",
            "KOYEB_SERVICE_NAME": "shop",
            "KOYEB_SERVICE_ID": _UUID,
            "KOYEB_INSTANCE_ID": _UUID,
            "KOYEB_REGION": "fra",
            "KOYEB_DC": "fra1",
            "KOYEB_REGIONAL_DEPLOYMENT_ID": _UUID,
            "KOYEB_GIT_SHA": COMMIT,
            "KOYEB_GIT_BRANCH": "main",
            "KOYEB_GIT_REPOSITORY": "github.com/acme/shop",
        },
        {"service": "shop", "region": "fra", "deployment": _UUID},
        {"commit": COMMIT, "branch": "main", "url": "https://github.com/acme/shop"},
    ),
    Host(
        "Northflank",
        {
            "NF_OBJECT_ID": "shop",
            "NF_PROJECT_ID": "acme",
            "NF_DEPLOYMENT_SHA": COMMIT,
            "NF_DEPLOYMENT_REPO": "https://github.com/acme/shop",
            "NF_DEPLOYMENT_BRANCH": "main",
        },
        {"service": "shop"},
        {"commit": COMMIT, "branch": "main", "url": "https://github.com/acme/shop"},
    ),
    Host(
        "Replit",
        {"REPL_ID": "37c1a2e4", "REPL_SLUG": "shop", "REPL_OWNER": "ada", "REPLIT_DEPLOYMENT": "1"},
        {"service": "shop"},
    ),
    Host(
        "Hugging Face Spaces",
        {
            "SPACE_ID": "acme/shop",
            "SPACE_AUTHOR_NAME": "acme",
            "SPACE_REPO_NAME": "shop",
            "SPACE_TITLE": "Shop",
            "SPACE_HOST": "acme-shop.hf.space",
            "SPACE_CREATOR_USER_ID": "6032802e1f993496bc14d9e3",
            "CPU_CORES": "2",
            "MEMORY": "15Gi",
        },
        {"service": "shop"},
        {"url": "https://huggingface.co/spaces/acme/shop"},
    ),
    Host(
        "Dagster+",
        {
            "DAGSTER_CLOUD_DEPLOYMENT_NAME": "prod",
            "DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT": "1",
            "DAGSTER_CLOUD_GIT_SHA": COMMIT,
            "DAGSTER_CLOUD_GIT_BRANCH": "feature",
            "DAGSTER_CLOUD_GIT_REPO": "shop",
            "DAGSTER_CLOUD_PULL_REQUEST_ID": "17",
        },
        {"environment": "prod"},
        {"commit": COMMIT, "branch": "feature", "change": "17"},
    ),
    Host(
        "Databricks Apps",
        {
            "DATABRICKS_APP_NAME": "shop",
            "DATABRICKS_APP_PORT": "8000",
            "DATABRICKS_WORKSPACE_ID": "1234",
            "DATABRICKS_HOST": "example.cloud.databricks.com",
        },
        {"service": "shop"},
    ),
    Host("Databricks Model Serving", {"IS_IN_DB_MODEL_SERVING_ENV": "true"}),
    Host(
        "Google Cloud Functions",
        {
            "FUNCTION_TARGET": "handle",
            "FUNCTION_SIGNATURE_TYPE": "http",
            "K_SERVICE": "shop",
            "K_REVISION": "shop-00001-abc",
            "K_CONFIGURATION": "shop",
            "PORT": "8080",
        },
        {"service": "shop", "deployment": "shop-00001-abc"},
    ),
    Host(
        "Google Cloud Run",
        {
            "PORT": "8080",
            "K_SERVICE": "shop",
            "K_REVISION": "shop-00001-abc",
            "K_CONFIGURATION": "shop",
        },
        {"service": "shop", "deployment": "shop-00001-abc"},
    ),
    Host(
        "Google Cloud Run, a job",
        {
            "CLOUD_RUN_JOB": "shop",
            "CLOUD_RUN_EXECUTION": "shop-abc",
            "CLOUD_RUN_TASK_INDEX": "0",
            "CLOUD_RUN_TASK_COUNT": "1",
            "CLOUD_RUN_TASK_ATTEMPT": "0",
        },
        {"service": "shop"},
    ),
    Host(
        "Google App Engine",
        {
            "GAE_ENV": "standard",
            "GAE_SERVICE": "shop",
            "GAE_VERSION": "20261101t100000",
            "GAE_DEPLOYMENT_ID": "456789012345678901",
            "GAE_INSTANCE": "00c61b117c",
            "GAE_RUNTIME": "python312",
            "GAE_APPLICATION": "s~acme",
        },
        {"service": "shop", "deployment": "456789012345678901"},
        {"version": "20261101t100000"},
    ),
    Host(
        "AWS Lambda",
        {
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/shop",
            "AWS_REGION": "us-east-2",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
            "LAMBDA_TASK_ROOT": "/var/task",
        },
        {"service": "shop", "deployment": "7", "region": "us-east-2"},
    ),
    Host(
        "Amazon ECS",
        {
            "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/1234",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_REGION": "us-east-1",
        },
        {"region": "us-east-1"},
    ),
    Host(
        "Amazon SageMaker",
        {
            "TRAINING_JOB_NAME": "shop",
            "TRAINING_JOB_ARN": "arn:aws:sagemaker:us-east-1:111122223333:training-job/shop",
            "SM_CURRENT_HOST": "algo-1",
            "AWS_REGION": "us-east-1",
        },
        {"region": "us-east-1"},
    ),
    Host(
        "Azure Functions",
        {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS_EXTENSION_VERSION": "~4",
            "WEBSITE_SITE_NAME": "shop",
            "WEBSITE_SLOT_NAME": "Production",
            "WEBSITE_INSTANCE_ID": "0a1b",
            "WEBSITE_HOSTNAME": "shop.azurewebsites.net",
            "REGION_NAME": "West Europe",
        },
        {"service": "shop", "region": "West Europe"},
    ),
    Host(
        "Azure App Service, the default slot",
        {
            "WEBSITE_SITE_NAME": "shop-dev",
            "WEBSITE_SLOT_NAME": "Production",
            "WEBSITE_INSTANCE_ID": "0a1b",
            "WEBSITE_HOSTNAME": "shop-dev.azurewebsites.net",
            "WEBSITE_SKU": "Basic",
            "REGION_NAME": "West Europe",
        },
        {"service": "shop-dev", "region": "West Europe"},
    ),
    Host(
        "Azure App Service, another slot",
        {
            "WEBSITE_SITE_NAME": "shop",
            "WEBSITE_SLOT_NAME": "staging",
            "WEBSITE_INSTANCE_ID": "0a1b",
            "WEBSITE_HOSTNAME": "shop-staging.azurewebsites.net",
            "REGION_NAME": "West Europe",
        },
        {"service": "shop", "region": "West Europe", "environment": "staging"},
    ),
    Host(
        "Azure Container Apps",
        {
            "CONTAINER_APP_NAME": "shop",
            "CONTAINER_APP_REVISION": "shop--20mh1s9",
            "CONTAINER_APP_REPLICA_NAME": "shop--20mh1s9-86c8c4b497-zx9bq",
            "CONTAINER_APP_HOSTNAME": "shop--20mh1s9.example.azurecontainerapps.io",
            "CONTAINER_APP_PORT": "8080",
        },
        {"service": "shop", "deployment": "shop--20mh1s9"},
    ),
    Host(
        "Azure Container Apps, a job",
        {
            "CONTAINER_APP_JOB_NAME": "shop",
            "CONTAINER_APP_JOB_EXECUTION_NAME": "shop-iwpi4il",
        },
        {"service": "shop"},
    ),
    Host("Kubernetes", {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "HOSTNAME": "shop-5d9c-x2x"}),
)

for _host in HOSTS:

    @case(HOSTING, f"{_host.name}, without a checkout")
    def _(world, host=_host):
        image = world.folder("srv", {"app.py": program()})
        return world.start(
            "python", "app.py", cwd=image, environ=host.environ, **host.host, **host.code
        )

    @case(HOSTING, f"{_host.name}, a checkout of another commit")
    def _(world, host=_host):
        shop = world.repository()
        world.git(shop, "checkout", "-q", "--detach")
        code = {"version": any_of(None, host.code["version"])} if "version" in host.code else {}
        return world.start("python", "app.py", cwd=shop, environ=host.environ, **host.host, **code)


def _at_head(host, head):
    """The variables as they are where the platform has built what is checked out."""
    return {name: head if value == COMMIT else value for name, value in host.environ.items()}


for _host in HOSTS:
    if "branch" not in _host.code:
        continue

    @case(HOSTING, f"{_host.name}, its checkout")
    def _(world, host=_host):
        shop = world.repository()
        world.git(shop, "checkout", "-q", "--detach")
        environ = _at_head(host, world.head(shop))
        code = host.code | {"commit": GIT, "url": GIT}
        return world.start("python", "app.py", cwd=shop, environ=environ, **host.host, **code)


@case(HOSTING, "Vercel, another environment of its own")
def _(world):
    environ = {"VERCEL": "1", "VERCEL_ENV": "preview", "VERCEL_TARGET_ENV": "staging"}
    shop = world.repository()
    return world.start("python", "app.py", cwd=shop, environ=environ, environment="staging")


@case(HOSTING, "an installed program in an image")
def _(world):
    render = next(host for host in HOSTS if host.name == "Render")
    return world.start(
        *("shop-run",),
        cwd=world.folder("srv"),
        environ=render.environ,
        name="shop-run",
        version="1.2",
        service="shop",
        commit=any_of(None, COMMIT),
        branch=any_of(None, "main"),
    )


# --- Where a program is built --------------------------------------------------------------------


@dataclass(frozen=True)
class Builder:
    """A CI platform, in a build of a branch."""

    name: str
    environ: dict[str, str]
    code: dict[str, object]
    workspace: str | None = None
    """The variable with the folder of its checkout."""
    machine: dict[str, object] = field(default_factory=dict)
    """Facts of the machine or job that are not the code's."""


HUB = "https://github.com/acme/shop"
_CODE = {"commit": COMMIT, "branch": "release", "url": HUB}
BUILDERS = (
    Builder(
        "GitHub Actions",
        {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_SHA": COMMIT,
            "GITHUB_REF": "refs/heads/release",
            "GITHUB_REF_NAME": "release",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_RUN_ID": "1",
        },
        _CODE,
        "GITHUB_WORKSPACE",
    ),
    Builder(
        "GitLab CI/CD",
        {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": COMMIT,
            "CI_COMMIT_BRANCH": "release",
            "CI_COMMIT_REF_NAME": "release",
            "CI_PROJECT_URL": HUB,
            "CI_ENVIRONMENT_NAME": "staging",
        },
        _CODE,
        "CI_PROJECT_DIR",
        {"environment": "staging"},
    ),
    Builder(
        "Azure Pipelines",
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": COMMIT,
            "BUILD_SOURCEBRANCH": "refs/heads/release",
            "BUILD_SOURCEBRANCHNAME": "release",
            "BUILD_REPOSITORY_URI": HUB,
        },
        _CODE,
        "BUILD_SOURCESDIRECTORY",
    ),
    Builder(
        "Bitbucket Pipelines",
        {
            "BITBUCKET_BUILD_NUMBER": "42",
            "BITBUCKET_COMMIT": COMMIT,
            "BITBUCKET_BRANCH": "release",
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/acme/shop",
            "BITBUCKET_DEPLOYMENT_ENVIRONMENT": "staging",
        },
        _CODE | {"url": "http://bitbucket.org/acme/shop"},
        "BITBUCKET_CLONE_DIR",
        {"environment": "staging"},
    ),
    Builder(
        "Buildkite",
        {
            "BUILDKITE": "true",
            "BUILDKITE_COMMIT": COMMIT,
            "BUILDKITE_BRANCH": "release",
            "BUILDKITE_PULL_REQUEST": "false",
            "BUILDKITE_REPO": "git@github.com:acme/shop.git",
        },
        _CODE,
        "BUILDKITE_BUILD_CHECKOUT_PATH",
    ),
    Builder(
        "CircleCI",
        {
            "CIRCLECI": "true",
            "CIRCLE_SHA1": COMMIT,
            "CIRCLE_BRANCH": "release",
            "CIRCLE_REPOSITORY_URL": "git@github.com:acme/shop.git",
        },
        _CODE,
        "CIRCLE_WORKING_DIRECTORY",
    ),
    Builder(
        "Jenkins",
        {
            "JENKINS_URL": "https://jenkins.example.com/",
            "BUILD_NUMBER": "7",
            "GIT_COMMIT": COMMIT,
            "GIT_BRANCH": "origin/release",
            "GIT_URL": f"{HUB}.git",
        },
        _CODE,
        "WORKSPACE",
    ),
    Builder(
        "Travis CI",
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": COMMIT,
            "TRAVIS_BRANCH": "release",
            "TRAVIS_PULL_REQUEST": "false",
            "TRAVIS_REPO_SLUG": "acme/shop",
        },
        {"commit": COMMIT, "branch": "release"},
        "TRAVIS_BUILD_DIR",
    ),
    Builder(
        "AppVeyor",
        {
            "APPVEYOR": "True",
            "APPVEYOR_REPO_PROVIDER": "gitHub",
            "APPVEYOR_REPO_NAME": "acme/shop",
            "APPVEYOR_REPO_BRANCH": "release",
            "APPVEYOR_REPO_COMMIT": COMMIT,
        },
        _CODE,
        "APPVEYOR_BUILD_FOLDER",
    ),
    Builder(
        "Bitrise",
        {
            "BITRISE_IO": "true",
            "GIT_CLONE_COMMIT_HASH": COMMIT,
            "BITRISE_GIT_BRANCH": "release",
            "GIT_REPOSITORY_URL": f"{HUB}.git",
        },
        _CODE,
        "BITRISE_SOURCE_DIR",
    ),
    Builder(
        "Buddy",
        {
            "BUDDY": "true",
            "BUDDY_RUN_COMMIT": COMMIT,
            "BUDDY_RUN_BRANCH": "release",
            "BUDDY_SCM_URL": HUB,
        },
        _CODE,
    ),
    Builder(
        "Drone",
        {
            "DRONE": "true",
            "DRONE_COMMIT_SHA": COMMIT,
            "DRONE_BRANCH": "release",
            "DRONE_REPO_LINK": HUB,
        },
        _CODE,
        "DRONE_WORKSPACE",
    ),
    Builder(
        "AWS CodeBuild",
        {
            "CODEBUILD_BUILD_ID": "shop:b1e6661e-e4f2-4156-9ab9-82a19EXAMPLE",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
            "CODEBUILD_SOURCE_REPO_URL": f"{HUB}.git",
            "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/release",
            "AWS_REGION": "us-east-1",
        },
        _CODE,
        "CODEBUILD_SRC_DIR",
        {"region": "us-east-1"},
    ),
    Builder(
        "TeamCity",
        {"TEAMCITY_VERSION": "2025.11", "BUILD_VCS_NUMBER": COMMIT, "BUILD_NUMBER": "153"},
        {"commit": COMMIT},
    ),
    Builder(
        "Codefresh",
        {"CF_BUILD_ID": "5f2a", "CF_REVISION": COMMIT, "CF_BRANCH": "release"},
        {"commit": COMMIT, "branch": "release"},
    ),
    Builder(
        "Netlify",
        {
            "NETLIFY": "true",
            "CONTEXT": "production",
            "COMMIT_REF": COMMIT,
            "BRANCH": "release",
            "HEAD": "release",
            "REPOSITORY_URL": HUB,
            "DEPLOY_ID": "5b243e66",
            "SITE_NAME": "shop",
        },
        _CODE,
        None,
        {"environment": "production", "deployment": "5b243e66", "service": "shop"},
    ),
)


def _variables(builder, workspace, commit=COMMIT):
    variables = {
        name: commit if value == COMMIT else value for name, value in builder.environ.items()
    }
    return variables | ({builder.workspace: str(workspace)} if builder.workspace else {})


def _of_the_job(builder):
    """Facts of the machine, for code that is not the job's: they may be said or not."""
    return {fact: any_of(None, value) for fact, value in builder.machine.items()}


for _builder in BUILDERS:

    @case(CI, f"{_builder.name}, without a checkout")
    def _(world, builder=_builder):
        work = world.folder("work", {"app.py": program()})
        environ = _variables(builder, work)
        return world.start(
            "python", "app.py", cwd=work, environ=environ, **builder.code, **builder.machine
        )

    @case(CI, f"{_builder.name}, its checkout")
    def _(world, builder=_builder):
        shop = world.repository()
        world.git(shop, "checkout", "-q", "--detach")
        environ = _variables(builder, shop, world.head(shop))
        code = {"branch": builder.code.get("branch")}
        return world.start("python", "app.py", cwd=shop, environ=environ, **code, **builder.machine)

    @case(CI, f"{_builder.name}, a checkout of another repository")
    def _(world, builder=_builder):
        work = world.folder("work", {"app.py": program()})
        other = world.repository("other")
        world.git(other, "checkout", "-q", "--detach")
        environ = _variables(builder, work)
        return world.start("python", "app.py", cwd=other, environ=environ, **_of_the_job(builder))

    if _builder.workspace:

        @case(CI, f"{_builder.name}, a script outside of its workspace")
        def _(world, builder=_builder):
            work = world.folder("work", {"app.py": ""})
            world.folder("tools", {"tool.py": program()})
            return world.start(
                *("python", "../tools/tool.py"),
                cwd=work,
                environ=_variables(builder, work),
                name="tool.py",
                **_of_the_job(builder),
            )

    @case(CI, f"{_builder.name}, an installed program")
    def _(world, builder=_builder):
        work = world.folder("work", {"app.py": ""})
        return world.start(
            *("shop-run",),
            cwd=work,
            environ=_variables(builder, work),
            name="shop-run",
            version="1.2",
            **_of_the_job(builder),
        )


_ACTIONS = BUILDERS[0]


@case(CI, "GitHub Actions, a program that was installed from the workspace")
def _(world):
    work = world.folder("work", {"pyproject.toml": ""})
    direct_url = json.dumps({"url": work.as_uri(), "dir_info": {}})
    world.own_environment().install(SHOP, direct_url__json=direct_url)
    return world.start(
        *("shop-run",),
        cwd=work,
        environ=_variables(_ACTIONS, work),
        name="shop-run",
        version="1.2",
        **_ACTIONS.code,
    )


@case(CI, "GitHub Actions, a checkout in a folder of the workspace")
def _(world):
    world.folder("work")
    shop = world.repository("work/shop")
    world.git(shop, "checkout", "-q", "--detach")
    environ = _variables(_ACTIONS, world.root / "work", world.head(shop))
    return world.start("python", "app.py", cwd=shop, environ=environ, branch="release")


@case(CI, "GitHub Actions, a second checkout in the workspace")
def _(world):
    work = world.repository("work")
    tools = world.repository("work/tools")
    world.commit(tools)
    world.git(tools, "checkout", "-q", "--detach")
    world.git(tools, "config", "remote.origin.url", "https://github.com/acme/tools")
    environ = _variables(_ACTIONS, work, world.head(work))
    return world.start("python", "app.py", cwd=tools, environ=environ)


@case(CI, "GitHub Actions, a later commit of the checkout")
def _(world):
    shop = world.repository()
    head = world.head(shop)
    world.commit(shop)
    world.git(shop, "checkout", "-q", "--detach")
    environ = _variables(_ACTIONS, shop, head)
    return world.start("python", "app.py", cwd=shop, environ=environ)


@case(CI, "GitHub Actions, a script that the job has made")
def _(world):
    shop = world.repository()
    world.folder("shop", {"made.py": program()})
    environ = _variables(_ACTIONS, shop, world.head(shop))
    return world.start(
        *("python", "made.py"),
        cwd=shop,
        environ=environ,
        name="made.py",
        commit=any_of(None, world.head(shop)),
        branch=any_of(None, "release"),
        url=any_of(None, HUB),
    )


@case(CI, "GitHub Actions, a tag")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "--detach")
    environ = _variables(_ACTIONS, shop, world.head(shop)) | {"GITHUB_REF": "refs/tags/v1.2"}
    return world.start("python", "app.py", cwd=shop, environ=environ, tag="v1.2")


@case(CI, "GitHub Actions, a workspace through a symbolic link")
def _(world):
    shop = world.repository()
    (world.root / "link").symlink_to(shop)
    world.git(shop, "checkout", "-q", "--detach")
    environ = _variables(_ACTIONS, world.root / "link", world.head(shop))
    return world.start("python", "app.py", cwd=shop, environ=environ, branch="release")


@case(CI, "GitHub Actions, a folder whose name begins as the workspace's")
def _(world):
    work = world.folder("work", {"app.py": ""})
    near = world.folder("workshop", {"app.py": program()})
    return world.start("python", "app.py", cwd=near, environ=_variables(_ACTIONS, work))


@case(CI, "GitHub Actions, a test of an editable installation")
def _(world):
    from detectors.truth.environment import Wheel

    shop = world.repository()
    world.commit(shop, {"src/store/__init__.py": "", "src/store/main.py": program()})
    world.git(shop, "checkout", "-q", "--detach")
    environ = _variables(_ACTIONS, shop, world.head(shop))
    wheel = Wheel("store", "1.0", {}, {"store-run": "store.main:main"})
    world.commit(shop, {"pyproject.toml": '[project]\nname = "store"\nversion = "1.0"\n'})
    environ = _variables(_ACTIONS, shop, world.head(shop))
    world.own_environment().install_editable(wheel, shop, "src")
    return world.start(
        *("store-run",),
        cwd=shop,
        environ=environ,
        name="store-run",
        version="1.0",
        branch="release",
    )


# --- Names that people and deploy scripts set ----------------------------------------------------

_TARGETS = (
    {"HEROKU_APP_NAME": "shop-prod"},
    {"CONTAINER_APP_NAME": "shop-prod"},
    {"CONTAINER_APP_JOB_NAME": "shop-prod"},
    {"CLOUD_RUN_JOB": "shop-prod"},
    {"KOYEB_SERVICE_NAME": "shop-prod"},
    {"KOYEB_APP_NAME": "acme", "KOYEB_SERVICE_NAME": "shop-prod"},
    {"WEBSITE_SITE_NAME": "shop-prod"},
    {"WEBSITE_SITE_NAME": "shop-prod", "WEBSITE_SLOT_NAME": "staging"},
    {"AWS_LAMBDA_FUNCTION_NAME": "shop-prod", "AWS_REGION": "eu-west-1"},
    {
        "AWS_LAMBDA_FUNCTION_NAME": "shop",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_SAM_LOCAL": "true",
    },
    {"K_SERVICE": "shop-prod"},
    {"DAGSTER_CLOUD_DEPLOYMENT_NAME": "prod"},
    {"FLY_APP_NAME": "shop-prod", "FLY_REGION": "ams"},
    {"GAE_SERVICE": "shop-prod"},
    {"RAILWAY_SERVICE_NAME": "shop-prod", "RAILWAY_ENVIRONMENT_NAME": "production"},
    {"RENDER_SERVICE_NAME": "shop-prod"},
    {"VERCEL_ENV": "production"},
    {"SPACE_ID": "acme/shop"},
    {"TRAINING_JOB_NAME": "shop-prod"},
    {"DATABRICKS_APP_NAME": "shop-prod"},
    {"MODAL_ENVIRONMENT": "main"},
    {"NF_PROJECT_ID": "acme"},
    {"REPL_SLUG": "shop"},
    {"FUNCTIONS_WORKER_RUNTIME": "python"},
    {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"},
    {"ENVIRONMENT_NAME": "production", "CI_ENVIRONMENT_NAME": "production", "CONTEXT": "prod"},
    {"GIT_COMMIT": COMMIT, "GIT_BRANCH": "other", "BRANCH_NAME": "other", "CHANGE_ID": "5"},
)
for _target in _TARGETS:

    @case(TARGETS, f"{' and '.join(_target)} on a laptop")
    def _(world, target=_target):
        return world.start("python", "app.py", cwd=world.repository(), environ=target)

    @case(TARGETS, f"{' and '.join(_target)} in GitHub Actions")
    def _(world, target=_target):
        shop = world.repository()
        environ = _variables(_ACTIONS, shop, world.head(shop)) | target
        return world.start("python", "app.py", cwd=shop, environ=environ)


for _target in _TARGETS[:7]:

    @case(TARGETS, f"{' and '.join(_target)} in GitLab CI/CD, without a checkout")
    def _(world, target=_target):
        builder = BUILDERS[1]
        work = world.folder("work", {"app.py": program()})
        environ = _variables(builder, work) | target
        return world.start(
            "python", "app.py", cwd=work, environ=environ, **builder.code, **builder.machine
        )
