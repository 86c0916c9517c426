"""The rank whose score keeps the guarantee: by hand, against the tail itself, and on data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reground.errors import InputError
from reground.library.conformal import conformal_rank, conformal_threshold, num_needed, upper_bound


def tail(num_scores: int, alpha: float, num_above: int) -> float:
    """P(Bin(n, alpha) <= k)."""
    return sum(math.comb(num_scores, k) * alpha**k * (1 - alpha) ** (num_scores - k) for k in range(num_above + 1))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("num_scores", "alpha", "delta", "rank"),
    [
        (10, 0.5, 0.1, 8),  # 1 + 10 + 45 of 1024 is 0.055, with 120 more it is 0.172
        (10, 0.5, 0.01, 10),  # 1 of 1024 is 0.001, 11 of 1024 is 0.0107
        (3, 0.5, 0.5, 2),  # 1 + 3 of 8 is exactly a half
        (4, 0.5, 0.05, None),  # 1 of 16 is 0.0625
        (149, 0.02, 0.05, 149),  # 0.98 ** 149 is 0.0493
        (148, 0.02, 0.05, None),  # 0.98 ** 148 is 0.0503
    ],
)
def test_the_rank_by_hand(num_scores: int, alpha: float, delta: float, rank: int | None) -> None:
    assert conformal_rank(num_scores, alpha, delta) == rank


def test_the_rank_is_the_least_that_keeps_the_guarantee() -> None:
    for num_scores in (60, 200, 451):
        for alpha, delta in ((0.05, 0.05), (0.1, 0.01), (0.3, 0.2)):
            rank = conformal_rank(num_scores, alpha, delta)
            if rank is None:
                assert tail(num_scores, alpha, 0) > delta
                continue
            assert tail(num_scores, alpha, num_scores - rank) <= delta
            assert tail(num_scores, alpha, num_scores - rank + 1) > delta


def test_the_guarantee_holds_over_many_calibrations() -> None:
    """Of 2,000 calibrations on uniform scores at most 5 % let more than 10 % of new ones pass, and hardly fewer."""
    random = np.random.default_rng(0)
    thresholds = [conformal_threshold(random.random(120).tolist(), 0.1, 0.05) for _ in range(2000)]
    share_broken = float(np.mean(1 - np.array(thresholds) > 0.1))
    assert 0.01 < share_broken <= 0.06


def test_too_few_scores_are_refused_with_the_number_it_takes() -> None:
    with pytest.raises(InputError) as caught:
        conformal_threshold([0.1] * 148, 0.02, 0.05)
    assert caught.value.accepted == f"at least {num_needed(0.02, 0.05)}" == "at least 149"
    for alpha, delta in ((0, 0.1), (1, 0.1), (0.1, 0), (0.1, 1)):
        with pytest.raises(InputError, match="alpha="):
            conformal_threshold([0.1] * 1000, alpha, delta)


@pytest.mark.reference
def test_the_upper_limit_of_a_share_by_hand() -> None:
    assert upper_bound(0, 0, 0.05) is None
    assert upper_bound(0, 20, 0.05) == pytest.approx(1 - 0.05 ** (1 / 20))
    limit = upper_bound(3, 40, 0.05)
    assert limit is not None and tail(40, limit, 3) == pytest.approx(0.05)
    assert upper_bound(5, 5, 0.05) == pytest.approx(1.0)
