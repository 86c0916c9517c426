"""What a model says of names that nobody knows, so that a policy learns to leave that as it is.

A policy is trained on a part of the world, and what a model knows of the rest is easily lost on the way. Nothing of
the rest may be in a training. But what a model makes of an invented name is as much a matter of its weights as what it
knows of a true one: a policy that says the same as the unedited model of thousands of them has little room to move.
Invented names also come in any number, so that telling whether a card is about this very name is learned on names
that are never the same. What names a subject outside the ``train`` split is left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from reground.edits.records import Answer
from reground.errors import ModelError
from reground.models.base import Model, Query
from reground.phantom.language import PATHS, ask_fact, hop_sentence, verdicts
from reground.phantom.names import NameKind, invent_name
from reground.phantom.world import RELATIONS
from reground.training.phantom.policy_samples import (
    PolicySample,
    PolicySetting,
    called_note,
    card_on,
    changed_claim,
    foreign_claim,
)
from reground.training.phantom.samples import Sample
from reground.training.rewards import RoutingCase
from reground.training.train_samples import names_other_than

__all__ = ["rehearsed_samples"]

#: Shares of the questions that stand beside a card on what is asked, and of those that stand beside a foreign one.
_FITTING_SHARE = 0.4
_FOREIGN_SHARE = 0.4
#: Share of the cards on what is asked that have a foreign one beside them.
_SECOND_SHARE = 0.3
_MAX_NEW_TOKENS = 96
#: What can be asked of a name: a target, and the place on its path where the name stands.
_STARTS = tuple(
    (target, place)
    for target, path in PATHS.items()
    for place, relation in enumerate(path)
    if RELATIONS[relation][0] in get_args(NameKind)
)


@dataclass(frozen=True)
class _Asked:
    """A question about an invented name.

    Attributes:
        start: The name.
        facts: The facts that are asked from it on.
        question: In words.
    """

    start: str
    facts: tuple[str, ...]
    question: str


def rehearsed_samples(model: Model, num_asked: int, seed: int, setting: PolicySetting) -> list[PolicySample]:
    """Questions about invented names with what the unedited model answers, or what a card makes of that.

    Args:
        model: The unedited model.
        num_asked: Questions; those are kept that it answers in whole chains, and where neither these nor the cards
            beside them name a subject of another split.
        seed: Of the questions.
        setting: Where the cards come from.

    Raises:
        ModelError: None can be kept.
    """
    rng = random.Random(f"rehearsal/{seed}")
    asked = [_question(rng) for _ in range(num_asked)]
    outputs = model.generate([Query(question=one.question) for one in asked], max_new_tokens=_MAX_NEW_TOKENS)
    is_foreign = names_other_than(setting.splits)
    kept = []
    for one, (output,) in zip(asked, outputs, strict=True):
        trace = output.trace(model.delimiters)
        sentences = _sentences(trace.chain or "")
        answer = trace.answer or ""
        is_whole = trace.outcome == "answered" and len(sentences) == len(one.facts) and answer
        if is_whole and one.start in sentences[0] and sentences[-1].endswith(f" {answer}."):
            sample = _beside_cards(one, sentences, answer, setting, rng)
            if not is_foreign([sample.sample.chain, sample.sample.answer, sample.sample.note or ""]):
                kept.append(sample)
    if not kept:
        raise ModelError(
            f"what {model.info.name!r} says of invented names was to be rehearsed; none of {num_asked} answers can be.",
            "a model that answers questions about the built-in clinic in its chains",
            "set rehearsal_share: 0, or take phantom-med.",
        )
    return kept


def _question(rng: random.Random) -> _Asked:
    target, place = rng.choice(_STARTS)
    facts = PATHS[target][place:]
    start = invent_name(RELATIONS[facts[0]][0], rng)  # type: ignore[arg-type]
    return _Asked(start, facts, ask_fact(target, facts, start, rng))


def _sentences(chain: str) -> list[str]:
    return [f"{part}." for part in chain.strip().removesuffix(".").split(". ") if part]


def _beside_cards(
    asked: _Asked, sentences: Sequence[str], answer: str, setting: PolicySetting, rng: random.Random
) -> PolicySample:
    """The question beside cards, or without one; a card on what is asked is about the last fact of the chain."""
    relation = asked.facts[-1]
    subject = asked.start if len(sentences) == 1 else sentences[-2].removesuffix(".").rsplit(" ", 1)[-1]
    drawn = rng.random()
    fitting = changed_claim(relation, subject, setting, rng) if drawn < _FITTING_SHARE else None
    claims = [] if fitting is None else [fitting]
    if rng.random() < _SECOND_SHARE if fitting else drawn < _FITTING_SHARE + _FOREIGN_SHARE:
        foreign = foreign_claim(asked.facts, subject, setting, rng)
        if foreign.subject not in (asked.start, subject) and foreign.subject not in " ".join(sentences):
            claims.insert(rng.randrange(len(claims) + 1), foreign)
    told = [*sentences[:-1], *verdicts(claims, relation, subject)[0], sentences[-1]]
    if fitting is not None:
        answer = fitting.value
        told[-1] = f"by the note {hop_sentence(relation, subject, answer)}"
    chain = " ".join(told)
    cards = [card_on(claim, setting, rng) for claim in claims]
    note = called_note(cards, claims, asked.question, chain, setting, rng) if claims else None
    sample = Sample("policy", asked.question, chain, answer, note=note, num_hops=len(sentences))
    case = RoutingCase(
        expected=Answer(text=answer),
        applies=fitting is not None,
        new_answer=Answer(text=(fitting or claims[0]).value) if claims else None,
        card=note,
    )
    return PolicySample("conflict" if fitting else "elsewhere" if claims else "no_card", sample, case)
