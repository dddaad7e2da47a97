"""The deployment detector: version, environment, deployment, region, service and logged model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource, ResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.settings import environment_variables as env

_VARIABLES: Final = (
    (env.APP_VERSION, semconv.SERVICE_VERSION),
    (env.APP_ENVIRONMENT, semconv.DEPLOYMENT_ENVIRONMENT_NAME),
    (env.DEPLOYMENT_ID, semconv.DEPLOYMENT_ID),
    (env.REGION, semconv.CLOUD_REGION),
    (env.MLFLOW_ACTIVE_MODEL_ID, semconv.MLFLOW_MODEL_ID),
)
"""Environment variables, and the resource attributes that they set."""


class DeploymentResourceDetector(ResourceDetector):
    """Detects the version, environment, deployment, region, service and logged model.

    From, highest first: ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` (all attributes that
    it names); ``APP_VERSION``, ``APP_ENVIRONMENT``, ``DEPLOYMENT_ID``, ``REGION`` and
    ``MLFLOW_ACTIVE_MODEL_ID``; the build stamp (version); the variables of the platform that the
    process runs on, or that built it (`platforms`); the installed distribution that the program
    belongs to (version).
    """

    def detect(self) -> Resource:
        variables = {it.attribute: str(it.value) for it in variable_findings(os.environ)}
        return Resource(_from_the_code() | variables | _from_opentelemetry())


def variable_findings(environ: Mapping[str, str]) -> list[Finding]:
    """The findings in the variables of a deployment, as MLflow's guide names them."""
    values = ((name, attribute, clean(environ.get(name))) for name, attribute in _VARIABLES)
    return [Finding(attribute, value, name) for name, attribute, value in values if value]


def _from_opentelemetry() -> dict[str, str]:
    # Cleaned but not cut: these are for every backend, and a pod's name alone can have 253
    # characters. What goes to MLflow is cut on its way.
    values = {
        attribute: clean(value, max_length=len(str(value)))
        for attribute, value in OTELResourceDetector().detect().attributes.items()
    }
    return {attribute: value for attribute, value in values.items() if value}


def _from_the_code() -> dict[str, str]:
    """What stamp, platforms and package hold besides the facts of the commit."""
    values = {
        attribute: clean(finding.value)
        for attribute, finding in _process.code().items()
        if not attribute.startswith(semconv.VCS_PREFIX)
    }
    return {attribute: value for attribute, value in values.items() if value}
