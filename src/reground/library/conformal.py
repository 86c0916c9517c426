"""Thresholds with a guarantee: split conformal prediction for "does any card concern this query?".

Given the best scores of queries that no card concerns, a threshold is one of these scores. How many of new unrelated
queries will pass it is not known, but its distribution over calibration samples is: with the r-th smallest of n scores
as the threshold, the share that passes is at most Beta(n + 1 - r, r) distributed. r is the least rank for which that
share is at most alpha with confidence 1 - delta.

Source:
    Vovk, 2012, "Conditional validity of inductive conformal predictors": the training-conditional coverage of a split
    conformal set is a binomial tail. Here the set is "no card".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reground.errors import InputError

__all__ = ["check_levels", "conformal_rank", "conformal_threshold", "num_needed", "upper_bound"]

#: Relative error that logarithms of factorials leave in a tail.
_ROUNDING = 1e-9


def check_levels(alpha: float, delta: float) -> None:
    """Nothing, if both lie between 0 and 1.

    Raises:
        InputError: One does not.
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise InputError(
            f"thresholds were to be calibrated with {alpha=}, {delta=}.",
            "two numbers between 0 and 1, neither included",
            "give e.g. --alpha 0.05 --delta 0.05.",
        )


def conformal_rank(num_scores: int, alpha: float, delta: float) -> int | None:
    """The least rank whose score, as a threshold, keeps a guarantee.

    With probability 1 - delta over the sample, at most alpha of new scores exceed the r-th smallest: the least r with
    P(Bin(n, alpha) <= n - r) <= delta.

    Args:
        num_scores: n.
        alpha: Share in (0, 1).
        delta: Share in (0, 1).

    Returns:
        A rank from 1 to n; None if n is too small for any.

    Example:
        >>> conformal_rank(10, 0.5, 0.1)  # P(Bin(10, 1/2) <= 2) = 56/1024, P(... <= 3) = 176/1024
        8
    """
    rank, tail = None, 0.0
    for num_above in range(num_scores):
        log_mass = (
            math.lgamma(num_scores + 1)
            - math.lgamma(num_above + 1)
            - math.lgamma(num_scores - num_above + 1)
            + num_above * math.log(alpha)
            + (num_scores - num_above) * math.log1p(-alpha)
        )
        tail += math.exp(log_mass)
        if tail > delta * (1 + _ROUNDING):
            break
        rank = num_scores - num_above
    return rank


def num_needed(alpha: float, delta: float) -> int:
    """How many scores it takes at least: the least n with (1 - alpha)^n <= delta.

    Example:
        >>> num_needed(0.02, 0.05)
        149
    """
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def conformal_threshold(scores: Sequence[float], alpha: float, delta: float) -> float:
    """The score that a query has to exceed to receive a card.

    Args:
        scores: Best scores of queries that no card concerns, exchangeable with those to come; minus infinity where no
            card was in question.
        alpha: Share of unrelated queries that may receive a card.
        delta: 1 minus the confidence.

    Raises:
        InputError: alpha or delta is out of range, or there are too few scores.
    """
    check_levels(alpha, delta)
    rank = conformal_rank(len(scores), alpha, delta)
    if rank is None:
        raise InputError(
            f"{len(scores)} unrelated queries were given to calibrate with alpha={alpha:g}, delta={delta:g}.",
            f"at least {num_needed(alpha, delta)}",
            "give more of them, or a larger alpha or delta.",
        )
    return sorted(scores)[rank - 1]


def upper_bound(num_passed: int, num_queries: int, delta: float) -> float | None:
    """Clopper-Pearson upper limit of a share, with confidence 1 - delta; None if nothing was counted.

    Example:
        >>> round(upper_bound(0, 59, 0.05), 4)  # 1 - 0.05 ** (1 / 59)
        0.0495
    """
    if num_queries == 0:
        return None
    low, high = num_passed / num_queries, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(
            math.comb(num_queries, k) * middle**k * (1 - middle) ** (num_queries - k) for k in range(num_passed + 1)
        )
        low, high = (middle, high) if tail > delta else (low, middle)
    return high
