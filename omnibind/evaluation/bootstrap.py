"""How sure a figure is: percentile intervals over resampled queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Figure", "figure"]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Takes `[resample, query]` and gives `[resample]`."""

AT_ONCE = 2**22


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number, its 95 % interval, and what guessing would give."""

    value: float
    low: float
    high: float
    chance: float

    def to_json(self) -> dict[str, float]:
        """Its four numbers by name."""
        return asdict(self)


def figure(
    values: Floats, statistic: Statistic, *, chance: float, resamples: int, seed: int
) -> Figure:
    r"""A statistic over queries, with the 2.5 and 97.5 percentiles of its bootstrap distribution.

    Each resample draws as many queries as there are, with replacement. The candidates stay: the
    interval says how much the choice of *queries* matters. Its known blind spot: when every query
    has the same value it has no width; by the rule of three, $n$ hits out of $n$ still leave a
    true miss rate of up to $3/n$.

    Args:
        values: one number a query.
        statistic: `mean` or `median` along the last axis.
        chance: passed through.
        resamples: 2,000 give the interval's ends to about a hundredth of its width.
        seed: of the draws; figures computed with one seed share them, so they can be compared.
    Source:
        Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    drawn = np.concatenate(
        [statistic(values[draw]) for draw in _draws(len(values), resamples, seed)]
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(
        value=float(statistic(values[None])[0]), low=float(low), high=float(high), chance=chance
    )


def mean(values: Floats) -> Floats:
    """Along the last axis."""
    return values.mean(axis=-1)


def median(values: Floats) -> Floats:
    """Along the last axis."""
    return np.median(values, axis=-1)


def _draws(queries: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Positions `[resample, query]`, in blocks that fit into memory."""
    random = np.random.default_rng(seed)
    block = max(1, AT_ONCE // queries)
    for start in range(0, resamples, block):
        yield random.integers(queries, size=(min(block, resamples - start), queries))
