"""Where in a history a metric has changed: binary segmentation with one level for all of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from otel_mlflow_context.compare.history.series import Series, largest_difference
from otel_mlflow_context.compare.statistics import CONFIDENCE, holm

_FEWEST_DRAWS: Final = 1_999
_DRAWS_OF_A_PLACE: Final = 999
_PRECISION: Final = 10
"""How much smaller the smallest p-value must be than one that counts."""


@dataclass(frozen=True)
class Place:
    """A place of a series where it changes, between two others or its ends."""

    start: int
    """The change before it."""
    at: int
    """The first version after it."""
    stop: int
    """The change after it."""
    p_value: float
    corrected_p_value: float
    earliest: int = 0
    """The first and the last place where it may have happened (95 % confidence)."""
    latest: int = 0


def changes(series: Mapping[str, Series], level: float) -> dict[str, list[Place]]:
    """The places where each metric changes.

    Of each metric the largest difference at any place is tested, and adjusted for the number of
    metrics (Holm). Where it is significant, the parts before and after it are searched too, at a
    level in proportion to their length (Meinshausen 2008), so that all levels of such a part and
    its sisters sum to that of the whole. Then each place is looked for again between its
    neighbours, and what is not significant there is dropped: the first search may have found it
    only because another change was in the same part.

    Args:
        series: the metrics by name, each of two versions or more.
        level: the probability that any change is marked where all versions are equal, at most.
    """
    searches = {name: _Search(it, len(series), level) for name, it in series.items()}
    whole = [it.tested(0, len(it.series))[0] for it in searches.values()]
    for search, p_value in zip(searches.values(), holm(whole), strict=True):
        search.corrected_of_all = p_value
    return {
        name: [search.with_confidence(it) for it in search.places()]
        for name, search in searches.items()
    }


def is_untestable(series: Series, metrics: int, level: float) -> bool:
    """Whether there are too few traces for any change of one of some metrics to be found."""
    return len(series) < 2 or (  # noqa: PLR2004  # a version and another one
        series.scan(0, len(series)).attainable() > level / metrics
    )


class _Search:
    """The search in one metric."""

    def __init__(self, series: Series, metrics: int, level: float) -> None:
        self.series = series
        self.corrected_of_all = 1.0
        self._metrics = metrics
        self._level = level
        self._tested: dict[tuple[int, int], tuple[float, int]] = {}

    def places(self) -> list[Place]:
        found = self._segments(0, len(self.series))
        for _ in range(2 * len(self.series)):  # it ends much earlier
            places = self._between_neighbours(found)
            worst = max(places, key=lambda it: it.corrected_p_value, default=None)
            if worst is not None and worst.corrected_p_value > self._level:
                found.pop(places.index(worst))
                continue
            moved = sorted({it.at for it in places})
            if moved == found:
                return places
            found = moved
        return places

    def with_confidence(self, place: Place) -> Place:
        """A place with those around it that are as well possible.

        If it happened at a place, there is no change in the part before it nor in the one after
        it: a place is possible where neither has a significant one.
        """
        earliest = latest = place.at
        while earliest - 1 > place.start and self._is_possible(place, earliest - 1):
            earliest -= 1
        while latest + 1 < place.stop and self._is_possible(place, latest + 1):
            latest += 1
        return replace(place, earliest=earliest, latest=latest)

    def _is_possible(self, place: Place, at: int) -> bool:
        parts = [it for it in ((place.start, at), (at, place.stop)) if it[1] - it[0] > 1]
        return all(
            largest_difference(self.series.scan(*it), _DRAWS_OF_A_PLACE)[0]
            > (1 - CONFIDENCE) / 2  # of each part
            for it in parts
        )

    def tested(self, start: int, stop: int) -> tuple[float, int]:
        """The p-value of a part, and the place of its largest difference."""
        if (start, stop) not in self._tested:
            needed = _PRECISION * self._factor(start, stop) / self._level
            p_value, place = largest_difference(
                self.series.scan(start, stop), max(_FEWEST_DRAWS, math.ceil(needed))
            )
            self._tested[start, stop] = p_value, start + place
        return self._tested[start, stop]

    def _segments(self, start: int, stop: int) -> list[int]:
        if stop - start < 2 or self._corrected(start, stop) > self._level:  # noqa: PLR2004  # a place
            return []
        _, at = self.tested(start, stop)
        return [*self._segments(start, at), at, *self._segments(at, stop)]

    def _between_neighbours(self, found: list[int]) -> list[Place]:
        bounds = [0, *found, len(self.series)]
        places = []
        for start, stop in zip(bounds, itertools.islice(bounds, 2, None), strict=False):
            p_value, at = self.tested(start, stop)
            places.append(Place(start, at, stop, p_value, self._corrected(start, stop)))
        return places

    def _corrected(self, start: int, stop: int) -> float:
        if stop - start == len(self.series):
            return self.corrected_of_all
        return min(1.0, self._factor(start, stop) * self.tested(start, stop)[0])

    def _factor(self, start: int, stop: int) -> float:
        """What a p-value is multiplied by: the metrics, and the share of the places."""
        return self._metrics * (len(self.series) - 1) / (stop - start - 1)
