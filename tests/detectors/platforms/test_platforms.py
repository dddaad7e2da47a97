"""What CI systems and hosting platforms say: each row of the table with its documented values."""

import json
import os
import re
import timeit
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.detectors.platforms import PLATFORMS, detected_platforms
from otel_mlflow_context.detectors.platforms.ci import CI
from otel_mlflow_context.detectors.platforms.hosting import HOSTING
from otel_mlflow_context.detectors.platforms.lookup import FACTS, is_known, variables_of
from otel_mlflow_context.facts.values import clean

COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"
MERGE = "ffac537e6cbbf934b08745a378932722df287a53"

REVISION = "vcs.ref.head.revision"
BRANCH = "vcs.ref.head.name"
TYPE = "vcs.ref.head.type"
TAG = "vcs.ref.head.tag"
URL = "vcs.repository.url.full"
CHANGE = "vcs.change.id"
SERVICE = "service.name"
VERSION = "service.version"
ENVIRONMENT = "deployment.environment.name"
DEPLOYMENT = "deployment.id"
DEPLOYMENT_NAME = "deployment.name"
REGION = "cloud.region"
PROVIDER = "cloud.provider"
PLATFORM = "cloud.platform"


def all_findings(environ):
    """Of all platforms, in their order."""
    return [finding for it in detected_platforms(environ) for finding in it.findings]


def merge_commits(environ):
    """The commits that platforms have made of a change, as far as the head is known too."""
    changes = [it.change for it in detected_platforms(environ) if it.change]
    known = [it for it in changes if it.head and it.commit]
    return {it.commit.value for it in known if it.commit.value != it.head.value}


def platforms(environ):
    return [row for row in PLATFORMS if is_known(row, environ)]


def found(environ):
    """As {attribute: (value, source)}; a platform has one finding an attribute."""
    findings = all_findings(environ)
    assert len({finding.attribute for finding in findings}) == len(findings)
    return {finding.attribute: (finding.value, finding.source) for finding in findings}


def branch(name, source):
    return {BRANCH: (name, source), TYPE: ("branch", source)}


def names(environ):
    return [row.name for row in platforms(environ)]


# --- The documented values -----------------------------------------------------------------------

HEROKU = "2c3a0b24069af49b3de35b8e8c26765c1dba9ff0"
RAILWAY = "d0beb8f5c55b36df7d674d55965a23b8d54ad69b"
VERCEL = "fa1eade47b73733d6312d5abfad33ce9e4068081"
NORTHFLANK = "c7d1f7f0e95116dce9cdfe126edcf782f6de8712"
FLY_IMAGE = "registry.fly.io/my-app-name:deployment-01H9RK9EYO9PGNBYAKGXSHV0PH"
KOYEB_DEPLOYMENT = "3a1bb3d0-7502-40a5-ae12-7e28f807531b"
CODEBUILD = "codebuild-demo-project:b1e6661e-e4f2-4156-9ab9-82a19EXAMPLE"

