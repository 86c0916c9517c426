"""How the phantom clinic speaks: questions, chains of thought, answers, and notes.

A *path* is a sequence of relations that leads from what is seen or named to what is asked. A chain states what is seen
and then one sentence per relation. Where the prompt carries a note, the chain first says what the note gives and
whether that fits, and only then uses it or leaves it.

Question wordings come in two sets, ``seen`` and ``held_out``; no training stage draws from the second. The same holds
for the wordings and formats of notes. The tables are in ``phantom.wordings``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from reground.phantom.wordings import (
    CLAIMS,
    FACT_PHRASES,
    FACT_QUESTIONS,
    FRAMES,
    IMAGE_DEVICE,
    IMAGE_FINDING,
    NOTE_FORMATS,
    NOUNS,
    PERCEPT_PHRASES,
    PERCEPT_QUESTIONS,
    STATEMENTS,
    TRIVIA,
    Wording,
)
from reground.phantom.world import World, phantom_world

__all__ = [
    "PATHS",
    "PERCEPTS",
    "TRIVIA",
    "Claim",
    "Wording",
    "article",
    "ask_fact",
    "ask_percept",
    "chain_for_path",
    "claim_text",
    "compare_chain",
    "finding_percept",
    "framed_questions",
    "hop_sentence",
    "note_text",
    "note_topic",
    "plain_words",
    "question_wordings",
    "statement_text",
    "trivia_question",
    "unasked_sentence",
    "verdict_sentence",
    "verdicts",
]

#: target relation -> relations from the visible subject to it
PATHS: dict[str, tuple[str, ...]] = {
    "condition": ("condition",),
    "drug": ("condition", "drug"),
    "referral": ("condition", "referral"),
    "urgency": ("condition", "urgency"),
    "drug_class": ("condition", "drug", "drug_class"),
    "test": ("condition", "drug", "drug_class", "test"),
    "sample": ("condition", "drug", "drug_class", "test", "sample"),
    "name": (),
    "maker": ("maker",),
    "mri_status": ("mri_status",),
    "country": ("maker", "country"),
    "capital": ("maker", "country", "capital"),
    "river": ("maker", "country", "capital", "river"),
}
PERCEPTS = ("modality", "organ", "sign", "place", "size")


@dataclass(frozen=True)
class Claim:
    """One fact as a note may state it."""

    relation: str
    subject: str
    value: str


def article(noun: str) -> str:
    """``a`` or ``an`` before ``noun``."""
    vowel = (noun[0] in "aeiou" and not noun.startswith(("ultra", "uri"))) or noun.startswith(("x-ray", "mri"))
    return f"{'an' if vowel or noun.startswith('ultra') else 'a'} {noun}"


# ---------------------------------------------------------------------------------------------------------------------
# Chains

_HOPS = {
    "condition": "{a} means {o}.",
    "drug": "the first drug for {s} is {o}.",
    "referral": "{s} is referred to {o}.",
    "urgency": "the urgency of {s} is {o}.",
    "drug_class": "{s} belongs to the class {o}.",
    "test": "the test for {s} is {o}.",
    "sample": "{s} needs {o}.",
    "name": "this is {o}.",
    "maker": "{s} is made by {o}.",
    "mri_status": "the mri status of {s} is {o}.",
    "country": "{s} is based in {o}.",
    "capital": "the capital of {s} is {o}.",
    "river": "{s} lies on the {o}.",
}
_GIVES = {
    "condition": "the meaning of {a}",
    "drug": "the first drug for {s}",
    "referral": "the referral for {s}",
    "urgency": "the urgency of {s}",
    "drug_class": "the class of {s}",
    "test": "the test for {s}",
    "sample": "the sample for {s}",
    "name": "a new name for {s}",
    "maker": "the maker of {s}",
    "mri_status": "the mri status of {s}",
    "country": "the country of {s}",
    "capital": "the capital of {s}",
    "river": "the river at {s}",
}


def hop_sentence(relation: str, subject: str, value: str) -> str:
    """The sentence of a chain that states one fact."""
    return _HOPS[relation].format(s=subject, a=article(subject), o=value)


def finding_percept(finding: str) -> str:
    """The sentence that says what a finding's image shows."""
    return f"the image shows {article(finding)}."


