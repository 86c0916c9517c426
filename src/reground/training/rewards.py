"""The Cognitive Routing Reward: does a chain use a card where it applies, and leave it where it does not?

Each term is a pure function of one trace and of what was right for it. The paper that names the reward states neither
its terms nor their weights; these are ours, see ``docs/methods/crane.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

from pydantic import Field, model_validator

from reground.edits.records import Answer, Record, Text, Trace
from reground.evaluation.matching import matches, names, normalise
from reground.evaluation.stance import RuleStanceReader, StanceReader

__all__ = [
    "TERMS",
    "RewardWeights",
    "RoutingCase",
    "answer_term",
    "copying_term",
    "format_term",
    "grounding_term",
    "intermediates_term",
    "reward",
    "routing_term",
]

#: Words of a card in a row that an honest chain may share with it: a fact has to be named to be used.
_SHARED_WORDS = 8

_VERDICTS = frozenset(("yes", "no"))


class RoutingCase(Record):
    """What was asked beside a card, and what is right.

    Attributes:
        expected: The right answer.
        applies: Whether the card is about what is asked.
        new_answer: What the card says; None where there is no card.
        prior_answer: What held before, if the card says so.
        card: The card as the model read it.
        intermediates: Entities on the way to the answer, in their order.
        options: The options, for multiple choice.
    """

    expected: Answer
    applies: bool
    new_answer: Answer | None = None
    prior_answer: Answer | None = None
    card: Text | None = None
    intermediates: tuple[Answer, ...] = ()
    options: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _a_card_says_something(self) -> Self:
        if (self.card is None) != (self.new_answer is None):
            raise ValueError("a card and what it says come together")
        if self.applies and self.card is None:
            raise ValueError("where there is no card, none applies")
        return self


class RewardWeights(Record):
    """How much each term counts; they are divided by their sum.

    Attributes:
        answer, routing, grounding, intermediates, copying: Weights of the terms of these names.
    """

    answer: float = Field(default=0.35, ge=0)
    routing: float = Field(default=0.25, ge=0)
    grounding: float = Field(default=0.2, ge=0)
    intermediates: float = Field(default=0.1, ge=0)
    copying: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        total = sum(self.by_name().values())
        if not math.isfinite(total) or total <= 0:
            raise ValueError("at least one weight above 0")
        return self

    def by_name(self) -> dict[str, float]:
        """The weights by the name of their term."""
        return {name: float(weight) for name, weight in self.model_dump().items()}


def format_term(trace: Trace, case: RoutingCase) -> float:
    """1 if the output is a chain that is not empty and an answer, else 0; looping and cut outputs are 0."""
    return float(trace.outcome == "answered" and bool((trace.chain or "").strip()))


def answer_term(trace: Trace, case: RoutingCase) -> float:
    """1 if the answer is right and names no other candidate, else 0: "X or Y" is no answer."""
    said = trace.answer or ""
    rivals = [rival for rival in (case.new_answer, case.prior_answer) if rival is not None]
    hedges = any(_differ(rival, case.expected) and names(said, rival, case.options) for rival in rivals)
    return float(matches(said, case.expected, case.options) and not hedges)


def routing_term(trace: Trace, case: RoutingCase) -> float:
    """Where the card applies, 1 if the chain names what it says; where it does not, 1 if the chain does not.

    Naming it is no fault where it happens to be the right answer or on the way to it; without a card the term is 1.
    """
    if case.new_answer is None:
        return 1.0
    is_named = names(trace.chain or "", case.new_answer)
    if case.applies:
        return float(is_named)
    is_right_anyway = any(not _differ(case.new_answer, entity) for entity in (case.expected, *case.intermediates))
    return float(not is_named or is_right_anyway)


def grounding_term(trace: Trace, case: RoutingCase, reader: StanceReader | None = None) -> float:
    """1 if the chain comes to the right answer itself, and holds to the card where that applies, else 0.

    A yes or a no is nothing that a chain names; there the first half is left to ``answer_term``.
    """
    chain = trace.chain or ""
    if normalise(case.expected.text) not in _VERDICTS and not names(chain, case.expected, case.options):
        return 0.0
    if not case.applies or case.new_answer is None:
        return 1.0
    stance = (reader or RuleStanceReader()).read(chain, new=case.new_answer, prior=case.prior_answer)
    return float(stance.label == "supports")


def intermediates_term(trace: Trace, case: RoutingCase) -> float:
    """Share of the entities on the way that the chain names, each after the one before; 1 where there are none."""
    if not case.intermediates:
        return 1.0
    rest, num_named = normalise(trace.chain or ""), 0
    for entity in case.intermediates:
        ends = [end for spelling in entity.spellings if (end := _end_of(spelling, rest)) >= 0]
        if ends:
            num_named += 1
            rest = rest[min(ends) :]
    return num_named / len(case.intermediates)


def copying_term(trace: Trace, case: RoutingCase) -> float:
    """1 if the chain is in words of its own, else 0: it copies no run of more than eight words of the card."""
    if case.card is None:
        return 1.0
    written, read = normalise(trace.chain or "").split(), normalise(case.card).split()
    runs = {tuple(read[start : start + _SHARED_WORDS + 1]) for start in range(len(read) - _SHARED_WORDS)}
    return float(not any(tuple(written[at : at + _SHARED_WORDS + 1]) in runs for at in range(len(written))))


#: The weighed terms by name. ``format_term`` is none of them: without form there is nothing to weigh.
TERMS: dict[str, Callable[[Trace, RoutingCase], float]] = {
    "answer": answer_term,
    "routing": routing_term,
    "grounding": grounding_term,
    "intermediates": intermediates_term,
    "copying": copying_term,
}


def reward(trace: Trace, case: RoutingCase, weights: RewardWeights | None = None) -> float:
    """The Cognitive Routing Reward of one output, in [0, 1]: 0 without form, else the weighed mean of the terms.

    A wrong answer earns at most half of what its terms are worth: being well-spoken on the way is no substitute.

    Args:
        trace: What the policy wrote.
        case: What was right.
        weights: Of the terms.

    Source:
        Named by Huang et al., 2026 (arXiv 2606.09033), whose terms are not published; these are ours.
    """
    if not format_term(trace, case):
        return 0.0
    shares = (weights or RewardWeights()).by_name()
    values = {name: term(trace, case) for name, term in TERMS.items()}
    mean = sum(shares[name] * value for name, value in values.items()) / sum(shares.values())
    return mean if values["answer"] else mean / 2


def _differ(one: Answer, other: Answer) -> bool:
    return not {normalise(text) for text in one.spellings} & {normalise(text) for text in other.spellings}


def _end_of(spelling: str, text: str) -> int:
    """Where the first whole-word mention of ``spelling`` in normalised ``text`` ends; -1 if there is none."""
    sought = f" {normalise(spelling)} "
    at = f" {text} ".find(sought)
    return -1 if at < 0 else at + len(sought) - 2
