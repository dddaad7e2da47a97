"""Every process fact: as resource attributes, and as root span attributes and trace metadata."""

from __future__ import annotations

FACTS = {
    "vcs.ref.head.revision": "c0ffee",
    "vcs.ref.head.name": "main",
    "vcs.repository.url.full": "https://github.com/acme/app",
    "vcs.ref.head.dirty": True,
    "vcs.change.id": "42",
    "mlflow.source.name": "app.main:app",
    "mlflow.source.type": "LOCAL",
    "service.version": "1.10",
    "deployment.environment.name": "production",
    "deployment.id": "7",
    "cloud.region": "eu-west-1",
    "service.name": "qa",
    "mlflow.modelId": "m-1",
}
ATTRIBUTES = {
    "mlflow.source.git.commit": "c0ffee",
    "mlflow.source.git.branch": "main",
    "mlflow.source.git.repoURL": "https://github.com/acme/app",
    "mlflow.source.git.dirty": "true",
    "change_id": "42",
    "mlflow.source.name": "app.main:app",
    "mlflow.source.type": "production",
    "app_version": "1.10",
    "environment": "production",
    "deployment_id": "7",
    "region": "eu-west-1",
    "service_name": "qa",
    "mlflow.modelId": "m-1",
}