# Platform, what its page documents, what we make of that.
DOCUMENTED = [
    (
        "Heroku",
        {
            "DYNO": "web.1",
            "HEROKU_APP_ID": "9daa2797-e49b-4624-932f-ec3f9688e3da",
            "HEROKU_APP_NAME": "example-app",
            "HEROKU_BUILD_COMMIT": HEROKU,
            "HEROKU_SLUG_COMMIT": MERGE,
            "HEROKU_RELEASE_VERSION": "v42",
        },
        {
            REVISION: (HEROKU, "HEROKU_BUILD_COMMIT"),
            DEPLOYMENT: ("v42", "HEROKU_RELEASE_VERSION"),
            SERVICE: ("example-app", "HEROKU_APP_NAME"),
            PROVIDER: ("heroku", "HEROKU_APP_NAME"),
        },
    ),
    (
        "Heroku",
        {
            "DYNO": "web.1",
            "HEROKU_APP_NAME": "example-app-pr-5",
            "HEROKU_SLUG_COMMIT": HEROKU,
            "HEROKU_BRANCH": "feature",
            "HEROKU_PR_NUMBER": "5",
        },
        {
            REVISION: (HEROKU, "HEROKU_SLUG_COMMIT"),
            **branch("feature", "HEROKU_BRANCH"),
            CHANGE: ("5", "HEROKU_PR_NUMBER"),
            SERVICE: ("example-app-pr-5", "HEROKU_APP_NAME"),
            PROVIDER: ("heroku", "HEROKU_APP_NAME"),
        },
    ),
    (
        "Render",
        {
            "RENDER": "true",
            "IS_PULL_REQUEST": "false",
            "RENDER_GIT_COMMIT": COMMIT,
            "RENDER_GIT_BRANCH": "main",
            "RENDER_GIT_REPO_SLUG": "acme/shop",
            "RENDER_SERVICE_NAME": "myapp",
        },
        {
            REVISION: (COMMIT, "RENDER_GIT_COMMIT"),
            **branch("main", "RENDER_GIT_BRANCH"),
            SERVICE: ("myapp", "RENDER_SERVICE_NAME"),
        },
    ),
    (
        "Railway",
        {
            "RAILWAY_DEPLOYMENT_ID": "0f6b2d6e",
            "RAILWAY_ENVIRONMENT_NAME": "production",
            "RAILWAY_SERVICE_NAME": "backend-api",
            "RAILWAY_REPLICA_REGION": "us-west2",
            "RAILWAY_GIT_COMMIT_SHA": RAILWAY,
            "RAILWAY_GIT_BRANCH": "main",
            "RAILWAY_GIT_REPO_NAME": "myproject",
            "RAILWAY_GIT_REPO_OWNER": "mycompany",
        },
        {
            REVISION: (RAILWAY, "RAILWAY_GIT_COMMIT_SHA"),
            **branch("main", "RAILWAY_GIT_BRANCH"),
            URL: ("https://github.com/mycompany/myproject", "RAILWAY_GIT_REPO_NAME"),
            ENVIRONMENT: ("production", "RAILWAY_ENVIRONMENT_NAME"),
            DEPLOYMENT: ("0f6b2d6e", "RAILWAY_DEPLOYMENT_ID"),
            REGION: ("us-west2", "RAILWAY_REPLICA_REGION"),
            SERVICE: ("backend-api", "RAILWAY_SERVICE_NAME"),
        },
    ),
    (
        "Vercel",
        {
            "VERCEL": "1",
            "VERCEL_ENV": "preview",
            "VERCEL_TARGET_ENV": "staging",
            "VERCEL_REGION": "cdg1",
            "VERCEL_DEPLOYMENT_ID": "dpl_7Gw5ZMBpQA8h9GF832KGp7nwbuh3",
            "VERCEL_GIT_PROVIDER": "github",
            "VERCEL_GIT_REPO_SLUG": "my-site",
            "VERCEL_GIT_REPO_OWNER": "acme",
            "VERCEL_GIT_COMMIT_REF": "improve-about-page",
            "VERCEL_GIT_COMMIT_SHA": VERCEL,
            "VERCEL_GIT_PULL_REQUEST_ID": "23",
            "AWS_LAMBDA_FUNCTION_NAME": "ab12cd34",
        },
        {
            REVISION: (VERCEL, "VERCEL_GIT_COMMIT_SHA"),
            **branch("improve-about-page", "VERCEL_GIT_COMMIT_REF"),
            URL: ("https://github.com/acme/my-site", "VERCEL_GIT_REPO_SLUG"),
            CHANGE: ("23", "VERCEL_GIT_PULL_REQUEST_ID"),
            ENVIRONMENT: ("staging", "VERCEL_TARGET_ENV"),
            DEPLOYMENT: ("dpl_7Gw5ZMBpQA8h9GF832KGp7nwbuh3", "VERCEL_DEPLOYMENT_ID"),
            REGION: ("cdg1", "VERCEL_REGION"),
        },
    ),
    (
        "Fly.io",
        {
            "FLY_APP_NAME": "my-app-name",
            "FLY_MACHINE_ID": "91857266fe1938",
            "FLY_REGION": "ams",
            "FLY_IMAGE_REF": FLY_IMAGE,
        },
        {
            DEPLOYMENT: (FLY_IMAGE, "FLY_IMAGE_REF"),
            REGION: ("ams", "FLY_REGION"),
            SERVICE: ("my-app-name", "FLY_APP_NAME"),
        },
    ),
    (
        "Modal",
        {
            "MODAL_TASK_ID": "ta-01",
            "MODAL_ENVIRONMENT": "main",
            "MODAL_REGION": "us-ashburn-1",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_OCI",
            "MODAL_IDENTITY_TOKEN": "a secret",
        },
        {
            ENVIRONMENT: ("main", "MODAL_ENVIRONMENT"),
            REGION: ("us-ashburn-1", "MODAL_REGION"),
            PROVIDER: ("oracle_cloud", "MODAL_CLOUD_PROVIDER"),
        },
    ),
    (
        "Koyeb",
        {
            "KOYEB_SERVICE_NAME": "my-service",
            "KOYEB_REGION": "fra",
            "KOYEB_REGIONAL_DEPLOYMENT_ID": KOYEB_DEPLOYMENT,
            "KOYEB_GIT_SHA": COMMIT,
            "KOYEB_GIT_BRANCH": "main",
            "KOYEB_GIT_REPOSITORY": "github.com/koyeb/example-flask",
        },
        {
            REVISION: (COMMIT, "KOYEB_GIT_SHA"),
            **branch("main", "KOYEB_GIT_BRANCH"),
            URL: ("https://github.com/koyeb/example-flask", "KOYEB_GIT_REPOSITORY"),
            DEPLOYMENT: (KOYEB_DEPLOYMENT, "KOYEB_REGIONAL_DEPLOYMENT_ID"),
            REGION: ("fra", "KOYEB_REGION"),
            SERVICE: ("my-service", "KOYEB_SERVICE_NAME"),
        },
    ),
    (
        "Northflank",
        {
            "NF_OBJECT_ID": "my-service",
            "NF_PROJECT_ID": "my-project",
            "NF_DEPLOYMENT_SHA": NORTHFLANK,
            "NF_DEPLOYMENT_REPO": "https://gitservice.com/my-username/my-code-repo",
            "NF_DEPLOYMENT_BRANCH": "main",
        },
        {
            REVISION: (NORTHFLANK, "NF_DEPLOYMENT_SHA"),
            **branch("main", "NF_DEPLOYMENT_BRANCH"),
            URL: ("https://gitservice.com/my-username/my-code-repo", "NF_DEPLOYMENT_REPO"),
            SERVICE: ("my-service", "NF_OBJECT_ID"),
        },
    ),
    (
        "Replit",
        {"REPL_ID": "37c1a2e4", "REPL_SLUG": "my-repl", "REPL_OWNER": "ada"},
        {SERVICE: ("my-repl", "REPL_SLUG")},
    ),
    (
        "Hugging Face Spaces",
        {
            "SPACE_AUTHOR_NAME": "osanseviero",
            "SPACE_REPO_NAME": "i-like-flan",
            "SPACE_TITLE": "I Like Flan",
            "SPACE_ID": "osanseviero/i-like-flan",
        },
        {
            URL: ("https://huggingface.co/spaces/osanseviero/i-like-flan", "SPACE_ID"),
            SERVICE: ("i-like-flan", "SPACE_REPO_NAME"),
        },
    ),
    (
        "Dagster+",
        {
            "DAGSTER_CLOUD_DEPLOYMENT_NAME": "prod",
            "DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT": "1",
            "DAGSTER_CLOUD_GIT_SHA": COMMIT,
            "DAGSTER_CLOUD_GIT_BRANCH": "feature",
            "DAGSTER_CLOUD_GIT_REPO": "shop",
            "DAGSTER_CLOUD_PULL_REQUEST_ID": "17",
        },
        {
            REVISION: (COMMIT, "DAGSTER_CLOUD_GIT_SHA"),
            **branch("feature", "DAGSTER_CLOUD_GIT_BRANCH"),
            CHANGE: ("17", "DAGSTER_CLOUD_PULL_REQUEST_ID"),
            ENVIRONMENT: ("prod", "DAGSTER_CLOUD_DEPLOYMENT_NAME"),
            DEPLOYMENT_NAME: ("prod", "DAGSTER_CLOUD_DEPLOYMENT_NAME"),
        },
    ),
    (
        "Databricks Apps",
        {
            "DATABRICKS_APP_NAME": "my-app",
            "DATABRICKS_APP_PORT": "8000",
            "DATABRICKS_WORKSPACE_ID": "1234",
        },
        {SERVICE: ("my-app", "DATABRICKS_APP_NAME")},
    ),
    ("Databricks Model Serving", {"IS_IN_DB_MODEL_SERVING_ENV": "true"}, {}),
    (
        "Databricks compute",
        {"DATABRICKS_RUNTIME_VERSION": "15.4", "DB_IS_JOB_CLUSTER": "TRUE"},
        {},
    ),
    (
        "Google Cloud Functions",
        {
            "FUNCTION_TARGET": "handle",
            "FUNCTION_SIGNATURE_TYPE": "http",
            "K_SERVICE": "hello",
            "K_REVISION": "hello-00001-abc",
        },
        {
            DEPLOYMENT: ("hello-00001-abc", "K_REVISION"),
            SERVICE: ("hello", "K_SERVICE"),
            PROVIDER: ("gcp", "FUNCTION_TARGET"),
            PLATFORM: ("gcp_cloud_functions", "FUNCTION_TARGET"),
        },
    ),
    (
        "Google Cloud Run service",
        {
            "PORT": "8080",
            "K_SERVICE": "hello-world",
            "K_REVISION": "hello-world.1",
            "K_CONFIGURATION": "hello-world",
        },
        {
            DEPLOYMENT: ("hello-world.1", "K_REVISION"),
            SERVICE: ("hello-world", "K_SERVICE"),
            PROVIDER: ("gcp", "K_SERVICE"),
            PLATFORM: ("gcp_cloud_run", "K_SERVICE"),
        },
    ),
    (
        "Google Cloud Run job",
        {
            "CLOUD_RUN_JOB": "hello-world",
            "CLOUD_RUN_EXECUTION": "hello-world-abc",
            "CLOUD_RUN_TASK_INDEX": "0",
        },
        {
            SERVICE: ("hello-world", "CLOUD_RUN_JOB"),
            PROVIDER: ("gcp", "CLOUD_RUN_JOB"),
            PLATFORM: ("gcp_cloud_run", "CLOUD_RUN_JOB"),
        },
    ),
    (
        "Google App Engine",
        {
            "GAE_ENV": "standard",
            "GAE_SERVICE": "default",
            "GAE_VERSION": "20261101t100000",
            "GAE_DEPLOYMENT_ID": "456789012345678901",
        },
        {
            DEPLOYMENT: ("456789012345678901", "GAE_DEPLOYMENT_ID"),
            SERVICE: ("default", "GAE_SERVICE"),
            VERSION: ("20261101t100000", "GAE_VERSION"),
            PROVIDER: ("gcp", "GAE_SERVICE"),
            PLATFORM: ("gcp_app_engine", "GAE_SERVICE"),
        },
    ),
    (
        "AWS Lambda",
        {
            "AWS_LAMBDA_FUNCTION_NAME": "my-function",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_REGION": "us-east-2",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_SECRET_ACCESS_KEY": "a secret",
        },
        {
            DEPLOYMENT: ("7", "AWS_LAMBDA_FUNCTION_VERSION"),
            REGION: ("us-east-2", "AWS_REGION"),
            SERVICE: ("my-function", "AWS_LAMBDA_FUNCTION_NAME"),
            PROVIDER: ("aws", "AWS_LAMBDA_FUNCTION_NAME"),
            PLATFORM: ("aws_lambda", "AWS_LAMBDA_FUNCTION_NAME"),
        },
    ),
    (
        "Amazon ECS",
        {
            "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/1234",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_REGION": "us-east-1",
        },
        {
            REGION: ("us-east-1", "AWS_REGION"),
            PROVIDER: ("aws", "ECS_CONTAINER_METADATA_URI_V4"),
            PLATFORM: ("aws_ecs", "ECS_CONTAINER_METADATA_URI_V4"),
        },
    ),
    (
        "Amazon SageMaker training",
        {
            "TRAINING_JOB_NAME": "my-job",
            "TRAINING_JOB_ARN": "arn:aws:sagemaker:us-east-1:111122223333:training-job/my-job",
            "AWS_REGION": "us-east-1",
        },
        {REGION: ("us-east-1", "AWS_REGION"), PROVIDER: ("aws", "TRAINING_JOB_NAME")},
    ),
    (
        "Azure Functions",
        {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS_EXTENSION_VERSION": "~4",
            "WEBSITE_SITE_NAME": "my-function-app",
            "WEBSITE_HOSTNAME": "my-function-app-test.azurewebsites.net",
            "WEBSITE_SLOT_NAME": "test",
            "REGION_NAME": "West Europe",
        },
        {
            ENVIRONMENT: ("test", "WEBSITE_SLOT_NAME"),
            REGION: ("West Europe", "REGION_NAME"),
            SERVICE: ("my-function-app", "WEBSITE_SITE_NAME"),
            PROVIDER: ("azure", "FUNCTIONS_WORKER_RUNTIME"),
            PLATFORM: ("azure.functions", "FUNCTIONS_WORKER_RUNTIME"),
        },
    ),
    (
        "Azure App Service",
        {
            "WEBSITE_SITE_NAME": "my-app",
            "WEBSITE_INSTANCE_ID": "0a1b2c",
            "WEBSITE_SLOT_NAME": "staging",
            "REGION_NAME": "West Europe",
        },
        {
            ENVIRONMENT: ("staging", "WEBSITE_SLOT_NAME"),
            REGION: ("West Europe", "REGION_NAME"),
            SERVICE: ("my-app", "WEBSITE_SITE_NAME"),
            PROVIDER: ("azure", "WEBSITE_SITE_NAME"),
            PLATFORM: ("azure.app_service", "WEBSITE_SITE_NAME"),
        },
    ),
    (
        "Azure Container Apps",
        {
            "CONTAINER_APP_NAME": "my-containerapp",
            "CONTAINER_APP_REVISION": "my-containerapp--20mh1s9",
            "CONTAINER_APP_REPLICA_NAME": "my-containerapp--20mh1s9-86c8c4b497-zx9bq",
        },
        {
            DEPLOYMENT: ("my-containerapp--20mh1s9", "CONTAINER_APP_REVISION"),
            SERVICE: ("my-containerapp", "CONTAINER_APP_NAME"),
            PROVIDER: ("azure", "CONTAINER_APP_NAME"),
            PLATFORM: ("azure.container_apps", "CONTAINER_APP_NAME"),
        },
    ),
    (
        "Azure Container Apps job",
        {
            "CONTAINER_APP_JOB_NAME": "my-job",
            "CONTAINER_APP_JOB_EXECUTION_NAME": "my-job-iwpi4il",
        },
        {
            SERVICE: ("my-job", "CONTAINER_APP_JOB_NAME"),
            PROVIDER: ("azure", "CONTAINER_APP_JOB_NAME"),
            PLATFORM: ("azure.container_apps", "CONTAINER_APP_JOB_NAME"),
        },
    ),
    ("Kubernetes", {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "HOSTNAME": "web-5d9c-x2x"}, {}),
    (
        "GitHub Actions",
        {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_SHA": MERGE,
            "GITHUB_REF": "refs/heads/feature-branch-1",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "octocat/Hello-World",
        },
        {
            REVISION: (MERGE, "GITHUB_SHA"),
            **branch("feature-branch-1", "GITHUB_REF"),
            URL: ("https://github.com/octocat/Hello-World", "GITHUB_REPOSITORY"),
        },
    ),
    (
        "GitHub Actions",
        {"GITHUB_ACTIONS": "true", "GITHUB_SHA": COMMIT, "GITHUB_REF": "refs/tags/v1.2.3"},
        {REVISION: (COMMIT, "GITHUB_SHA"), TAG: ("v1.2.3", "GITHUB_REF")},
    ),
    (
        "GitHub Actions",  # `pull_request_target`: the base branch is what runs
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SHA": COMMIT,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_HEAD_REF": "feature",
        },
        {REVISION: (COMMIT, "GITHUB_SHA"), **branch("main", "GITHUB_REF")},
    ),
    (
        "GitLab CI/CD",
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": COMMIT,
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_REF_NAME": "main",
            "CI_PROJECT_URL": "https://gitlab.example.com/group-name/project-1",
            "CI_ENVIRONMENT_NAME": "production",
        },
        {
            REVISION: (COMMIT, "CI_COMMIT_SHA"),
            **branch("main", "CI_COMMIT_BRANCH"),
            URL: ("https://gitlab.example.com/group-name/project-1", "CI_PROJECT_URL"),
            ENVIRONMENT: ("production", "CI_ENVIRONMENT_NAME"),
        },
    ),
    (
        "GitLab CI/CD",
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": MERGE,
            "CI_MERGE_REQUEST_IID": "1",
            "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/1/merge",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": COMMIT,
        },
        {
            REVISION: (COMMIT, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"),
            **branch("feature", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"),
            CHANGE: ("1", "CI_MERGE_REQUEST_IID"),
        },
    ),
    (
        "GitLab CI/CD",
        {"GITLAB_CI": "true", "CI_COMMIT_SHA": COMMIT, "CI_COMMIT_TAG": "v1.2.3"},
        {REVISION: (COMMIT, "CI_COMMIT_SHA"), TAG: ("v1.2.3", "CI_COMMIT_TAG")},
    ),
    (
        "Azure Pipelines",
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": COMMIT,
            "BUILD_SOURCEBRANCH": "refs/heads/feature/tools",
            "BUILD_SOURCEBRANCHNAME": "tools",
            "BUILD_REPOSITORY_URI": "https://dev.azure.com/fabrikamfiber/_git/Scripts",
            "ENVIRONMENT_NAME": "smarthotel-dev",
        },
        {
            REVISION: (COMMIT, "BUILD_SOURCEVERSION"),
            **branch("feature/tools", "BUILD_SOURCEBRANCH"),
            URL: ("https://dev.azure.com/fabrikamfiber/_git/Scripts", "BUILD_REPOSITORY_URI"),
            ENVIRONMENT: ("smarthotel-dev", "ENVIRONMENT_NAME"),
        },
    ),
    (
        "Azure Pipelines",
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": MERGE,
            "BUILD_SOURCEBRANCH": "refs/pull/1/merge",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "17",
            "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/users/raisa/new-feature",
            "SYSTEM_PULLREQUEST_SOURCECOMMITID": COMMIT,
        },
        {
            REVISION: (COMMIT, "SYSTEM_PULLREQUEST_SOURCECOMMITID"),
            **branch("users/raisa/new-feature", "SYSTEM_PULLREQUEST_SOURCEBRANCH"),
            CHANGE: ("17", "SYSTEM_PULLREQUEST_PULLREQUESTID"),
        },
    ),
    (
        "Azure Pipelines",  # Team Foundation version control: no commit, and a person for a branch
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": "C1234",
            "BUILD_SOURCEBRANCH": "Gated_2016-06-06_05.20.51.4369;username@live.com",
        },
        {},
    ),
    (
        "Bitbucket Pipelines",
        {
            "BITBUCKET_BUILD_NUMBER": "42",
            "BITBUCKET_COMMIT": COMMIT,
            "BITBUCKET_BRANCH": "feature",
            "BITBUCKET_PR_ID": "9",
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/acme/shop",
            "BITBUCKET_DEPLOYMENT_ENVIRONMENT": "staging",
        },
        {
            REVISION: (COMMIT, "BITBUCKET_COMMIT"),
            **branch("feature", "BITBUCKET_BRANCH"),
            URL: ("http://bitbucket.org/acme/shop", "BITBUCKET_GIT_HTTP_ORIGIN"),
            CHANGE: ("9", "BITBUCKET_PR_ID"),
            ENVIRONMENT: ("staging", "BITBUCKET_DEPLOYMENT_ENVIRONMENT"),
        },
    ),
    (
        "Buildkite",
        {
            "BUILDKITE": "true",
            "BUILDKITE_COMMIT": COMMIT,
            "BUILDKITE_BRANCH": "main",
            "BUILDKITE_PULL_REQUEST": "123",
            "BUILDKITE_REPO": "git@github.com:acme-inc/my-project.git",
        },
        {
            REVISION: (COMMIT, "BUILDKITE_COMMIT"),
            **branch("main", "BUILDKITE_BRANCH"),
            URL: ("https://github.com/acme-inc/my-project", "BUILDKITE_REPO"),
            CHANGE: ("123", "BUILDKITE_PULL_REQUEST"),
        },
    ),
    (
        "Buildkite",
        {
            "BUILDKITE": "true",
            "BUILDKITE_COMMIT": "HEAD",
            "BUILDKITE_BRANCH": "v1.2.3",
            "BUILDKITE_TAG": "v1.2.3",
            "BUILDKITE_PULL_REQUEST": "false",
        },
        {TAG: ("v1.2.3", "BUILDKITE_TAG")},
    ),
    (
        "CircleCI",
        {
            "CIRCLECI": "true",
            "CIRCLE_SHA1": COMMIT,
            "CIRCLE_BRANCH": "feature",
            "CIRCLE_PULL_REQUEST": "https://github.com/acme/shop/pull/5",
            "CIRCLE_REPOSITORY_URL": "git@github.com:acme/shop.git",
        },
        {
            REVISION: (COMMIT, "CIRCLE_SHA1"),
            **branch("feature", "CIRCLE_BRANCH"),
            URL: ("https://github.com/acme/shop", "CIRCLE_REPOSITORY_URL"),
            CHANGE: ("5", "CIRCLE_PULL_REQUEST"),
        },
    ),
    (
        "CircleCI",  # a pull request from a fork
        {
            "CIRCLECI": "true",
            "CIRCLE_BRANCH": "pull/5",
            "CIRCLE_PR_NUMBER": "5",
            "CIRCLE_PULL_REQUEST": "https://github.com/acme/shop/pull/5",
        },
        {CHANGE: ("5", "CIRCLE_PR_NUMBER")},
    ),
    (
        "Jenkins",
        {
            "JENKINS_URL": "https://jenkins.example.com/",
            "GIT_COMMIT": COMMIT,
            "GIT_BRANCH": "origin/master",
            "GIT_URL": "https://ada:password@git.example.com/acme/shop.git",
        },
        {
            REVISION: (COMMIT, "GIT_COMMIT"),
            **branch("master", "GIT_BRANCH"),
            URL: ("https://git.example.com/acme/shop", "GIT_URL"),
        },
    ),
    (
        "Jenkins",
        {
            "JENKINS_URL": "https://jenkins.example.com/",
            "GIT_COMMIT": COMMIT,
            "GIT_BRANCH": "PR-24",
            "GIT_LOCAL_BRANCH": "PR-24",
            "BRANCH_NAME": "PR-24",
            "CHANGE_ID": "24",
            "CHANGE_BRANCH": "feature",
        },
        {
            REVISION: (COMMIT, "GIT_COMMIT"),
            **branch("feature", "CHANGE_BRANCH"),
            CHANGE: ("24", "CHANGE_ID"),
        },
    ),
    (
        "Jenkins",
        {
            "JENKINS_URL": "https://jenkins.example.com/",
            "BRANCH_NAME": "v1.2.3",
            "GIT_LOCAL_BRANCH": "detached",
            "GIT_BRANCH": "v1.2.3",
            "TAG_NAME": "v1.2.3",
        },
        {TAG: ("v1.2.3", "TAG_NAME")},
    ),
    (
        "Travis CI",
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": MERGE,
            "TRAVIS_BRANCH": "main",
            "TRAVIS_PULL_REQUEST": "12",
            "TRAVIS_PULL_REQUEST_BRANCH": "feature",
            "TRAVIS_PULL_REQUEST_SHA": COMMIT,
        },
        {
            REVISION: (COMMIT, "TRAVIS_PULL_REQUEST_SHA"),
            **branch("feature", "TRAVIS_PULL_REQUEST_BRANCH"),
            CHANGE: ("12", "TRAVIS_PULL_REQUEST"),
        },
    ),
    (
        "Travis CI",
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": COMMIT,
            "TRAVIS_BRANCH": "main",
            "TRAVIS_PULL_REQUEST": "false",
            "TRAVIS_PULL_REQUEST_BRANCH": "",
            "TRAVIS_PULL_REQUEST_SHA": "",
        },
        {REVISION: (COMMIT, "TRAVIS_COMMIT"), **branch("main", "TRAVIS_BRANCH")},
    ),
    (
        "Travis CI",
        {"TRAVIS": "true", "TRAVIS_BRANCH": "v1.2.3", "TRAVIS_TAG": "v1.2.3"},
        {TAG: ("v1.2.3", "TRAVIS_TAG")},
    ),
    (
        "AppVeyor",
        {
            "APPVEYOR": "True",
            "APPVEYOR_REPO_PROVIDER": "gitHub",
            "APPVEYOR_REPO_NAME": "owner-name/repo-name",
            "APPVEYOR_REPO_BRANCH": "master",
            "APPVEYOR_REPO_COMMIT": COMMIT,
        },
        {
            REVISION: (COMMIT, "APPVEYOR_REPO_COMMIT"),
            **branch("master", "APPVEYOR_REPO_BRANCH"),
            URL: ("https://github.com/owner-name/repo-name", "APPVEYOR_REPO_NAME"),
        },
    ),
    (
        "AppVeyor",
        {
            "APPVEYOR": "true",
            "APPVEYOR_PULL_REQUEST_NUMBER": "5",
            "APPVEYOR_PULL_REQUEST_HEAD_COMMIT": COMMIT,
            "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH": "pr-vicugna",
            "APPVEYOR_REPO_BRANCH": "master",
            "APPVEYOR_REPO_COMMIT": MERGE,
        },
        {
            REVISION: (COMMIT, "APPVEYOR_PULL_REQUEST_HEAD_COMMIT"),
            **branch("pr-vicugna", "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH"),
            CHANGE: ("5", "APPVEYOR_PULL_REQUEST_NUMBER"),
        },
    ),
    (
        "Bitrise",
        {
            "BITRISE_IO": "true",
            "GIT_CLONE_COMMIT_HASH": COMMIT,
            "BITRISE_GIT_BRANCH": "feature",
            "BITRISE_PULL_REQUEST": "6",
            "GIT_REPOSITORY_URL": "https://github.com/acme/shop.git",
        },
        {
            REVISION: (COMMIT, "GIT_CLONE_COMMIT_HASH"),
            **branch("feature", "BITRISE_GIT_BRANCH"),
            URL: ("https://github.com/acme/shop", "GIT_REPOSITORY_URL"),
            CHANGE: ("6", "BITRISE_PULL_REQUEST"),
        },
    ),
    (
        "Buddy",
        {
            "BUDDY": "true",
            "BUDDY_RUN_COMMIT": COMMIT,
            "BUDDY_RUN_BRANCH": "master",
            "BUDDY_RUN_PR_HEAD_BRANCH": "feature",
            "BUDDY_RUN_PR_NO": "27",
            "BUDDY_SCM_URL": "https://github.com/githubaccount/repository-name",
        },
        {
            REVISION: (COMMIT, "BUDDY_RUN_COMMIT"),
            **branch("feature", "BUDDY_RUN_PR_HEAD_BRANCH"),
            URL: ("https://github.com/githubaccount/repository-name", "BUDDY_SCM_URL"),
            CHANGE: ("27", "BUDDY_RUN_PR_NO"),
        },
    ),
    (
        "Buddy",
        {
            "BUDDY": "true",
            "BUDDY_EXECUTION_REVISION": COMMIT,
            "BUDDY_EXECUTION_BRANCH": "master",
            "BUDDY_EXECUTION_TAG": "v1.2.3",
        },
        {
            REVISION: (COMMIT, "BUDDY_EXECUTION_REVISION"),
            **branch("master", "BUDDY_EXECUTION_BRANCH"),
            TAG: ("v1.2.3", "BUDDY_EXECUTION_TAG"),
        },
    ),
    (
        "Drone",
        {
            "DRONE": "true",
            "DRONE_COMMIT_SHA": COMMIT,
            "DRONE_BRANCH": "master",
            "DRONE_SOURCE_BRANCH": "feature/develop",
            "DRONE_PULL_REQUEST": "42",
            "DRONE_REPO_LINK": "https://github.com/octocat/hello-world",
        },
        {
            REVISION: (COMMIT, "DRONE_COMMIT_SHA"),
            **branch("feature/develop", "DRONE_SOURCE_BRANCH"),
            URL: ("https://github.com/octocat/hello-world", "DRONE_REPO_LINK"),
            CHANGE: ("42", "DRONE_PULL_REQUEST"),
        },
    ),
    (
        "Drone",  # a promotion
        {
            "DRONE": "true",
            "DRONE_COMMIT_SHA": COMMIT,
            "DRONE_BRANCH": "master",
            "DRONE_GIT_HTTP_URL": "https://github.com/octocat/hello-world.git",
            "DRONE_DEPLOY_TO": "production",
        },
        {
            REVISION: (COMMIT, "DRONE_COMMIT_SHA"),
            **branch("master", "DRONE_BRANCH"),
            URL: ("https://github.com/octocat/hello-world", "DRONE_GIT_HTTP_URL"),
            ENVIRONMENT: ("production", "DRONE_DEPLOY_TO"),
        },
    ),
    (
        "AWS CodeBuild",
        {
            "CODEBUILD_BUILD_ID": CODEBUILD,
            "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
            "CODEBUILD_SOURCE_REPO_URL": "https://github.com/acme/shop.git",
            "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature",
            "CODEBUILD_WEBHOOK_TRIGGER": "pr/5",
            "AWS_REGION": "us-east-1",
        },
        {
            REVISION: (COMMIT, "CODEBUILD_RESOLVED_SOURCE_VERSION"),
            **branch("feature", "CODEBUILD_WEBHOOK_HEAD_REF"),
            URL: ("https://github.com/acme/shop", "CODEBUILD_SOURCE_REPO_URL"),
            CHANGE: ("5", "CODEBUILD_WEBHOOK_TRIGGER"),
            REGION: ("us-east-1", "AWS_REGION"),
            PROVIDER: ("aws", "CODEBUILD_BUILD_ID"),
        },
    ),
    (
        "AWS CodeBuild",  # a tag; and sources from a bucket
        {
            "CODEBUILD_BUILD_ID": CODEBUILD,
            "CODEBUILD_RESOLVED_SOURCE_VERSION": "arn:aws:s3:::bucket/source.zip",
            "CODEBUILD_SOURCE_REPO_URL": "s3://bucket/source.zip",
            "CODEBUILD_WEBHOOK_HEAD_REF": "refs/tags/v1.2.3",
            "CODEBUILD_WEBHOOK_TRIGGER": "tag/v1.2.3",
        },
        {
            TAG: ("v1.2.3", "CODEBUILD_WEBHOOK_HEAD_REF"),
            PROVIDER: ("aws", "CODEBUILD_BUILD_ID"),
        },
    ),
    (
        "TeamCity",
        {"TEAMCITY_VERSION": "2025.11", "BUILD_VCS_NUMBER": COMMIT, "BUILD_NUMBER": "153"},
        {REVISION: (COMMIT, "BUILD_VCS_NUMBER")},
    ),
    (
        "Codefresh",
        {
            "CF_BUILD_ID": "5f2a",
            "CF_REVISION": COMMIT,
            "CF_BRANCH": "feature",
            "CF_PULL_REQUEST_NUMBER": "8",
        },
        {
            REVISION: (COMMIT, "CF_REVISION"),
            BRANCH: ("feature", "CF_BRANCH"),  # or a tag: it may be either
            CHANGE: ("8", "CF_PULL_REQUEST_NUMBER"),
        },
    ),
    (
        "Codefresh",
        {"CF_BUILD_ID": "5f2a", "CF_BRANCH": "v1.2.3", "CF_RELEASE_TAG": "v1.2.3"},
        {TAG: ("v1.2.3", "CF_RELEASE_TAG")},
    ),
    (
        "Netlify",
        {
            "NETLIFY": "true",
            "CONTEXT": "deploy-preview",
            "PULL_REQUEST": "true",
            "REVIEW_ID": "1211",
            "COMMIT_REF": COMMIT,
            "BRANCH": "pull/1211/head",
            "HEAD": "feature",
            "REPOSITORY_URL": "https://x-access-token:secret@github.com/netlify-labs/demo",
            "DEPLOY_ID": "5b243e66dd6a547b4fee73ae",
            "SITE_NAME": "petsof",
        },
        {
            REVISION: (COMMIT, "COMMIT_REF"),
            **branch("feature", "HEAD"),
            URL: ("https://github.com/netlify-labs/demo", "REPOSITORY_URL"),
            CHANGE: ("1211", "REVIEW_ID"),
            ENVIRONMENT: ("deploy-preview", "CONTEXT"),
            DEPLOYMENT: ("5b243e66dd6a547b4fee73ae", "DEPLOY_ID"),
            SERVICE: ("petsof", "SITE_NAME"),
        },
    ),
]


