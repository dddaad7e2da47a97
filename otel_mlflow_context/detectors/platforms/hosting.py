"""Platforms that run the process, in the format that `lookup` describes."""

from __future__ import annotations

from typing import Final

HOSTING: Final = """\
Heroku  https://devcenter.heroku.com/articles/dyno-metadata
    # With `heroku labs:enable runtime-dyno-metadata` and `runtime-dyno-build-metadata`, or in
    # a review app (https://devcenter.heroku.com/articles/github-integration-review-apps).
    # The name alone may be a deploy script's target, and DYNO is set by others too.
    known by          HEROKU_APP_NAME DYNO
    commit            HEROKU_BUILD_COMMIT HEROKU_SLUG_COMMIT
    branch            HEROKU_BRANCH
    change            HEROKU_PR_NUMBER
    deployment        HEROKU_RELEASE_VERSION
    service           HEROKU_APP_NAME
    cloud             heroku
Render  https://render.com/docs/environment-variables
    # RENDER_GIT_REPO_SLUG leaves open at which host the repository is.
    known by          RENDER=true
    commit            RENDER_GIT_COMMIT
    branch            RENDER_GIT_BRANCH
    service           RENDER_SERVICE_NAME
Railway  https://docs.railway.com/reference/variables
    # The variables of git are there after a deployment from GitHub.
    known by          RAILWAY_DEPLOYMENT_ID
    commit            RAILWAY_GIT_COMMIT_SHA
    branch            RAILWAY_GIT_BRANCH
    repository        https://github.com/{RAILWAY_GIT_REPO_OWNER}/{RAILWAY_GIT_REPO_NAME}
    environment       RAILWAY_ENVIRONMENT_NAME
    deployment        RAILWAY_DEPLOYMENT_ID
    region            RAILWAY_REPLICA_REGION
    service           RAILWAY_SERVICE_NAME
Vercel  https://vercel.com/docs/environment-variables/system-environment-variables
    known by          VERCEL=1
    commit            VERCEL_GIT_COMMIT_SHA
    branch            VERCEL_GIT_COMMIT_REF
    repository        https://{VERCEL_GIT_PROVIDER|host}/{VERCEL_GIT_REPO_OWNER}/{VERCEL_GIT_REPO_SLUG}
    change            VERCEL_GIT_PULL_REQUEST_ID
    environment       VERCEL_TARGET_ENV VERCEL_ENV
    deployment        VERCEL_DEPLOYMENT_ID
    region            VERCEL_REGION
Fly.io  https://fly.io/docs/machines/runtime-environment/
    # A machine's version differs from machine to machine; the image is the deployment's.
    known by          FLY_APP_NAME FLY_MACHINE_ID
    deployment        FLY_IMAGE_REF
    region            FLY_REGION
    service           FLY_APP_NAME
Modal  https://modal.com/docs/guide/environment_variables
    # Not by MODAL_ENVIRONMENT, which is a setting of the client too.
    known by          MODAL_TASK_ID
    environment       MODAL_ENVIRONMENT
    region            MODAL_REGION
    cloud provider    {MODAL_CLOUD_PROVIDER|modal_cloud}
Koyeb  https://www.koyeb.com/docs/build-and-deploy/environment-variables
    # KOYEB_GIT_REPOSITORY has no scheme: github.com/acme/shop.
    known by          KOYEB_SERVICE_NAME KOYEB_REGIONAL_DEPLOYMENT_ID
    commit            KOYEB_GIT_SHA
    branch            KOYEB_GIT_BRANCH
    repository        KOYEB_GIT_REPOSITORY https://{KOYEB_GIT_REPOSITORY}
    deployment        KOYEB_REGIONAL_DEPLOYMENT_ID
    region            KOYEB_REGION
    service           KOYEB_SERVICE_NAME
Northflank  https://northflank.com/docs/v1/application/run/inject-runtime-variables
    known by          NF_PROJECT_ID NF_OBJECT_ID
    commit            NF_DEPLOYMENT_SHA
    branch            NF_DEPLOYMENT_BRANCH
    repository        NF_DEPLOYMENT_REPO
    service           NF_OBJECT_ID
Replit  https://docs.replit.com/replit-workspace/workspace-features/secrets
    # Not confirmed: the page was not to be had. Replit's own templates know it by REPL_ID.
    known by          REPL_ID
    service           REPL_SLUG
Hugging Face Spaces  https://huggingface.co/docs/hub/spaces-overview#helper-environment-variables
    known by          SPACE_ID SPACE_REPO_NAME
    repository        https://huggingface.co/spaces/{SPACE_ID}
    service           SPACE_REPO_NAME
Dagster+  https://docs.dagster.io/dagster-plus/managing-deployments/reserved-environment-variables
    # A deployment is what others call an environment. The commit is a branch deployment's.
    # The name alone is a setting of its command line too.
    known by          DAGSTER_CLOUD_DEPLOYMENT_NAME DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT
    commit            DAGSTER_CLOUD_GIT_SHA
    branch            DAGSTER_CLOUD_GIT_BRANCH
    change            DAGSTER_CLOUD_PULL_REQUEST_ID
    environment       DAGSTER_CLOUD_DEPLOYMENT_NAME
    deployment name   DAGSTER_CLOUD_DEPLOYMENT_NAME
Databricks Apps  https://docs.databricks.com/en/dev-tools/databricks-apps/system-env.html
    known by          DATABRICKS_APP_NAME DATABRICKS_APP_PORT
    service           DATABRICKS_APP_NAME
Databricks Model Serving  https://docs.databricks.com/en/machine-learning/model-serving/index.html
    # No variable names the endpoint. The one here is what MLflow goes by.
    known by          IS_IN_DB_MODEL_SERVING_ENV=true
Databricks compute  https://docs.databricks.com/en/init-scripts/environment-variables.html
    # Notebooks and jobs. The variables are of the cluster, not of what runs on it.
    known by          DATABRICKS_RUNTIME_VERSION
Google Cloud Functions  https://cloud.google.com/functions/docs/configuring/env-var
    # 2nd generation; the first has no Python that we run on. The region is known only to the
    # metadata server, here and below.
    known by          FUNCTION_TARGET K_SERVICE K_REVISION !KUBERNETES_SERVICE_HOST
    deployment        K_REVISION
    service           K_SERVICE
    cloud             gcp/gcp_cloud_functions
Google Cloud Run service  https://cloud.google.com/run/docs/container-contract#env-vars
    # Knative in a cluster of one's own sets the same variables.
    known by          K_SERVICE K_REVISION !FUNCTION_TARGET !KUBERNETES_SERVICE_HOST
    deployment        K_REVISION
    service           K_SERVICE
    cloud             gcp/gcp_cloud_run
Google Cloud Run job  https://cloud.google.com/run/docs/container-contract#jobs-env-vars
    # CLOUD_RUN_EXECUTION is one run of the job, not its deployment.
    known by          CLOUD_RUN_JOB CLOUD_RUN_EXECUTION
    service           CLOUD_RUN_JOB
    cloud             gcp/gcp_cloud_run
Google App Engine  https://cloud.google.com/appengine/docs/standard/python3/runtime#environment_variables
    known by          GAE_SERVICE GAE_VERSION
    deployment        GAE_DEPLOYMENT_ID
    service           GAE_SERVICE
    version           GAE_VERSION
    cloud             gcp/gcp_app_engine
AWS Lambda  https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    # Vercel runs on it, with names of functions that mean nothing outside; `sam local` sets the
    # variables on somebody's laptop.
    known by          AWS_LAMBDA_FUNCTION_NAME LAMBDA_TASK_ROOT !VERCEL !AWS_SAM_LOCAL
    deployment        AWS_LAMBDA_FUNCTION_VERSION
    region            AWS_REGION
    service           AWS_LAMBDA_FUNCTION_NAME
    cloud             aws/aws_lambda
Amazon ECS  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-environment-variables.html
    # Service and task are known only to the metadata endpoint.
    known by          ECS_CONTAINER_METADATA_URI_V4
    region            AWS_REGION AWS_DEFAULT_REGION
    cloud             aws/aws_ecs
Amazon SageMaker training  https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    # Training jobs only: nothing documented tells a container that it serves an endpoint.
    # Not confirmed: the page was not to be had.
    known by          TRAINING_JOB_NAME TRAINING_JOB_ARN
    region            AWS_REGION
    cloud             aws
Azure Functions  https://learn.microsoft.com/azure/azure-functions/functions-app-settings
    known by          FUNCTIONS_WORKER_RUNTIME WEBSITE_SITE_NAME WEBSITE_HOSTNAME
    environment       {WEBSITE_SLOT_NAME|slot}
    region            REGION_NAME
    service           WEBSITE_SITE_NAME
    cloud             azure/azure.functions
Azure App Service  https://learn.microsoft.com/azure/app-service/reference-app-settings
    known by          WEBSITE_SITE_NAME WEBSITE_INSTANCE_ID !FUNCTIONS_WORKER_RUNTIME
    environment       {WEBSITE_SLOT_NAME|slot}
    region            REGION_NAME
    service           WEBSITE_SITE_NAME
    cloud             azure/azure.app_service
Azure Container Apps  https://learn.microsoft.com/azure/container-apps/environment-variables#apps
    known by          CONTAINER_APP_NAME CONTAINER_APP_REPLICA_NAME
    deployment        CONTAINER_APP_REVISION
    service           CONTAINER_APP_NAME
    cloud             azure/azure.container_apps
Azure Container Apps job  https://learn.microsoft.com/azure/container-apps/environment-variables#jobs
    known by          CONTAINER_APP_JOB_NAME CONTAINER_APP_JOB_EXECUTION_NAME
    service           CONTAINER_APP_JOB_NAME
    cloud             azure/azure.container_apps
Kubernetes  https://kubernetes.io/docs/concepts/containers/container-environment/
    # What the downward API puts into variables has the names that the manifest gives it.
    known by          KUBERNETES_SERVICE_HOST
"""
