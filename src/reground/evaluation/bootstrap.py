"""95 % intervals that treat an edit, not a probe, as the unit that could have been drawn differently.

Axes: E edits (clusters), M measures (columns computed together), R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = [
    "ClusterTotals",
    "Difference",
    "Interval",
    "interval_of_percentile",
    "intervals",
    "paired_difference",
]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A percentile interval; both ends None where fewer than two clusters were scored."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClusterTotals:
    """One measure of one method, summed per edit.

    Attributes:
        edit_ids: The edits.
        sums: Sum of the scored values of each edit.
        counts: Number of scored values of each edit.
    """

    edit_ids: tuple[str, ...]
    sums: tuple[float, ...]
    counts: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.edit_ids) == len(self.sums) == len(self.counts):
            raise ValueError("one sum and one count per edit")


@dataclass(frozen=True)
class Difference:
    """Mean of one method minus mean of another, on the edits both were scored on.

    Attributes:
        value: The difference; None if no edit was scored for both.
        low, high: The interval of the difference; None with fewer than two such edits.
        num_edits: Edits scored for both.
    """

    value: float | None
    low: float | None
    high: float | None
    num_edits: int


def intervals(
    sums_EM: _Floats,
    counts_EM: _Floats,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """Percentile intervals of M ratios of sums, resampling whole edits.

    An edit without a scored value in a column is no cluster of that column. Columns scored on the same edits
    share their resamples, and the resamples depend on ``seed`` and the number of clusters alone, so the order
    of columns changes nothing.

    Args:
        sums_EM: Sums of scored values.
        counts_EM: Numbers of scored values.
        num_resamples: R; 0 gives no intervals.
        seed: Same seed, same intervals.
        confidence: Share of resamples inside the interval.

    Source:
        Field and Welsh, 2007, "Bootstrapping clustered data", the cluster bootstrap; Efron's percentile ends.
    """
    found = [Interval(None, None)] * counts_EM.shape[1]
    columns_of: dict[bytes, list[int]] = {}
    for column in range(counts_EM.shape[1]):
        columns_of.setdefault((counts_EM[:, column] > 0).tobytes(), []).append(column)
    for columns in columns_of.values():
        scored = counts_EM[:, columns[0]] > 0
        num_clusters = int(scored.sum())
        if num_clusters < 2 or num_resamples == 0:
            continue
        weights_RE = _weights(num_clusters, num_resamples, seed)
        ratios_RM = (weights_RE @ sums_EM[scored][:, columns]) / (weights_RE @ counts_EM[scored][:, columns])
        ends = np.percentile(ratios_RM, _ends(confidence), axis=0)
        for position, column in enumerate(columns):
            found[column] = Interval(float(ends[0, position]), float(ends[1, position]))
    return found


def interval_of_percentile(
    values: Sequence[float],
    percentile: float,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a percentile (in [0, 100]) of one value per cluster."""
    if len(values) < 2 or num_resamples == 0:
        return Interval(None, None)
    drawn = np.random.default_rng(seed).integers(0, len(values), (num_resamples, len(values)))
    resampled = np.percentile(np.asarray(values, dtype=np.float64)[drawn], percentile, axis=1)
    low, high = np.percentile(resampled, _ends(confidence))
    return Interval(float(low), float(high))


def paired_difference(
    a: ClusterTotals, b: ClusterTotals, *, num_resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Difference:
    """How far method ``a`` is ahead of method ``b`` on the edits both were scored on.

    Each resample draws edits once and computes both means on the same draw, so what makes an edit hard for
    both methods cancels.
    """
    of_b = {edit: (b.sums[i], b.counts[i]) for i, edit in enumerate(b.edit_ids) if b.counts[i] > 0}
    shared = [i for i, edit in enumerate(a.edit_ids) if a.counts[i] > 0 and edit in of_b]
    if not shared:
        return Difference(None, None, None, 0)
    totals_E4 = np.array([(a.sums[i], a.counts[i], *of_b[a.edit_ids[i]]) for i in shared], dtype=np.float64)
    value = _gap(totals_E4.sum(axis=0))
    if len(shared) < 2 or num_resamples == 0:
        return Difference(float(value), None, None, len(shared))
    low, high = np.percentile(_gap(_weights(len(shared), num_resamples, seed) @ totals_E4), _ends(confidence))
    return Difference(float(value), float(low), float(high), len(shared))


def _gap(totals: _Floats) -> _Floats:
    """Ratio of the first two of the last axis minus ratio of the last two."""
    gap: _Floats = totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3]
    return gap


def _ends(confidence: float) -> tuple[float, float]:
    return 50 * (1 - confidence), 50 * (1 + confidence)


@lru_cache(maxsize=8)
def _weights(num_clusters: int, num_resamples: int, seed: int) -> _Floats:
    """How often each of E clusters is drawn in each of R resamples; rows sum to E."""
    generator = np.random.default_rng(seed)
    shares = np.full(num_clusters, 1 / num_clusters)
    return generator.multinomial(num_clusters, shares, size=num_resamples).astype(np.float64)