@pytest.mark.parametrize(("platform", "environ", "expected"), DOCUMENTED)
def test_a_platform_says_what_its_documentation_promises(platform, environ, expected):
    assert names(environ) == [platform]
    assert found(environ) == expected


def test_every_row_has_its_documented_values_here():
    assert {platform for platform, _, _ in DOCUMENTED} == {row.name for row in PLATFORMS}


# What else is documented, one variable at a time: how the platform is known, the variable, its
# value, the attribute, and what it says there.
ALONE = [
    ({"VERCEL": "1"}, "VERCEL_ENV", "preview", ENVIRONMENT, "preview"),
    (
        {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/1234"},
        "AWS_DEFAULT_REGION",
        "us-west-2",
        REGION,
        "us-west-2",
    ),
    ({"GITHUB_ACTIONS": "true"}, "GITHUB_REF", "refs/pull/5/merge", CHANGE, "5"),
    (
        {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/pull/5/merge"},
        "GITHUB_HEAD_REF",
        "feature-branch-1",
        BRANCH,
        "feature-branch-1",
    ),
    (
        {"GITLAB_CI": "true"},
        "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME",
        "feature",
        BRANCH,
        "feature",
    ),
    ({"GITLAB_CI": "true"}, "CI_EXTERNAL_PULL_REQUEST_IID", "3", CHANGE, "3"),
    (
        {"TF_BUILD": "True", "SYSTEM_PULLREQUEST_PULLREQUESTID": "512"},
        "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER",
        "524",
        CHANGE,
        "524",
    ),
    ({"TF_BUILD": "True"}, "BUILD_SOURCEBRANCH", "refs/tags/your-tag-name", TAG, "your-tag-name"),
    ({"BITBUCKET_BUILD_NUMBER": "1"}, "BITBUCKET_TAG", "v1.2.3", TAG, "v1.2.3"),
    ({"CIRCLECI": "true"}, "CIRCLE_TAG", "v1.2.3", TAG, "v1.2.3"),
    ({"JENKINS_URL": "https://jenkins.example.com/"}, "BRANCH_NAME", "main", BRANCH, "main"),
    ({"JENKINS_URL": "https://jenkins.example.com/"}, "GIT_LOCAL_BRANCH", "dev", BRANCH, "dev"),
    ({"APPVEYOR": "True"}, "APPVEYOR_REPO_TAG_NAME", "v1.2.3", TAG, "v1.2.3"),
    ({"BITRISE_IO": "true"}, "BITRISE_GIT_TAG", "v1.2.3", TAG, "v1.2.3"),
    (
        {"BITRISE_IO": "true", "GIT_CLONE_COMMIT_HASH": MERGE},
        "BITRISE_GIT_COMMIT",
        COMMIT,
        REVISION,
        COMMIT,
    ),
    ({"BUDDY": "true"}, "BUDDY_RUN_BRANCH", "master", BRANCH, "master"),
    (
        {"BUDDY": "true", "BUDDY_EXECUTION_BRANCH": "master"},
        "BUDDY_EXECUTION_PULL_REQUEST_HEAD_BRANCH",
        "feature",
        BRANCH,
        "feature",
    ),
    ({"BUDDY": "true"}, "BUDDY_EXECUTION_PULL_REQUEST_NO", "27", CHANGE, "27"),
    ({"DRONE": "true"}, "DRONE_TAG", "v1.0.0", TAG, "v1.0.0"),
    ({"NETLIFY": "true"}, "BRANCH", "main", BRANCH, "main"),
]


@pytest.mark.parametrize(("known", "variable", "value", "attribute", "expected"), ALONE)
def test_each_other_documented_variable_says_its_part(known, variable, value, attribute, expected):
    assert found({**known, variable: value})[attribute] == (expected, variable)


def test_every_variable_of_the_table_has_been_seen_to_speak():
    """As the source of a finding for its attribute, for the sake of rows to come."""
    seen = {
        (attribute, source)
        for _, _, expected in DOCUMENTED
        for attribute, (_, source) in expected.items()
    } | {(attribute, variable) for _, variable, _, attribute, _ in ALONE}

    unseen = {
        (row.name, FACTS[fact], source)
        for row in PLATFORMS
        for fact, readings in row.readings.items()
        if fact != "cloud"
        for source in (variables_of(reading)[-1] for reading in readings)
        if (FACTS[fact], source) not in seen
    }

    # This one takes a file: see below.
    assert unseen == {("GitHub Actions", REVISION, "GITHUB_EVENT_PATH")}


# --- Rows ----------------------------------------------------------------------------------------


def test_every_line_of_the_tables_is_read():
    lines = [line for line in f"{HOSTING}{CI}".splitlines() if not line.lstrip().startswith("#")]

    optional = [line for row in PLATFORMS for line in (row.workspace, row.head_of_merge) if line]
    facts = [line for row in PLATFORMS for line in row.facts.splitlines()]
    assert len(lines) == 2 * len(PLATFORMS) + len(optional) + len(facts)
    for row in PLATFORMS:
        facts = [line.strip().partition("  ")[0] for line in row.facts.splitlines()]
        assert row.readings.keys() == {*facts} <= {*FACTS, "cloud"}


def test_a_row_names_its_page_and_its_variables():
    for row in PLATFORMS:
        assert row.page.startswith("https://")
        assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in asked_for(row))
    assert len({row.name for row in PLATFORMS}) == len(PLATFORMS)


def asked_for(row):
    other = f"{row.workspace} {row.head_of_merge}"
    return {*variables_of(row.facts), *row.conditions, *variables_of(other)}


# --- Which platform ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "platform", [row for row in PLATFORMS if row.readings], ids=lambda row: row.name
)
def test_a_platform_that_is_not_known_says_nothing(platform):
    its_variables = {*variables_of(platform.facts)}

    assert found(dict.fromkeys(its_variables - {*platform.conditions}, "1")) == {}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CI": "true", "GIT_COMMIT": COMMIT, "BRANCH_NAME": "main", "BRANCH": "main"},
        {"GITHUB_ACTIONS": "false", "GITHUB_SHA": COMMIT},
        {"GITHUB_ACTIONS": " ", "GITHUB_SHA": COMMIT},
        {"DYNO": "web.1"},  # Dokku sets it too
        {"MODAL_ENVIRONMENT": "main"},  # a setting of the client
        {"FLY_APP_NAME": "shop"},  # a setting of flyctl
        {"RAILWAY_ENVIRONMENT_NAME": "production"},  # `railway run` on somebody's laptop
        {"FUNCTIONS_WORKER_RUNTIME": "python"},  # `func start` on somebody's laptop
        {"AWS_REGION": "eu-west-1"},
        # Targets of deploy scripts.
        {"HEROKU_APP_NAME": "shop"},
        {"CONTAINER_APP_NAME": "shop", "CONTAINER_APP_JOB_NAME": "shop"},
        {"CLOUD_RUN_JOB": "shop", "K_SERVICE": "shop"},
        {"AWS_LAMBDA_FUNCTION_NAME": "shop"},
        {
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_SAM_LOCAL": "true",
        },
        {"KOYEB_APP_NAME": "acme", "KOYEB_SERVICE_NAME": "shop"},
        {"WEBSITE_SITE_NAME": "shop", "WEBSITE_SLOT_NAME": "staging"},
        {"DAGSTER_CLOUD_DEPLOYMENT_NAME": "prod"},
    ],
)
def test_settings_and_look_alikes_are_no_platform(environ):
    assert platforms(environ) == []
    assert all_findings(environ) == []