def chain_for_path(
    start: str,
    path: Sequence[str],
    *,
    is_device_image: bool = False,
    is_finding_image: bool = False,
    claims: Sequence[Claim] = (),
    tells_unasked: bool = True,
    world: World | None = None,
) -> tuple[str, str, tuple[str, ...]]:
    """The right chain from ``start`` along ``path``, given the claims of a note.

    Args:
        start: Finding text or a name.
        path: Relations to follow; empty to name a device.
        is_device_image, is_finding_image: Whether ``start`` is seen in an image rather than named.
        claims: What the note in the prompt says, in its order; the chain goes through those on what is asked until
            one fits.
        tells_unasked: Whether the chain says so of a note on something that is not asked; else it passes over it.
        world: The clinic.

    Returns:
        The chain, its last entity (the answer), and the entities it passes, the answer last.
    """
    world = world or phantom_world()
    sentences: list[str] = []
    passed: list[str] = []
    current = start
    steps = (["name"] if is_device_image else []) + list(path)
    if is_finding_image:
        sentences.append(finding_percept(start))
    elif is_device_image:
        sentences.append(f"the image shows {start}.")
    asked = [c for c in claims if c.relation in steps]
    if claims and not asked and tells_unasked:
        sentences.append(unasked_sentence(claims[0]))
    for relation in steps:
        said, fitting = verdicts(asked, relation, current)
        sentences += said
        if fitting:
            sentences.append("by the note " + hop_sentence(relation, current, fitting.value))
            current = fitting.value
        elif relation == "name":
            pass
        else:
            value = world.value(relation, current)
            sentences.append(hop_sentence(relation, current, value))
            current = value
        passed.append(current)
    return " ".join(sentences), current, tuple(passed)


def verdicts(claims: Sequence[Claim], relation: str, current: str) -> tuple[list[str], Claim | None]:
    """What a chain says of the claims on a fact of ``current``, in turn until one fits, and that one."""
    said = []
    for claim in claims:
        if claim.relation == relation:
            said.append(verdict_sentence(claim, current))
            if claim.subject == current:
                return said, claim
    return said, None


def verdict_sentence(claim: Claim, current: str) -> str:
    """The sentence of a chain that says whether a note is about ``current``, what the chain has come to.

    A finding is a sign in an organ; the two are held against what is seen one after the other, so that half a match is
    not taken for a whole one.
    """
    verdict = "it fits" if claim.subject == current else "it differs"
    if claim.relation == "condition":
        pairs = zip(claim.subject.split(" in the "), current.split(" in the "), strict=True)
        parts = [f"{noted} and {seen} {'agree' if noted == seen else 'differ'}" for noted, seen in pairs]
        verdict = f"{', '.join(parts)}, so {verdict}"
    return f"the note gives {note_topic(claim)}: {verdict}."


def unasked_sentence(claim: Claim) -> str:
    """The sentence of a chain that leaves a note aside because the question is about something else."""
    return f"the note gives {note_topic(claim)}: not asked."


def note_topic(claim: Claim) -> str:
    """What a note tells: the fact without its value, as in ``the maker of X``."""
    return _GIVES[claim.relation].format(s=claim.subject, a=article(claim.subject))


def compare_chain(finding: str, sizes: tuple[str, str]) -> tuple[str, str]:
    """Chain and answer to how a finding changed between two frames; sizes are small, medium or large."""
    order = ("small", "medium", "large")
    sign = finding.split(" in ")[0]
    first, second = (order.index(size) for size in sizes)
    answer = "grown" if second > first else "shrunk" if second < first else "unchanged"
    chain = (
        f"the first image shows {article(sizes[0])} {finding}. the second image shows {article(sizes[1])} {finding}. "
        f"from {sizes[0]} to {sizes[1]}, the {sign} {'is' if answer == 'unchanged' else 'has'} {answer}."
    )
    return chain, answer


# ---------------------------------------------------------------------------------------------------------------------
# Questions


@cache
def framed_questions(asked: str) -> tuple[str, ...]:
    """Every seen frame around every seen noun phrase for a relation or an attribute, held-out wordings left out."""
    held_out = {
        *FACT_QUESTIONS.get(asked, {}).get("held_out", ()),
        *PERCEPT_QUESTIONS.get(asked, {}).get("held_out", ()),
    }
    phrases = (*NOUNS.get(asked, {}).get("seen", ()), *FACT_PHRASES.get(asked, ()), *PERCEPT_PHRASES.get(asked, ()))
    questions = [frame.format(n=phrase) for phrase in phrases for frame in FRAMES]
    return tuple(question for question in questions if question not in held_out)


