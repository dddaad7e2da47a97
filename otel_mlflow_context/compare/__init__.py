"""Compare groups of traces: is the new version worse, why, and since when?

Needs the extra `compare`: ``pip install 'otel-mlflow-context[compare]'``; mlflow only for stores
that are no server. The public names are those of this module; the modules below it are internal.
"""

from otel_mlflow_context.compare.comparison import Comparison, compare_versions
from otel_mlflow_context.compare.explain.result import Cause, Explanation, Mix, Part, Segment
from otel_mlflow_context.compare.history.result import (
    Bisection,
    ChangePoint,
    Commit,
    LevelShift,
    Version,
)
from otel_mlflow_context.compare.history.version_history import History, version_history
from otel_mlflow_context.compare.metrics import Latency
from otel_mlflow_context.compare.models.listing import LinkedVersions, linked_versions
from otel_mlflow_context.compare.models.result import LinkedVersion
from otel_mlflow_context.compare.pipeline.waiting import NotEnoughTraces
from otel_mlflow_context.compare.result import Bucket, Change, Difference, Group, Judged, Verdict
from otel_mlflow_context.compare.sources.base import CannotCompare
from otel_mlflow_context.compare.statistics import Estimate

__all__ = [
    "compare_versions",
    "CannotCompare",
    "NotEnoughTraces",
    "Comparison",
    "Group",
    "Judged",
    "Difference",
    "Change",
    "Estimate",
    "Latency",
    "Bucket",
    "Verdict",
    "Explanation",
    "Part",
    "Cause",
    "Segment",
    "Mix",
    "version_history",
    "History",
    "Version",
    "ChangePoint",
    "LevelShift",
    "Bisection",
    "Commit",
    "linked_versions",
    "LinkedVersions",
    "LinkedVersion",
]