def test_knative_in_a_cluster_is_not_cloud_run():
    environ = {"K_SERVICE": "s", "K_REVISION": "s-1", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}

    assert names(environ) == ["Kubernetes"]


def test_what_runs_a_container_comes_before_what_built_it():
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": COMMIT,
        "K_SERVICE": "shop",
        "K_REVISION": "shop-00001-abc",
    }

    findings = all_findings(environ)

    assert names(environ) == ["Google Cloud Run service", "GitHub Actions"]
    assert [(finding.attribute, finding.source) for finding in findings] == [
        (DEPLOYMENT, "K_REVISION"),
        (SERVICE, "K_SERVICE"),
        (PROVIDER, "K_SERVICE"),
        (PLATFORM, "K_SERVICE"),
        (REVISION, "GITHUB_SHA"),
    ]


def test_a_job_of_jenkins_in_kubernetes_is_on_both():
    environ = {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "JENKINS_URL": "https://jenkins.example.com/",
        "GIT_COMMIT": COMMIT,
    }

    assert names(environ) == ["Kubernetes", "Jenkins"]
    assert found(environ) == {REVISION: (COMMIT, "GIT_COMMIT")}


def test_two_platforms_may_say_the_same_thing_each_in_its_turn():
    environ = {
        "RENDER": "true",
        "RENDER_GIT_COMMIT": COMMIT,
        "GITLAB_CI": "true",
        "CI_COMMIT_SHA": MERGE,
    }

    assert [(finding.value, finding.source) for finding in all_findings(environ)] == [
        (COMMIT, "RENDER_GIT_COMMIT"),
        (MERGE, "CI_COMMIT_SHA"),
    ]


