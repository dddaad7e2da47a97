"""Combines the feedback that several judges gave to one trace under one assessment name."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from otel_mlflow_context.compare.sources.assessments import Assessment, Judge, Value

_YES: Final = {"yes": True, "true": True, "no": False, "false": False}
_UNDECIDED: Final = "unknown"
"""What MLflow's judges answer beside yes and no (`CategoricalRating`)."""
_HALF: Final = 0.5


class TraceFeedback(NamedTuple):
    """The feedback of one trace and name."""

    values: tuple[Value, ...]
    """The newest of each judge, the oldest first."""
    failed: int
    """The judges that ended with an error."""
    unusable: bool
    """Whether there is a value that cannot be compared: a list or an object."""


@dataclass
class GroupFeedback:
    """The feedback of one name on all traces of a group that were read."""

    values: list[tuple[Value, ...]] = field(default_factory=list)
    """Those of each judged trace."""
    failed: int = 0
    unusable: int = 0

    def add(self, found: TraceFeedback) -> None:
        if found.values:
            self.values.append(found.values)
        self.failed += found.failed
        self.unusable += found.unusable

    def kinds(self) -> set[type]:
        """The types of the values: `bool`, `float`, `str`; that of None for an undecided judge."""
        return {_kind(it) for values in self.values for it in values}

    def truths(self) -> Iterator[bool]:
        """Whether most judges of a trace decided for yes; none where there is no majority."""
        for values in self.values:
            decided = [_is_true(it) for it in values if _kind(it) is bool]
            share = sum(decided) / len(decided) if decided else _HALF
            if share != _HALF:
                yield share > _HALF

    def numbers(self) -> Iterator[float]:
        """The mean of the judges of each trace."""
        for values in self.values:
            yield math.fsum(map(_number, values)) / len(values)

    def choices(self) -> Iterator[str]:
        """What most judges of a trace chose; the newest, where they are divided."""
        for values in self.values:
            yield Counter(str(it) for it in reversed(values)).most_common(1)[0][0]


def feedback_of(assessments: Sequence[Assessment]) -> Mapping[str, TraceFeedback]:
    """The feedback of a trace, by the name of the assessment.

    A judge who has assessed a trace several times counts once: by the newest, or, where that is an
    error or no value, the newest before it.
    """
    newest: defaultdict[str, dict[Judge, Value]] = defaultdict(dict)
    failed: Counter[str] = Counter()
    unusable = set()
    for it in sorted(assessments, key=lambda it: it.time_ms):
        if it.failed:
            failed[it.name] += 1
        elif it.value is None:
            unusable.add(it.name)
        else:
            newest[it.name].pop(it.judge, None)  # so that the order is that of the time
            newest[it.name][it.judge] = it.value
    return {
        name: TraceFeedback(tuple(newest.get(name, {}).values()), failed[name], name in unusable)
        for name in {it.name: None for it in assessments}
    }


def _kind(value: Value) -> type:
    if not isinstance(value, str):
        return type(value)
    text = value.strip().lower()
    if text == _UNDECIDED:
        return type(None)
    return bool if text in _YES else str


def _number(value: Value) -> float:
    return float(_is_true(value)) if _kind(value) is bool else float(value)


def _is_true(value: Value) -> bool:
    return _YES[value.strip().lower()] if isinstance(value, str) else bool(value)
