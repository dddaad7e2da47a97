"""Process facts as tags of MLflow runs.

MLflow finds `ProcessRunContext` by its entry point ``mlflow.run_context_provider``, and calls it
at each ``mlflow.start_run``.
"""

from __future__ import annotations

from dataclasses import replace

from mlflow.tracking.context.abstract_context import RunContextProvider

from otel_mlflow_context.detectors import detect_resource
from otel_mlflow_context.facts.metadata import metadata_from_attributes
from otel_mlflow_context.facts.process import process_facts
from otel_mlflow_context.settings import current_settings


class ProcessRunContext(RunContextProvider):  # type: ignore[misc]  # MLflow has no types
    """Adds process facts to the tags of a run, where the setting `runs` is on.

    Tags of the ``start_run`` call win over them; they win over what MLflow detects.
    """

    def in_context(self) -> bool:
        return current_settings().runs

    def tags(self) -> dict[str, str]:
        """The tags of a run: MLflow's own ``mlflow.source.git.commit`` ... and ``app_version`` ...

        ``mlflow.source.type`` is always the kind of run: MLflow's UI has icons for no other.
        """
        settings = replace(current_settings(), source_type="kind")
        facts = process_facts([detect_resource().attributes], settings)
        return metadata_from_attributes(facts, settings.metadata_keys)