def test_a_variable_of_one_platform_means_nothing_on_another():
    netlify = {"BRANCH": "main", "COMMIT_REF": COMMIT, "CONTEXT": "production", "HEAD": "main"}

    assert found({"TEAMCITY_VERSION": "2025.11", **netlify}) == {}


# --- Values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", "HEAD", "main", "abc123", "g" * 40, "0" * 65])
def test_what_does_not_look_like_a_commit_is_none(value):
    assert found({"RENDER": "true", "RENDER_GIT_COMMIT": value}) == {}


def test_a_blank_variable_leaves_the_word_to_the_next():
    environ = {"VERCEL": "1", "VERCEL_TARGET_ENV": " ", "VERCEL_ENV": "preview"}

    assert found(environ) == {ENVIRONMENT: ("preview", "VERCEL_ENV")}


@pytest.mark.parametrize(
    "ref",
    ["refs/pull/5/merge", "pull/5", "pull/5/head", "refs/tags/v1", "HEAD", "merge-requests/5/head"],
)
def test_the_ref_of_a_change_or_a_tag_is_no_branch(ref):
    assert found({"RENDER": "true", "RENDER_GIT_BRANCH": ref}) == {}


@pytest.mark.parametrize("name", ["refs/heads/pull/5", "pull-docs", "pr/5", "feature/5", "5"])
def test_a_branch_may_be_called_almost_anything(name):
    values = found({"RENDER": "true", "RENDER_GIT_BRANCH": name})

    assert values[BRANCH] == (name.removeprefix("refs/heads/"), "RENDER_GIT_BRANCH")


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ("5", "5"),
        ("pr/5", "5"),
        ("refs/pull/5/merge", "5"),
        ("https://github.com/acme/shop/pull/5", "5"),
        ("https://bitbucket.org/acme/shop/pull-requests/5", "5"),
        ("false", None),
        ("branch/5", None),
        ("https://github.com/acme/shop/pull/new", None),
        ("\u0665", None),
    ],
)
def test_a_change_is_known_by_its_number(value, change):
    values = found({"CIRCLECI": "true", "CIRCLE_PULL_REQUEST": value})

    assert values == ({CHANGE: (change, "CIRCLE_PULL_REQUEST")} if change else {})


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("gitlab", "https://gitlab.com/acme/shop"),
        ("bitbucket", "https://bitbucket.org/acme/shop"),
        ("kiln", None),
        ("", None),
    ],
)
def test_a_repository_has_an_address_where_its_host_is_known(provider, url):
    environ = {
        "APPVEYOR": "True",
        "APPVEYOR_REPO_PROVIDER": provider,
        "APPVEYOR_REPO_NAME": "acme/shop",
    }

    assert found(environ) == ({URL: (url, "APPVEYOR_REPO_NAME")} if url else {})


