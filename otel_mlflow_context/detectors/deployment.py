"""The deployment detector: which deployment of which version this process is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource, ResourceDetector

from otel_mlflow_context import environment_variables as env
from otel_mlflow_context import names
from otel_mlflow_context.detectors._code import code_findings
from otel_mlflow_context.detectors._program import current_program
from otel_mlflow_context.values import clean

_VARIABLES: Final = (
    (env.APP_VERSION, names.SERVICE_VERSION),
    (env.APP_ENVIRONMENT, names.DEPLOYMENT_ENVIRONMENT_NAME),
    (env.DEPLOYMENT_ID, names.DEPLOYMENT_ID),
    (env.REGION, names.CLOUD_REGION),
    (env.MLFLOW_ACTIVE_MODEL_ID, names.MLFLOW_MODEL_ID),
)
"""Environment variables, and the resource attributes that they say."""


class DeploymentResourceDetector(ResourceDetector):
    """Detects the version, environment, deployment, region, service and logged model.

    From, highest first: ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` (all attributes that
    it names); ``APP_VERSION``, ``APP_ENVIRONMENT``, ``DEPLOYMENT_ID``, ``REGION`` and
    ``MLFLOW_ACTIVE_MODEL_ID``; for the version, the build stamp, and the installed distribution
    that the program belongs to.
    """

    def detect(self) -> Resource:
        attributes = _from_variables(os.environ) | _from_opentelemetry()
        if names.SERVICE_VERSION not in attributes and (version := _version_of_the_code()):
            attributes[names.SERVICE_VERSION] = version
        return Resource(attributes)


def _from_variables(environ: Mapping[str, str]) -> dict[str, str]:
    values = {attribute: clean(environ.get(name)) for name, attribute in _VARIABLES}
    return {attribute: value for attribute, value in values.items() if value}


def _from_opentelemetry() -> dict[str, str]:
    # Cleaned but not cut: these are for every backend, and a pod's name alone can have 253
    # characters. What goes to MLflow is cut on its way.
    values = {
        attribute: clean(value, max_length=len(str(value)))
        for attribute, value in OTELResourceDetector().detect().attributes.items()
    }
    return {attribute: value for attribute, value in values.items() if value}


def _version_of_the_code() -> str | None:
    version = code_findings(current_program(), dirty=False).get(names.SERVICE_VERSION)
    return clean(version.value) if version else None