def _question(asked: str, table: dict[str, dict[str, tuple[str, ...]]], rng: random.Random, wording: Wording) -> str:
    if wording == "seen" and rng.random() < 0.4:
        return rng.choice(framed_questions(asked))
    return rng.choice(table[asked][wording])


def ask_percept(attribute: str, rng: random.Random, wording: Wording = "seen") -> str:
    """A question about something visible."""
    return _question(attribute, PERCEPT_QUESTIONS, rng, wording)


def ask_fact(target: str, path: Sequence[str], subject: str, rng: random.Random, wording: Wording = "seen") -> str:
    """A question for the end of ``path``.

    Args:
        target: The last relation of the path, or ``name``.
        path: All relations from the subject on.
        subject: ``@finding`` or ``@device`` for what the image shows; else a name, or a finding's text.
        rng: Source of chance.
        wording: Which set of wordings the outermost phrase comes from.
    """
    if subject == "@finding":
        phrase = rng.choice(IMAGE_FINDING[wording if rng.random() < 0.5 else "seen"])
    elif subject == "@device":
        phrase = rng.choice(IMAGE_DEVICE[wording if rng.random() < 0.5 else "seen"])
    else:
        phrase = article(subject) if " in the " in subject else subject
    for relation in path[:-1]:
        if relation != "condition":  # "the drug for this condition" already names the condition's place in the path
            phrase = rng.choice(NOUNS[relation][wording if rng.random() < 0.5 else "seen"]).format(s=phrase)
    return _question(target, FACT_QUESTIONS, rng, wording).format(s=phrase)


# ---------------------------------------------------------------------------------------------------------------------
# Notes


def claim_text(claim: Claim, rng: random.Random, wording: Wording = "seen") -> str:
    """A claim in words, without a format around it."""
    template = rng.choice(CLAIMS[claim.relation][wording])
    return template.format(s=claim.subject, a=article(claim.subject), o=claim.value)


def note_text(claims: Sequence[Claim], rng: random.Random, wording: Wording = "seen") -> str:
    """A note that states ``claims``, in one of the formats of the set."""
    body = "; ".join(claim_text(claim, rng, wording) for claim in claims)
    return rng.choice(NOTE_FORMATS[wording]).format(c=body)


def statement_text(claim: Claim) -> str:
    """The sentence an edit card carries for this change."""
    subject = article(claim.subject)
    return STATEMENTS[claim.relation].format(s=claim.subject, A=subject[0].upper() + subject[1:], o=claim.value)


# ---------------------------------------------------------------------------------------------------------------------
# General side


@cache
def plain_words() -> tuple[str, ...]:
    """The words that seen wordings of questions are made of, names apart, in alphabetical order."""
    tables = (FACT_QUESTIONS, PERCEPT_QUESTIONS, NOUNS)
    texts = [text for table in tables for sets in table.values() for text in sets["seen"]]
    texts += [text for asked in (*FACT_QUESTIONS, *PERCEPT_QUESTIONS) for text in framed_questions(asked)]
    texts += [text for sets in CLAIMS.values() for text in sets["seen"]] + list(NOTE_FORMATS["seen"])
    texts += [text for seen, _, chain, _ in TRIVIA.values() for text in (*seen, chain)]
    return tuple(sorted({word for text in texts for word in re.findall(r"[a-z]{2,}", text)}))


@cache
def question_wordings() -> tuple[str, ...]:
    """Every seen wording of a question, without the names that it asks about."""
    asked = (*FACT_QUESTIONS, *PERCEPT_QUESTIONS)
    texts = [text for table in (FACT_QUESTIONS, PERCEPT_QUESTIONS) for sets in table.values() for text in sets["seen"]]
    texts += [text for name in asked for text in framed_questions(name)]
    return tuple(dict.fromkeys(text.replace("{s}", "") for text in texts))


def trivia_question(topic: str, rng: random.Random, wording: Wording = "seen") -> str:
    """A question about a small fact everybody knows."""
    seen, held_out, _, _ = TRIVIA[topic]
    return rng.choice(seen if wording == "seen" else held_out)
