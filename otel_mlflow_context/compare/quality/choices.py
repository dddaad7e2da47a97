"""One of a few texts a trace, as an observation of a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from otel_mlflow_context.compare import statistics
from otel_mlflow_context.compare.metrics import Limit, Outcome, Share


@dataclass(frozen=True)
class Choices:
    """How many traces have each text."""

    counts: Mapping[str, int]
    """The most frequent first."""

    @classmethod
    def of(cls, values: Sequence[str]) -> Choices:
        return cls(dict(Counter(values).most_common()))

    @property
    def shares(self) -> Mapping[str, Share]:
        """Of each text."""
        return {text: self.share(text) for text in self.counts}

    def share(self, text: str) -> Share:
        return Share(self.counts.get(text, 0), sum(self.counts.values()))

    def with_computed(self, values: Mapping[str, float]) -> Choices:  # noqa: ARG002  # no source computes it
        return self

    def compare(self, base: Choices, limit: Limit | None = None) -> Outcome | None:  # noqa: ARG002  # nothing is worse
        """Test whether the shares are the same; the difference is that of the most changed one."""
        total, base_total = sum(self.counts.values()), sum(base.counts.values())
        if not total or not base_total:
            return None
        found = {
            it: (self.counts.get(it, 0), total, base.counts.get(it, 0), base_total)
            for it in sorted({*self.counts, *base.counts})
        }
        p_value, effect, categories = statistics.homogeneity(
            [it[0] for it in found.values()], [it[2] for it in found.values()]
        )
        differences = [statistics.newcombe(*it) for it in found.values()]
        return Outcome(
            difference=max(differences, key=lambda it: abs(it.value)),
            p_value=p_value,
            increase=None,
            traces_needed=partial(statistics.traces_for_homogeneity, effect, categories),
        )
