from __future__ import annotations

import time

import numpy as np
import pytest

from reground.evaluation.bootstrap import (
    Difference,
    Interval,
    intervals,
    intervals_of_percentiles,
    paired_differences,
)


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def plain_interval(per_edit: list[list[float]], num_resamples: int, seed: int) -> tuple[float, float]:
    """The same bootstrap, written as two loops."""
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(num_resamples):
        drawn = [per_edit[i] for i in generator.integers(0, len(per_edit), len(per_edit))]
        values = [value for edit in drawn for value in edit]
        means.append(sum(values) / len(values))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.reference
def test_agrees_with_a_plain_loop() -> None:
    generator = np.random.default_rng(7)
    per_edit = [list(generator.integers(0, 2, generator.integers(1, 6)).astype(float)) for _ in range(40)]
    sums, counts = column([sum(e) for e in per_edit]), column([float(len(e)) for e in per_edit])
    found = intervals(sums, counts, num_resamples=4000, seed=1)[0]
    low, high = plain_interval(per_edit, 4000, seed=2)
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_same_seed_same_interval_whatever_the_other_columns() -> None:
    sums, counts = column([float(i % 7) for i in range(30)]), column([6.0] * 29 + [0.0])
    alone = intervals(sums, counts, seed=3)[0]
    beside = intervals(np.hstack([counts, sums]), np.hstack([counts, counts]), seed=3)[1]
    assert alone == beside
    assert alone != intervals(sums, counts, seed=4)[0]


def test_what_is_the_same_for_every_edit_has_no_spread() -> None:
    counts_EM = np.tile(np.array([[1.0], [3.0], [0.0], [2.0]]), 3)
    sums_EM = counts_EM * np.array([0.0, 1.0, 0.5])
    assert [(one.low, one.high) for one in intervals(sums_EM, counts_EM)] == [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)]


def test_probes_of_one_edit_are_not_independent_evidence() -> None:
    """Forty probes of four edits that agree within each edit must give a wider interval than forty edits."""
    clustered = intervals(column([10.0, 10.0, 0.0, 0.0]), column([10.0] * 4))[0]
    spread = intervals(column([1.0] * 20 + [0.0] * 20), column([1.0] * 40))[0]
    assert clustered.low is not None and clustered.high is not None
    assert spread.low is not None and spread.high is not None
    assert clustered.high - clustered.low > 2 * (spread.high - spread.low)


def test_fewer_than_two_clusters_have_no_interval() -> None:
    assert intervals(column([3.0]), column([4.0])) == [Interval(None, None)]
    assert intervals(column([3.0, 0.0]), column([4.0, 0.0])) == [Interval(None, None)]
    assert intervals(column([0.0]), column([0.0])) == [Interval(None, None)]
    assert intervals_of_percentiles([1.0], [50]) == [Interval(None, None)]
    assert intervals(column([3.0, 1.0]), column([4.0, 4.0]), num_resamples=0) == [Interval(None, None)]


def test_interval_of_a_median_holds_it() -> None:
    values = [float(v) for v in range(1, 102)]
    (found,) = intervals_of_percentiles(values, [50])
    assert found.low is not None and found.high is not None
    assert found.low < 51 < found.high
    assert intervals_of_percentiles(values, [95, 50])[1] == found


def test_pairing_cancels_what_makes_an_edit_hard() -> None:
    """Method a is ahead by 0.1 on every edit, however hard: the paired interval is narrow and excludes 0."""
    hard = np.linspace(0.0, 0.9, 30)
    (gap,) = paired_differences(np.stack([hard + 0.1, hard], axis=1), np.ones((30, 2)), [(0, 1)])
    assert gap.value == pytest.approx(0.1)
    assert gap.low == pytest.approx(0.1) and gap.high == pytest.approx(0.1)
    assert gap.num_edits == 30


def test_pairing_uses_shared_edits_only() -> None:
    sums_EC = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    counts_EC = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    gap, nothing = paired_differences(sums_EC, counts_EC, [(0, 1), (0, 2)])
    assert (gap.value, gap.low, gap.high, gap.num_edits) == (1.0, None, None, 1)
    assert nothing == Difference(None, None, None, 0)


@pytest.mark.parametrize("step", [1.0, 1 / 3], ids=["adds up without rounding", "is rounded"])
def test_an_interval_of_a_pair_does_not_depend_on_the_other_pairs(step: float) -> None:
    generator = np.random.default_rng(0)
    counts_EC = generator.integers(0, 3, (40, 6)).astype(np.float64)
    counts_EC[:, :4] = 2  # these share their edits, the others do not
    sums_EC = step * generator.integers(0, 3, (40, 6)) * (counts_EC > 0)
    pairs = [(a, b) for a in range(6) for b in range(a)]
    together = paired_differences(sums_EC, counts_EC, pairs)
    assert together == [paired_differences(sums_EC, counts_EC, [pair])[0] for pair in pairs]
    for (a, b), gap in zip(pairs, together, strict=True):
        shared = (counts_EC[:, a] > 0) & (counts_EC[:, b] > 0)
        weights = np.random.default_rng(0).multinomial(int(shared.sum()), [1 / shared.sum()] * shared.sum(), size=2000)
        means = [weights @ sums_EC[shared, c] / (weights @ counts_EC[shared, c]) for c in (a, b)]
        assert (gap.low, gap.high) == pytest.approx(tuple(np.percentile(means[0] - means[1], [2.5, 97.5])), abs=1e-12)


def test_a_thousand_edits_and_two_hundred_columns_take_seconds() -> None:
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 9, (1000, 200)).astype(np.float64)
    started = time.perf_counter()
    found = intervals(generator.random((1000, 200)) * counts, counts)
    assert len(found) == 200
    assert time.perf_counter() - started < 5
