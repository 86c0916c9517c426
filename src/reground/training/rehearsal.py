"""What a model says of names that nobody knows, so that a policy learns to leave that as it is.

A policy is trained on a part of the world, and what a model knows of the rest is easily lost on the way. Nothing of
the rest may be in a training. But what a model makes of an invented name is as much a matter of its weights as what it
knows of a true one: a policy that says the same as the unedited model of thousands of them has little room to move.
What names a subject outside the ``train`` split is left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import get_args

from reground.edits.card_note import card_note
from reground.edits.records import Answer
from reground.errors import ModelError
from reground.models.base import Model, Query
from reground.phantom.language import PATHS, Claim, ask_fact, verdict_sentence
from reground.phantom.names import NameKind, invent_name
from reground.phantom.world import RELATIONS
from reground.training.phantom.policy_samples import PolicySample, PolicySetting, card_on, foreign_claim
from reground.training.phantom.samples import Sample
from reground.training.rewards import RoutingCase
from reground.training.train_samples import names_other_than

__all__ = ["rehearsed_samples"]

#: Share of the questions that stand beside a card, which is about something else.
_CARD_SHARE = 0.75
_MAX_NEW_TOKENS = 96


def rehearsed_samples(model: Model, num_asked: int, seed: int, setting: PolicySetting) -> list[PolicySample]:
    """Questions about invented names with what the unedited model answers, most of them beside a card to be left.

    Args:
        model: The unedited model.
        num_asked: Questions; those are kept that it answers in whole chains which name no subject of another split.
        seed: Of the questions.
        setting: Where the cards come from.

    Raises:
        ModelError: None can be kept.
    """
    rng = random.Random(f"rehearsal/{seed}")
    asked = [_question(rng) for _ in range(num_asked)]
    outputs = model.generate([Query(question=question) for _, _, question in asked], max_new_tokens=_MAX_NEW_TOKENS)
    is_foreign = names_other_than(setting.splits)
    kept = []
    for (start, facts, question), (output,) in zip(asked, outputs, strict=True):
        trace = output.trace(model.delimiters)
        sentences = _sentences(trace.chain or "")
        answer = trace.answer or ""
        is_whole = trace.outcome == "answered" and len(sentences) == len(facts) and answer
        if not is_whole or start not in sentences[0] or answer not in sentences[-1] or is_foreign([*sentences, answer]):
            continue
        claim = foreign_claim(facts, start, setting, rng) if rng.random() < _CARD_SHARE else None
        if claim is not None and claim.subject in f"{start} {trace.chain}":
            continue
        kept.append(_sample(start, facts, question, sentences, answer, claim, setting, rng))
    if not kept:
        raise ModelError(
            f"what {model.info.name!r} says of invented names was to be rehearsed; none of {num_asked} answers can be.",
            "a model that answers questions about the built-in clinic in its chains",
            "set rehearsal_share: 0, or take phantom-med.",
        )
    return kept


def _question(rng: random.Random) -> tuple[str, tuple[str, ...], str]:
    """An invented name, the facts that are asked from it on, and the question."""
    starts = [
        (target, place)
        for target, path in PATHS.items()
        for place, relation in enumerate(path)
        if RELATIONS[relation][0] in get_args(NameKind)
    ]
    target, place = rng.choice(starts)
    facts = PATHS[target][place:]
    start = invent_name(RELATIONS[facts[0]][0], rng)  # type: ignore[arg-type]
    return start, facts, ask_fact(target, facts, start, rng)


def _sentences(chain: str) -> list[str]:
    return [f"{part}." for part in chain.strip().removesuffix(".").split(". ") if part]


def _sample(
    start: str,
    facts: Sequence[str],
    question: str,
    sentences: Sequence[str],
    answer: str,
    claim: Claim | None,
    setting: PolicySetting,
    rng: random.Random,
) -> PolicySample:
    note, case = None, RoutingCase(expected=Answer(text=answer), applies=False)
    if claim is not None:
        note = card_note([card_on(claim, setting, rng)])
        case = case.model_copy(update={"new_answer": Answer(text=claim.value), "card": note})
        if claim.relation == facts[0]:
            sentences = [verdict_sentence(claim, start), *sentences]
    sample = Sample("policy", question, " ".join(sentences), answer, note=note, num_hops=len(facts))
    return PolicySample("elsewhere" if note else "no_card", sample, case)
