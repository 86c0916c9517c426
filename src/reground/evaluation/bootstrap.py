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
    "intervals",
    "intervals_of_percentiles",
    "paired_differences",
]

_Floats = npt.NDArray[np.float64]
#: Up to so many clusters every table of draws is kept: 64 MiB at most for 2,000 resamples.
_FEW_CLUSTERS = 128


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
        # Where every value is 0, or every value is 1, so is every resample.
        for column in columns:
            if not sums_EM[:, column].any():
                found[column] = Interval(0.0, 0.0)
            elif (sums_EM[:, column] == counts_EM[:, column]).all():
                found[column] = Interval(1.0, 1.0)
        columns = [column for column in columns if found[column].low is None]
        if not columns:
            continue
        weights_RE = _weights(num_clusters, num_resamples, seed)
        # Counts are whole numbers, which add up without rounding: columns with the same ones are drawn once.
        place_of: dict[bytes, int] = {}
        places = [place_of.setdefault(counts_EM[:, column].tobytes(), len(place_of)) for column in columns]
        firsts = [columns[places.index(place)] for place in range(len(place_of))]
        drawn_RM = (weights_RE @ counts_EM[scored][:, firsts])[:, places]
        ratios_RM = (weights_RE @ sums_EM[scored][:, columns]) / drawn_RM
        ends = np.percentile(ratios_RM, _ends(confidence), axis=0)
        for position, column in enumerate(columns):
            found[column] = Interval(float(ends[0, position]), float(ends[1, position]))
    return found


def intervals_of_percentiles(
    values: Sequence[float],
    percentiles: Sequence[float],
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """Percentile intervals of percentiles (each in [0, 100]) of one value per cluster; all share their resamples."""
    if len(values) < 2 or num_resamples == 0:
        return [Interval(None, None)] * len(percentiles)
    drawn_RE = _drawn(len(values), num_resamples, seed)
    resampled_PR = np.percentile(
        np.asarray(values, dtype=np.float64)[drawn_RE], percentiles, axis=1, overwrite_input=True
    )
    return [Interval(*map(float, np.percentile(resampled_R, _ends(confidence)))) for resampled_R in resampled_PR]


def paired_differences(
    sums_EC: _Floats,
    counts_EC: _Floats,
    pairs: Sequence[tuple[int, int]],
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Difference]:
    """For each pair of columns how far the first is ahead of the second on the edits both were scored on.

    Each resample draws edits once and computes both means on the same draw, so what makes an edit hard for
    both methods cancels. The interval of a pair does not depend on the other pairs.

    Axes: C columns.

    Args:
        sums_EC: Sums of scored values.
        counts_EC: Numbers of scored values.
        pairs: Positions of the two columns of each pair.
        num_resamples: R; 0 gives no intervals.
        seed: Same seed, same intervals.
        confidence: Share of resamples inside the interval.
    """
    is_scored_EC = counts_EC > 0
    patterns = [is_scored_EC[:, column].tobytes() for column in range(counts_EC.shape[1])]
    places_of: dict[bytes, list[int]] = {}
    shared_of: dict[tuple[bytes, bytes], bytes] = {}
    for place, (a, b) in enumerate(pairs):
        both = patterns[a], patterns[b]
        if both not in shared_of:
            shared_of[both] = (is_scored_EC[:, a] & is_scored_EC[:, b]).tobytes()
        places_of.setdefault(shared_of[both], []).append(place)
    found = [Difference(None, None, None, 0)] * len(pairs)
    for pattern, places in places_of.items():
        shared_E = np.frombuffer(pattern, dtype=np.bool_)
        if shared_E.any():
            chosen = [pairs[place] for place in places]
            resampling = num_resamples, seed, confidence
            gaps = _differences(sums_EC[shared_E], counts_EC[shared_E], chosen, *resampling)
            for place, gap in zip(places, gaps, strict=True):
                found[place] = gap
    return found


def _differences(
    sums_EC: _Floats,
    counts_EC: _Floats,
    pairs: Sequence[tuple[int, int]],
    num_resamples: int,
    seed: int,
    confidence: float,
) -> list[Difference]:
    """The differences of pairs of columns that are scored on all E edits."""
    num_edits = len(sums_EC)
    totals = [np.stack((sums_EC[:, a], counts_EC[:, a], sums_EC[:, b], counts_EC[:, b]), axis=1) for a, b in pairs]
    values = [float(_gap(totals_E4.sum(axis=0))) for totals_E4 in totals]
    if num_edits < 2 or num_resamples == 0:
        return [Difference(value, None, None, num_edits) for value in values]
    weights_RE = _weights(num_edits, num_resamples, seed)
    # What adds up without rounding does so in any order, so each such column is drawn once for all its pairs.
    is_exact_C = [_is_exact(sums_EC[:, column]) for column in range(sums_EC.shape[1])]
    columns = sorted({column for pair in pairs for column in pair if is_exact_C[column]})
    place_of = {column: place for place, column in enumerate(columns)}
    sums_RC, counts_RC = weights_RE @ sums_EC[:, columns], weights_RE @ counts_EC[:, columns]
    found = []
    for (a, b), totals_E4, value in zip(pairs, totals, values, strict=True):
        if is_exact_C[a] and is_exact_C[b]:
            i, j = place_of[a], place_of[b]
            gaps_R = sums_RC[:, i] / counts_RC[:, i] - sums_RC[:, j] / counts_RC[:, j]
        else:
            gaps_R = _gap(weights_RE @ totals_E4)
        low, high = np.percentile(gaps_R, _ends(confidence))
        found.append(Difference(value, float(low), float(high), num_edits))
    return found


def _is_exact(sums_E: _Floats) -> bool:
    """Whether any resample of some sums adds up without rounding: they are small multiples of a power of two."""
    scaled_E = sums_E * 1024
    return bool((scaled_E == np.floor(scaled_E)).all()) and float(np.abs(scaled_E).max()) * len(sums_E) < 2**52


def _gap(totals: _Floats) -> _Floats:
    """Ratio of the first two of the last axis minus ratio of the last two."""
    gap: _Floats = totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3]
    return gap


def _ends(confidence: float) -> tuple[float, float]:
    return 50 * (1 - confidence), 50 * (1 + confidence)


@lru_cache(maxsize=2)
def _drawn(num_clusters: int, num_resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of E clusters are drawn in each of R resamples."""
    return np.random.default_rng(seed).integers(0, num_clusters, (num_resamples, num_clusters))


def _weights(num_clusters: int, num_resamples: int, seed: int) -> _Floats:
    """How often each of E clusters is drawn in each of R resamples; rows sum to E."""
    kept = _few_counts if num_clusters <= _FEW_CLUSTERS else _many_counts
    return kept(num_clusters, num_resamples, seed).astype(np.float64)


def _counts(num_clusters: int, num_resamples: int, seed: int) -> npt.NDArray[np.int32]:
    generator = np.random.default_rng(seed)
    shares = np.full(num_clusters, 1 / num_clusters)
    return generator.multinomial(num_clusters, shares, size=num_resamples).astype(np.int32)


#: Small tables, of which columns that are scored on a few edits each need many, do not take the places of large ones.
_few_counts = lru_cache(maxsize=_FEW_CLUSTERS)(_counts)
_many_counts = lru_cache(maxsize=8)(_counts)