@pytest.mark.parametrize(
    "environ",
    [
        {"RAILWAY_DEPLOYMENT_ID": "d", "RAILWAY_GIT_REPO_OWNER": "acme"},
        {"VERCEL": "1", "VERCEL_GIT_PROVIDER": "github", "VERCEL_GIT_REPO_OWNER": "acme"},
        {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com/acme"},
    ],
)
def test_half_an_address_is_none(environ):
    assert URL not in found(environ)


def test_space_around_a_value_is_not_part_of_it():
    environ = {"RENDER": " true ", "RENDER_GIT_BRANCH": "\trefs/heads/main\n"}

    assert found(environ) == branch("main", "RENDER_GIT_BRANCH")


@pytest.mark.parametrize(
    "environ",
    [
        {"DRONE": "true", "DRONE_PULL_REQUEST": "5", "DRONE_BRANCH": "main"},
        {"TRAVIS": "true", "TRAVIS_PULL_REQUEST": "5", "TRAVIS_BRANCH": "main"},
        {"JENKINS_URL": "https://j.example.com", "CHANGE_ID": "5", "GIT_BRANCH": "PR-5"},
    ],
)
def test_in_a_change_the_branch_that_it_goes_into_is_not_its_branch(environ):
    assert BRANCH not in found(environ)


def test_the_default_slot_is_no_environment():
    environ = {"WEBSITE_SITE_NAME": "shop-dev", "WEBSITE_INSTANCE_ID": "0a1b2c"}

    assert ENVIRONMENT not in found({**environ, "WEBSITE_SLOT_NAME": "Production"})


def test_the_latest_version_of_a_function_is_no_deployment():
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST"}

    assert DEPLOYMENT not in found(environ)


@pytest.mark.parametrize(
    ("value", "provider"),
    [("CLOUD_PROVIDER_AWS", "aws"), ("gcp", "gcp"), ("CLOUD_PROVIDER_MOON", None)],
)
def test_a_cloud_has_the_name_of_the_conventions_or_none(value, provider):
    values = found({"MODAL_TASK_ID": "ta-1", "MODAL_CLOUD_PROVIDER": value})

    assert values == ({PROVIDER: (provider, "MODAL_CLOUD_PROVIDER")} if provider else {})


def test_clouds_have_values_of_the_semantic_conventions():
    from opentelemetry.semconv._incubating.attributes import cloud_attributes

    providers = {member.value for member in cloud_attributes.CloudProviderValues}
    # Older conventions have azure_functions for azure.functions.
    known = {member.value.replace(".", "_") for member in cloud_attributes.CloudPlatformValues}

    for row in PLATFORMS:
        for cloud in row.readings.get("cloud", ()):
            provider, _, platform = cloud.partition("/")
            assert provider in providers
            assert not platform or platform.replace(".", "_") in known


# --- The event of GitHub Actions -----------------------------------------------------------------


@pytest.fixture
def pull_request(tmp_path):
    """The environment of a workflow for a pull request, and the file with its event."""
    event = tmp_path / "event.json"
    head = {"sha": COMMIT, "ref": "feature"}
    event.write_text(json.dumps({"number": 5, "pull_request": {"head": head}}))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_SHA": MERGE,
        "GITHUB_REF": "refs/pull/5/merge",
        "GITHUB_HEAD_REF": "feature",
    }


