"""The rows of assessments in the metric table: what kind each is, and what of it is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from otel_mlflow_context.compare import units
from otel_mlflow_context.compare.metrics import METRICS, Distribution, Metric, Observation, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.quality.feedback import GroupFeedback
from otel_mlflow_context.compare.sources.base import CannotCompare

QUALITY: Final = "quality"
"""All assessments, among the names of metrics."""
LOWER: Final = "lower"
HIGHER: Final = "higher"
NONE: Final = "none"
_DIRECTIONS: Final[dict[str, Literal["lower", "higher"] | None]] = {
    LOWER: "lower",
    HIGHER: "higher",
    NONE: None,
}
_MOST_TEXTS: Final = 10
"""With more, the text is an answer and no choice."""
_LONGEST_TEXT: Final = 100
_RESERVED: Final = {QUALITY, *(it.name for it in METRICS)}


@dataclass(frozen=True)
class Kind:
    """How the feedback of an assessment becomes an observation."""

    metric: Metric
    values: Callable[[GroupFeedback], Iterable[Any]]

    def observation(self, feedback: GroupFeedback) -> Observation:
        return self.metric.kind.of(list(self.values(feedback)))


def kind_of(name: str, groups: Sequence[GroupFeedback], better: str | None) -> Kind | None:
    """The kind of an assessment, the same for all groups; None where it cannot be compared.

    Args:
        name: of the assessment.
        groups: its feedback in each group.
        better: ``lower``, ``higher``, ``none``, or the best of its texts.

    Raises:
        CannotCompare: it has no such text.
    """
    kinds = {kind for it in groups for kind in it.kinds()}
    if not kinds:
        return None
    if bool in kinds and kinds <= {bool, type(None)}:
        return Kind(
            _row(name, Share, units.SHARE, direction_of(name, better or HIGHER)),
            GroupFeedback.truths,
        )
    if kinds <= {bool, float}:
        return Kind(
            _row(name, Distribution, units.NUMBER, direction_of(name, better or HIGHER)),
            GroupFeedback.numbers,
        )
    texts = {text for it in groups for text in it.choices()}
    if better in texts:
        return Kind(
            replace(_row(name, Share, units.SHARE, HIGHER), text=better),
            lambda it: (text == better for text in it.choices()),
        )
    if better not in (None, NONE):
        listed = ", ".join(repr(it) for it in sorted(texts)[:_MOST_TEXTS])
        raise CannotCompare(
            f"no trace has {better!r} as its {name}, to be better; they have {listed}"
        )
    if len(texts) > _MOST_TEXTS or max(map(len, texts)) > _LONGEST_TEXT:
        return None
    return Kind(_row(name, Choices, units.SHARE, None), GroupFeedback.choices)


def direction_of(name: str, better: str) -> Literal["lower", "higher"] | None:
    """The direction that a word means.

    Raises:
        CannotCompare: it means none.
    """
    if better not in _DIRECTIONS:
        raise CannotCompare(
            f"{name} has no texts: better must be lower, higher or none, got {better!r}"
        )
    return _DIRECTIONS[better]


def metric_name(assessment: str) -> str:
    """The name of an assessment among the metrics.

    >>> metric_name("correctness"), metric_name("latency")
    ('correctness', 'assessment latency')
    """
    return f"assessment {assessment}" if assessment in _RESERVED else assessment


def _row(
    name: str,
    kind: type[Observation],
    unit: units.Unit,
    better: Literal["lower", "higher"] | None,
) -> Metric:
    return Metric(
        *(metric_name(name), kind, unit),
        lambda _: None,
        key=name,
        assessment=name,
        larger="higher",
        missing="one of the two has no judged trace",
        better=better,
    )
