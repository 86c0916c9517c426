"""What becomes of edits as more are made after them: age, order, side effects, and where half of a score is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reground.edits.records import Answer, Edit, Probe
from reground.evaluation.bootstrap import ClusterTotals, Difference
from reground.evaluation.labels import Measure, Unscored
from reground.evaluation.matching import in_words, matches, normalise

__all__ = [
    "AGES",
    "DECIDED_BY_ANOTHER",
    "ForceOrder",
    "age_stratum",
    "edits_to_pay_off",
    "half_point",
    "independent_difference",
    "spread",
]

#: First and last age of each class, in edits applied since; the last class has no end.
AGES: tuple[tuple[int, int | None], ...] = (
    (0, 0),
    (1, 9),
    (10, 49),
    (50, 99),
    (100, 249),
    (250, 499),
    (500, 749),
    (750, 999),
    (1000, None),
)
DECIDED_BY_ANOTHER = "another edit in force decides the answer"

_Key = tuple[str, tuple[str, ...] | None]


def age_stratum(age: int) -> str:
    """Under which stratum the scores of an edit count that so many others were applied after, e.g. ``age:10-49``."""
    for first, last in AGES:
        if last is None or age <= last:
            return f"age:{first}+" if last is None else f"age:{first}" if first == last else f"age:{first}-{last}"
    raise AssertionError("the last class has no end")


def half_point(curve: Mapping[int, float | None]) -> Measure:
    """The first checkpoint at which a score is below half of what it is at checkpoint 1.

    Args:
        curve: The score by checkpoint; None where it was not scored.

    Returns:
        The checkpoint; unscored if there is none, or if there is no score above 0 at checkpoint 1 to halve.
    """
    start = curve.get(1)
    if start is None:
        return Unscored("there is no score at checkpoint 1")
    if start <= 0:
        return Unscored("the score at checkpoint 1 is 0")
    for checkpoint in sorted(curve):
        value = curve[checkpoint]
        if value is not None and value < start / 2:
            return float(checkpoint)
    return Unscored(f"never below half up to checkpoint {max(curve)}")


def spread(values: Sequence[float | None]) -> Measure:
    """Standard deviation of a score over the orders of a run, with one degree of freedom taken off.

    Args:
        values: The score in each order; None where it was not scored.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Unscored("fewer than two orders were scored")
    return float(np.std(known, ddof=1))


def edits_to_pay_off(fit_s: float, apply_s: float, other_apply_s: float) -> Measure:
    """After how many edits a method that was trained first has cost less time than one that was not.

    Args:
        fit_s: Seconds of the training.
        apply_s: Seconds an edit takes after it.
        other_apply_s: Seconds an edit takes with the method that needs none.
    """
    if apply_s >= other_apply_s:
        return Unscored("an edit takes no less time than with ft")
    return fit_s / (other_apply_s - apply_s)


def independent_difference(
    a: ClusterTotals, b: ClusterTotals, *, num_resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Difference:
    """Mean of ``a`` minus mean of ``b``, where the two were scored on edits that need not be the same.

    Each side is resampled by itself, whole edits at a time; where some edits are the same, that makes the interval
    wider than it need be.

    Returns:
        ``num_edits`` is that of the side with fewer.
    """
    sides = [_scored(side) for side in (a, b)]
    num_edits = min(len(counts) for _, counts in sides)
    if not num_edits:
        return Difference(None, None, None, 0)
    value = float(np.subtract(*(sums.sum() / counts.sum() for sums, counts in sides)))
    if num_edits < 2 or num_resamples == 0:
        return Difference(value, None, None, num_edits)
    random = np.random.default_rng(seed)
    means = []
    for sums, counts in sides:
        drawn_RE = random.integers(0, len(counts), (num_resamples, len(counts)))
        means.append(sums[drawn_RE].sum(axis=1) / counts[drawn_RE].sum(axis=1))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means[0] - means[1], [tail, 100 - tail])
    return Difference(value, float(low), float(high), num_edits)


def _scored(totals: ClusterTotals) -> tuple[np.ndarray, np.ndarray]:
    counts = np.asarray(totals.counts, dtype=np.float64)
    return np.asarray(totals.sums, dtype=np.float64)[counts > 0], counts[counts > 0]


@dataclass(frozen=True)
class _Fact:
    """What one edit makes of a question."""

    edit_id: str
    answer: Answer


class ForceOrder:
    """Which edits are in force after how many, in each order of a run, and which probes they take from one another.

    A probe of one edit is decided by another that is in force if it asks, word for word and of the same image, what
    the other one's exact or generality probes ask: nothing is then to stay as it was. Where two edits change the same
    fact, that is one of the same subject, relation and image, the later one decides.

    Args:
        edits: All edits.
        probes: All probes.
        orders: Ids of the edits in the order they are applied, for each order.
    """

    def __init__(self, edits: Mapping[str, Edit], probes: Sequence[Probe], orders: Sequence[Sequence[str]]) -> None:
        self._edits = edits
        self._positions = [{edit_id: place for place, edit_id in enumerate(order)} for order in orders]
        self._facts: dict[_Key, list[_Fact]] = {}
        self._rivals: dict[tuple[str, str, tuple[str, ...] | None], list[str]] = {}
        for probe in probes:
            if probe.kind in ("reliability", "generality") and probe.expectation.answer is not None:
                answer = in_words(probe.expectation.answer, probe.options)
                self._facts.setdefault(_key(probe), []).append(_Fact(probe.edit_id, answer))
        for edit in edits.values():
            self._rivals.setdefault(_fact_of(edit), []).append(edit.id)

    def is_decided_by_another(self, probe: Probe, order: int | None, num_applied: int) -> bool:
        """Whether another edit that is in force after so many decides what a probe brings."""
        if order is None or order >= len(self._positions):
            return False
        place = self._positions[order]
        others = [
            fact for fact in self._facts.get(_key(probe), ()) if self._is_in_force(fact, probe, place, num_applied)
        ]
        if probe.is_local:
            return bool(others)
        expected = probe.expectation.answer
        if expected is not None and any(not _agree(in_words(expected, probe.options), fact.answer) for fact in others):
            return True
        own = self._edits[probe.edit_id]
        return any(
            place[own.id] < place[rival] < num_applied
            and not _agree(in_words(own.new_answer, own.options), in_words(other.new_answer, other.options))
            for rival in self._rivals[_fact_of(own)]
            if rival in place and (other := self._edits[rival]).id != own.id
        )

    @staticmethod
    def _is_in_force(fact: _Fact, probe: Probe, place: Mapping[str, int], num_applied: int) -> bool:
        position = place.get(fact.edit_id)
        return fact.edit_id != probe.edit_id and position is not None and position < num_applied


def _key(probe: Probe) -> _Key:
    return normalise(probe.question), probe.image.frames if probe.image is not None else None


def _fact_of(edit: Edit) -> tuple[str, str, tuple[str, ...] | None]:
    return normalise(edit.subject), edit.relation, edit.image.frames if edit.image is not None else None


def _agree(a: Answer, b: Answer) -> bool:
    return matches(a.text, b) or matches(b.text, a)