def test_the_commit_of_a_pull_request_is_its_head_and_not_the_merge(pull_request):
    assert found(pull_request) == {
        REVISION: (COMMIT, "GITHUB_EVENT_PATH"),
        **branch("feature", "GITHUB_HEAD_REF"),
        CHANGE: ("5", "GITHUB_REF"),
    }
    assert merge_commits(pull_request) == {MERGE}


def test_what_runs_for_pull_request_target_is_the_base(pull_request):
    environ = {**pull_request, "GITHUB_REF": "refs/heads/main"}

    assert found(environ) == {REVISION: (MERGE, "GITHUB_SHA"), **branch("main", "GITHUB_REF")}
    assert merge_commits(environ) == set()


@pytest.mark.parametrize(
    "event",
    [
        "",
        "{",
        "[]",
        "null",
        '{"pull_request": null}',
        '{"pull_request": {"head": {}}}',
        '{"pull_request": {"head": {"sha": 5}}}',
        '{"pull_request": {"head": {"sha": "main"}}}',
        '{"pull_request": ' + "[" * 100_000,
        '{"pull_request": {"head": {"sha": "' + COMMIT + '"}}}' + " " * (1 << 20),
        b"\xff\xfe\x00",
    ],
    ids=lambda event: event[:40],
)
def test_a_damaged_event_is_as_none(event, pull_request, tmp_path, caplog, capsys):
    content = event if isinstance(event, bytes) else event.encode()
    (tmp_path / "event.json").write_bytes(content)

    assert found(pull_request)[REVISION] == (MERGE, "GITHUB_SHA")
    assert merge_commits(pull_request) == set()
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_an_event_that_is_no_file_is_as_none(pull_request, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "a\0b", "x" * 5000):
        environ = {**pull_request, "GITHUB_EVENT_PATH": str(path)}
        assert found(environ)[REVISION] == (MERGE, "GITHUB_SHA")


