"""One metric over the versions, and the largest difference between those before and after a place.

Under the hypothesis that all versions are equal, each trace might as well be of another one. So
the distribution of the largest difference is that of traces which are dealt out anew to versions
of the same sizes (a permutation test), whatever the distribution of the metric is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from otel_mlflow_context.compare.metrics import Distribution, Observation, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.statistics import Values

Array = npt.NDArray[Any]

_FIRST_LOOK: Final = 199
"""Permutations after which a difference that is nothing special is left alone."""
_NOTHING_SPECIAL: Final = 0.2
_SEED: Final = 20261125
"""So that the same traces have the same answer."""
_BATCH: Final = 1_000
_BINARY: Final = 2


class Scan(Protocol):
    """The sums of a metric over each version, and how they would differ by chance."""

    sums: Array

    def statistics(self, sums: Array) -> Array:
        """The difference between the versions before and after each place; last axis."""
        ...

    def draws(self, dice: np.random.Generator, count: int) -> Array:
        """The sums when traces are dealt out anew."""
        ...

    def attainable(self) -> float:
        """The smallest p-value that the clearest difference could have."""
        ...


class Ranks:
    """Numbers: the sum of their ranks, standardized, as in the Mann-Whitney test."""

    def __init__(self, values: Sequence[Values]) -> None:
        sizes = np.array([len(it) for it in values])
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._ranks = stats.rankdata(np.concatenate(values))
        self.sums: Array = np.add.reduceat(self._ranks, self._starts)
        total, self._before = int(sizes.sum()), np.cumsum(sizes)[:-1]
        self._total = total
        self._expected = self._before * (total + 1) / 2
        # Of a sum that is drawn without replacement.
        self._variance = self._ranks.var() * self._before * (total - self._before) / (total - 1)

    def statistics(self, sums: Array) -> Array:
        squares = (np.cumsum(sums, axis=-1)[..., :-1] - self._expected) ** 2
        found: Array = np.divide(
            squares, self._variance, out=np.zeros_like(squares), where=self._variance > 0
        )
        return found

    def draws(self, dice: np.random.Generator, count: int) -> Array:
        return np.array(
            [np.add.reduceat(dice.permutation(self._ranks), self._starts) for _ in range(count)]
        )

    def attainable(self) -> float:
        if not self._variance.any():
            return 1.0
        return float(2 / special.comb(self._total, self._before).max())


class Counts:
    """Categories: the likelihood ratio statistic of equal shares (G-test)."""

    def __init__(self, counts: Array) -> None:
        self._counts = counts
        self._sizes = counts.sum(axis=1)
        self._of_categories = counts.sum(axis=0)
        self._before = np.cumsum(self._sizes)[:-1]
        self.sums: Array = counts.ravel()

    def statistics(self, sums: Array) -> Array:
        tables = sums.reshape(*sums.shape[:-1], *self._counts.shape)
        before = np.cumsum(tables, axis=-2)[..., :-1, :]
        found: Array = 2 * (
            _entropy(before, self._before)
            + _entropy(self._of_categories - before, self._sizes.sum() - self._before)
            - _entropy(self._of_categories, self._sizes.sum())
        )
        return found

    def draws(self, dice: np.random.Generator, count: int) -> Array:
        versions, categories = self._counts.shape
        if categories == _BINARY:
            first = dice.multivariate_hypergeometric(
                self._sizes, self._of_categories[0], size=count, method="marginals"
            )
            return np.stack([first, self._sizes - first], axis=-1).reshape(count, -1)
        version_of = np.repeat(np.arange(versions) * categories, self._sizes)
        category_of = np.repeat(np.arange(categories), self._of_categories)
        return np.array(
            [
                np.bincount(version_of + dice.permutation(category_of), minlength=self.sums.size)
                for _ in range(count)
            ]
        )

    def attainable(self) -> float:
        # All of a category before, or all of it after a place.
        total = self._sizes.sum()
        rare = np.sort(self._of_categories)[:-1].sum()
        sides = np.concatenate([self._before, total - self._before])
        found = stats.hypergeom.pmf(np.minimum(rare, sides), total, rare, sides)
        return float(found.min()) if rare else 1.0


def _entropy(counts: Array, totals: Any) -> Array:
    found: Array = special.xlogy(counts, counts).sum(axis=-1) - special.xlogy(totals, totals)
    return found


@dataclass(frozen=True)
class Series:
    """A metric of the versions that have it."""

    positions: tuple[int, ...]
    """The versions' places in the history."""
    observations: tuple[Observation, ...]

    @classmethod
    def of(cls, observations: Sequence[Observation | None]) -> Series:
        known = {at: it for at, it in enumerate(observations) if it is not None and _size(it)}
        return cls(tuple(known), tuple(known.values()))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def traces(self) -> int:
        return sum(map(_size, self.observations))

    def scan(self, start: int, stop: int) -> Scan:
        """A part of it, for a test."""
        part = self.observations[start:stop]
        values = [it.values for it in part if isinstance(it, Distribution)]
        if values:
            return Ranks(values)
        shares = [(it.count, it.total - it.count) for it in part if isinstance(it, Share)]
        if shares:
            return Counts(np.array(shares))
        texts = sorted({text for it in part if isinstance(it, Choices) for text in it.counts})
        return Counts(
            np.array(
                [
                    [it.counts.get(text, 0) for text in texts]
                    for it in part
                    if isinstance(it, Choices)
                ]
            )
        )

    def pooled(self, start: int, stop: int) -> Observation:
        """The traces of a part of it, as one observation."""
        part = self.observations[start:stop]
        values = [it.values for it in part if isinstance(it, Distribution)]
        if values:
            return Distribution.of(list(np.concatenate(values)))
        shares = [it for it in part if isinstance(it, Share)]
        if shares:
            return Share(sum(it.count for it in shares), sum(it.total for it in shares))
        texts: Counter[str] = Counter()
        for it in part:
            texts.update(it.counts if isinstance(it, Choices) else {})
        return Choices(dict(texts.most_common()))


def largest_difference(scan: Scan, draws: int) -> tuple[float, int]:
    """The permutation test of the largest difference at any place.

    Args:
        scan: two versions or more.
        draws: permutations, if the first ones do not tell that it is nothing special.

    Returns:
        The p-value, and how many versions are before the place.
    """
    place = int(np.argmax(scan.statistics(scan.sums))) + 1
    dice = np.random.default_rng(_SEED)
    p_value = 1.0
    for count in (_FIRST_LOOK, draws):
        found = stats.monte_carlo_test(
            scan.sums,
            lambda size: scan.draws(dice, size[0]),
            lambda sums, axis: scan.statistics(sums).max(axis=axis),
            vectorized=True,
            n_resamples=count,
            batch=_BATCH,
            alternative="greater",
        )
        p_value = float(found.pvalue)
        if p_value > _NOTHING_SPECIAL:
            break
    return p_value, place


def _size(observation: Observation) -> int:
    if isinstance(observation, Share):
        return observation.total
    if isinstance(observation, Distribution):
        return len(observation.values)
    assert isinstance(observation, Choices)  # noqa: S101  # the third kind
    return sum(observation.counts.values())
