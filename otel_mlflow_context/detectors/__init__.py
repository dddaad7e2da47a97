"""Resource detectors of process facts: which code runs in this process, and where."""

from __future__ import annotations

import functools
import logging
from typing import Final

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors.deployment import DeploymentResourceDetector
from otel_mlflow_context.detectors.git import GitResourceDetector
from otel_mlflow_context.detectors.source import SourceResourceDetector

__all__ = [
    "GitResourceDetector",
    "SourceResourceDetector",
    "DeploymentResourceDetector",
    "detect_resource",
]

_logger = logging.getLogger(__name__)

# The deployment comes last: OTEL_RESOURCE_ATTRIBUTES, which it reads, stand above everything.
_DETECTORS: Final[tuple[type[ResourceDetector], ...]] = (
    GitResourceDetector,
    SourceResourceDetector,
    DeploymentResourceDetector,
)


_process.read_early()


@functools.cache
def detect_resource() -> Resource:
    """The resources of the three detectors, merged: known attributes only, no SDK defaults.

    Detected once per process; a forked one keeps the result. Never raises: a detector that fails is
    logged, and the others count.

    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> provider = TracerProvider(resource=detect_resource())
    """
    resource = Resource({})
    for detector in _DETECTORS:
        try:
            resource = resource.merge(detector().detect())
        except Exception:
            _logger.warning("%s failed; its facts are missing", detector.__name__, exc_info=True)
    return resource