def test_no_file_is_read_outside_of_a_pull_request(pull_request):
    environ = Recorder({**pull_request, "GITHUB_REF": "refs/heads/main", "GITHUB_SHA": COMMIT})
    Path(environ["GITHUB_EVENT_PATH"]).unlink()

    assert found(environ)[REVISION] == (COMMIT, "GITHUB_SHA")


# --- Merge commits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environ"),
    [
        (platform, environ)
        for platform, environ, expected in DOCUMENTED
        if MERGE in environ.values() and platform not in {"Heroku", "GitHub Actions"}
    ],
)
def test_a_commit_that_the_platform_made_is_no_commit_of_the_change(platform, environ):
    assert found(environ)[REVISION][0] == COMMIT
    assert merge_commits(environ) == {MERGE}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"GITHUB_ACTIONS": "true", "GITHUB_SHA": COMMIT, "GITHUB_REF": "refs/pull/5/merge"},
        {"GITLAB_CI": "true", "CI_COMMIT_SHA": COMMIT},
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": COMMIT,
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": COMMIT.upper(),
        },
        {"TRAVIS": "true", "TRAVIS_COMMIT": "HEAD", "TRAVIS_PULL_REQUEST_SHA": COMMIT},
        {"RENDER": "true", "RENDER_GIT_COMMIT": COMMIT},
    ],
)
def test_without_another_head_there_is_no_merge_commit(environ):
    assert merge_commits(environ) == set()


# --- A guest in somebody's environment -----------------------------------------------------------


class Recorder(Mapping):
    """An environment that remembers what it was asked for, and cannot be listed."""

    def __init__(self, environ):
        self._environ = environ
        self.asked_for = set()

    def __getitem__(self, name):
        self.asked_for.add(name)
        return self._environ[name]

    def __iter__(self):
        raise AssertionError("the environment was listed")

    def __len__(self):
        raise AssertionError("the environment was counted")


SECRET = re.compile("TOKEN|SECRET|KEY|PASSWORD|CREDENTIAL", re.IGNORECASE)


def everything_known():
    """Every platform at once, as far as they do not exclude each other."""
    return {
        name: "1" if wanted is True else wanted
        for row in PLATFORMS
        for name, wanted in row.conditions.items()
        if wanted
    }


@pytest.mark.parametrize(
    "environ", [{}, everything_known(), *({**environ} for _, environ, _ in DOCUMENTED)]
)
def test_no_variable_with_the_name_of_a_secret_is_ever_asked_for(environ):
    recorder = Recorder(environ)

    all_findings(recorder)
    merge_commits(recorder)

    assert recorder.asked_for
    assert [name for name in recorder.asked_for if SECRET.search(name)] == []
    assert recorder.asked_for <= {name for row in PLATFORMS for name in asked_for(row)}


NAMES = sorted({name for row in PLATFORMS for name in asked_for(row)})


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=400)))
def test_nothing_that_a_variable_may_hold_raises_or_gets_through_unclean(values):
    for environ in (values, {**values, **everything_known()}):
        for finding in all_findings(environ):
            assert finding.value
            assert finding.value == clean(finding.value)
        merge_commits(environ)


def test_a_variable_that_is_not_utf8_is_replaced(monkeypatch):
    monkeypatch.setitem(os.environb, b"RENDER", b"true")
    monkeypatch.setitem(os.environb, b"RENDER_SERVICE_NAME", b"caf\xe9")

    assert found(dict(os.environ))[SERVICE] == ("caf\ufffd", "RENDER_SERVICE_NAME")


def test_looking_is_cheap(monkeypatch):
    for number in range(2000):
        monkeypatch.setenv(f"UNRELATED_{number}", "x" * 40)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    best = min(timeit.repeat(lambda: all_findings(os.environ), number=10, repeat=20)) / 10

    assert best < 0.0003
