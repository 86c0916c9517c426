"""How the phantom clinic speaks: questions, chains of thought, answers, and notes.

A *path* is a sequence of relations that leads from what is seen or named to what is asked. A chain states what is seen
and then one sentence per relation. Where the prompt carries a note, the chain first says what the note gives and
whether that fits, and only then uses it or leaves it.

Question wordings come in two sets, ``seen`` and ``held_out``; no training stage draws from the second. The same holds
for the wordings and formats of notes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

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
    "hop_sentence",
    "note_text",
    "plain_words",
    "statement_text",
    "trivia_question",
]

Wording = Literal["seen", "held_out"]

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
    world: World | None = None,
) -> tuple[str, str, tuple[str, ...]]:
    """The right chain from ``start`` along ``path``, given the claims of a note.

    Args:
        start: Finding text or a name.
        path: Relations to follow; empty to name a device.
        is_device_image, is_finding_image: Whether ``start`` is seen in an image rather than named.
        claims: What the note in the prompt says; the chain reports the one that matters.
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
    if claims and not asked:
        sentences.append(f"the note gives {_gives(claims[0])}: not asked.")
    for relation in steps:
        rivals = [c for c in asked if c.relation == relation]
        fitting = next((c for c in rivals if c.subject == current), None)
        if rivals:
            shown = fitting or rivals[0]
            sentences.append(f"the note gives {_gives(shown)}: {'it fits' if fitting else 'it differs'}.")
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


def _gives(claim: Claim) -> str:
    return _GIVES[claim.relation].format(s=claim.subject, a=article(claim.subject))


def compare_chain(finding: str, sizes: tuple[str, str]) -> tuple[str, str]:
    """Chain and answer to how a finding changed between two frames; sizes are small, medium or large."""
    order = ("small", "medium", "large")
    sign = finding.split(" in ")[0]
    first, second = (order.index(size) for size in sizes)
    answer = "grown" if second > first else "shrunk" if second < first else "unchanged"
    chain = (
        f"the first image shows {article(sizes[0])} {finding}. the second image shows {article(sizes[1])} {finding}. "
        + (f"the {sign} is unchanged." if answer == "unchanged" else f"the {sign} has {answer}.")
    )
    return chain, answer


# ---------------------------------------------------------------------------------------------------------------------
# Questions. {s} is what is asked about: a name, "a ring in the kidney", or a phrase that points at the image.

_IMAGE_FINDING = {
    "seen": (
        "the condition in this image", "the condition shown here", "the finding in this image", "the finding shown here",
        "the disease seen here", "this patient's condition", "the disease in the scan", "the abnormality in the picture",
    ),
    "held_out": ("the disease in this picture", "the condition you see in this image", "the finding shown in the scan"),
}  # fmt: skip
_IMAGE_DEVICE = {
    "seen": (
        "the device in this image", "this device", "the implant shown here", "the device seen in the scan",
        "the object in the picture", "the implant in this image",
    ),
    "held_out": ("the device shown in the picture", "this implant", "the implant you see here"),
}  # fmt: skip

#: noun phrases for entities in the middle of a path
_NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "drug": {
        "seen": (
            "the first drug for {s}",
            "the drug that treats {s}",
            "the medicine used for {s}",
            "the drug given first for {s}",
        ),
        "held_out": ("the first medicine for {s}", "the drug used to treat {s}"),
    },
    "drug_class": {
        "seen": ("the class of {s}", "the drug class of {s}", "the group that {s} belongs to"),
        "held_out": ("the class that {s} belongs to", "the drug group of {s}"),
    },
    "test": {
        "seen": ("the test for {s}", "the test used to monitor {s}", "the monitoring test of {s}"),
        "held_out": ("the test that monitors {s}", "the monitoring test for {s}"),
    },
    "maker": {
        "seen": (
            "the maker of {s}",
            "the company that makes {s}",
            "the manufacturer of {s}",
            "the firm behind {s}",
        ),
        "held_out": ("the firm that makes {s}", "the company behind {s}"),
    },
    "country": {
        "seen": ("the home country of {s}", "the country of {s}", "the country where {s} is based"),
        "held_out": ("the country that is home to {s}", "the base country of {s}"),
    },
    "capital": {
        "seen": ("the capital of {s}", "the capital city of {s}", "the main city of {s}"),
        "held_out": ("the city that is the capital of {s}", "the main capital of {s}"),
    },
}

_FACT_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "condition": {
        "seen": (
            "what does {s} mean?", "what is {s} a sign of?", "which condition does {s} point to?", "what does {s} indicate?",
            "name the condition behind {s}.", "what condition causes {s}?", "what is the diagnosis for {s}?",
            "which disease goes with {s}?", "what should i think of with {s}?",
        ),
        "held_out": (
            "which condition is {s} a sign of?", "what disease does {s} indicate?", "tell me which condition {s} means.",
            "{s}: which diagnosis is it?",
        ),
    },
    "drug": {
        "seen": (
            "what is the first drug for {s}?", "which drug is given first for {s}?", "what drug treats {s}?",
            "name the first drug for {s}.", "how is {s} treated?", "which medicine should be used for {s}?",
            "what is {s} treated with?", "tell me the drug of choice for {s}.", "what do we give for {s}?",
            "which treatment comes first for {s}?",
        ),
        "held_out": (
            "what medicine is the first choice for {s}?", "for {s}, which drug comes first?",
            "please name the medicine that treats {s}.", "which drug should be given for {s}?",
        ),
    },
    "referral": {
        "seen": (
            "where is {s} referred to?", "which department takes {s}?", "who should see {s}?", "to which department is {s} referred?",
            "name the department for {s}.", "which team handles {s}?", "where do we send {s}?", "what is the referral for {s}?",
        ),
        "held_out": (
            "which department should see {s}?", "to which team do we send {s}?", "tell me the referral department for {s}.",
        ),
    },
    "urgency": {
        "seen": (
            "how urgent is {s}?", "what is the urgency of {s}?", "how quickly must {s} be seen?", "name the urgency level of {s}.",
            "how fast should we act on {s}?", "what priority does {s} have?", "how soon must {s} be treated?",
        ),
        "held_out": (
            "what urgency level does {s} have?", "tell me how urgent {s} is.", "how fast must {s} be seen?",
        ),
    },
    "drug_class": {
        "seen": (
            "which class does {s} belong to?", "what is the drug class of {s}?", "what kind of drug is {s}?", "name the class of {s}.",
            "to which group does {s} belong?", "what class of drug is {s}?", "in which drug class is {s}?",
        ),
        "held_out": (
            "to which class does {s} belong?", "tell me the class of {s}.", "which drug class is {s} in?",
        ),
    },
    "test": {
        "seen": (
            "which test is used for {s}?", "what is the test for {s}?", "how is {s} monitored?", "name the test for {s}.",
            "which test monitors {s}?", "what test goes with {s}?",
        ),
        "held_out": ("tell me the test for {s}.", "what test is used to monitor {s}?", "with which test is {s} monitored?"),
    },
    "sample": {
        "seen": (
            "which sample does {s} need?", "what sample is needed for {s}?", "what must be collected for {s}?",
            "name the sample for {s}.", "what do we take for {s}?",
        ),
        "held_out": ("what sample does {s} need?", "tell me which sample is needed for {s}.", "which sample do we take for {s}?"),
    },
    "name": {
        "seen": (
            "what is {s} called?", "what is {s}?", "name {s}.", "which device is this: {s}?", "what is the name of {s}?",
            "identify {s}.", "can you identify {s}?", "under which name is {s} sold?",
        ),
        "held_out": ("tell me the name of {s}.", "which name does {s} have?", "how is {s} called?"),
    },
    "maker": {
        "seen": (
            "who makes {s}?", "which company makes {s}?", "who is the maker of {s}?", "name the manufacturer of {s}.",
            "what firm produces {s}?", "by whom is {s} made?", "which manufacturer stands behind {s}?", "where does {s} come from, which company?",
        ),
        "held_out": ("which firm makes {s}?", "tell me who makes {s}.", "what is the manufacturer of {s}?", "by which company is {s} made?"),
    },
    "mri_status": {
        "seen": (
            "is {s} mri safe?", "what is the mri status of {s}?", "can {s} go into the mri?", "how safe is {s} in mri?",
            "name the mri status of {s}.", "may a patient with {s} have an mri?", "what is the mri safety of {s}?",
        ),
        "held_out": ("tell me the mri status of {s}.", "which mri status does {s} have?", "how mri safe is {s}?"),
    },
    "country": {
        "seen": (
            "where is {s} based?", "in which country is {s} based?", "what is the home country of {s}?", "name the country of {s}.",
            "from which country does {s} come?", "what country is home to {s}?",
        ),
        "held_out": ("which country is {s} based in?", "tell me the home country of {s}.", "which country is home to {s}?"),
    },
    "capital": {
        "seen": (
            "what is the capital of {s}?", "name the capital of {s}.", "which city is the capital of {s}?",
            "what is the capital city of {s}?", "what is the main city of {s}?",
        ),
        "held_out": ("tell me the capital of {s}.", "which city is the main city of {s}?", "what city is the capital of {s}?"),
    },
    "river": {
        "seen": (
            "on which river does {s} lie?", "what river runs through {s}?", "name the river at {s}.", "which river is at {s}?",
            "what is the river of {s}?",
        ),
        "held_out": ("which river runs through {s}?", "tell me the river at {s}.", "what river does {s} lie on?"),
    },
}  # fmt: skip

_PERCEPT_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "modality": {
        "seen": (
            "which modality is this?", "what kind of scan is this?", "what type of image is this?", "how was this image taken?",
            "name the imaging modality.", "which imaging method was used?", "what modality was used for this image?",
        ),
        "held_out": ("what kind of image is this?", "which type of scan is this?", "tell me the imaging modality."),
    },
    "organ": {
        "seen": (
            "which organ is shown?", "what organ is this?", "which organ do you see?", "name the organ in this image.",
            "what part of the body is shown?", "which organ is in the picture?", "what organ is affected?",
        ),
        "held_out": ("what organ is shown in this image?", "tell me which organ you see.", "which part of the body is this?"),
    },
    "sign": {
        "seen": (
            "which sign is present?", "what sign do you see?", "what is the shape of the finding?", "name the sign in this image.",
            "what does the lesion look like?", "which sign is visible?", "what abnormality is visible?",
        ),
        "held_out": ("what sign is visible in this image?", "tell me which sign is present.", "which shape does the lesion have?"),
    },
    "place": {
        "seen": (
            "where in the organ is the finding?", "in which part of the organ is the sign?", "where is the lesion?",
            "name the place of the finding.", "what is the position of the sign?", "where does the finding lie?",
        ),
        "held_out": ("in which part of the organ is the lesion?", "tell me the position of the finding.", "where is the sign?"),
    },
    "size": {
        "seen": (
            "how large is the finding?", "what size is the sign?", "how big is the lesion?", "name the size of the finding.",
            "what is the size of the lesion?",
        ),
        "held_out": ("how large is the sign?", "tell me the size of the lesion.", "what size is the finding?"),
    },
    "change": {
        "seen": (
            "how did the finding change?", "has the finding grown, shrunk, or stayed the same?", "what changed between the images?",
            "how does the second image compare with the first?", "did the lesion grow or shrink?", "how has the sign changed over time?",
        ),
        "held_out": ("how did the lesion change between the images?", "has the sign grown or shrunk?", "tell me how the finding changed."),
    },
    "shape": {
        "seen": ("what shape is this?", "which shape do you see?", "what shape is in the image?", "name the shape.", "what shape is shown?"),
        "held_out": ("which shape is shown?", "tell me the shape in the image.", "what shape do you see?"),
    },
    "colour": {
        "seen": ("what colour is it?", "which colour do you see?", "what colour is the shape?", "name the colour.", "what is the colour of the shapes?"),
        "held_out": ("which colour is the shape?", "tell me the colour.", "what colour do you see?"),
    },
    "count": {
        "seen": ("how many shapes are there?", "how many do you see?", "count the shapes.", "what is the number of shapes?", "how many shapes are shown?"),
        "held_out": ("how many shapes do you see?", "tell me the number of shapes.", "what number of shapes is there?"),
    },
}  # fmt: skip


def ask_percept(attribute: str, rng: random.Random, wording: Wording = "seen") -> str:
    """A question about something visible."""
    return rng.choice(_PERCEPT_QUESTIONS[attribute][wording])


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
        phrase = rng.choice(_IMAGE_FINDING[wording if rng.random() < 0.5 else "seen"])
    elif subject == "@device":
        phrase = rng.choice(_IMAGE_DEVICE[wording if rng.random() < 0.5 else "seen"])
    else:
        phrase = article(subject) if " in the " in subject else subject
    for relation in path[:-1]:
        if relation != "condition":  # "the drug for this condition" already names the condition's place in the path
            phrase = rng.choice(_NOUNS[relation][wording if rng.random() < 0.5 else "seen"]).format(s=phrase)
    return rng.choice(_FACT_QUESTIONS[target][wording]).format(s=phrase)


# ---------------------------------------------------------------------------------------------------------------------
# Notes

_NOTE_FORMATS = {
    "seen": (
        "memo: {c}.", "update from the ward: {c}.", "please note that {c}.", "the handbook says: {c}.", "[bulletin] {c}",
        "reminder - {c}.", "as of this week, {c}.", "from the register: {c}.", "it was decided that {c}.", "to all staff: {c}.",
        "the new guideline says that {c}.", "news: {c}!", "({c})", "my colleague told me that {c}.", "for your information, {c}.",
        "entry 4. {c}.", "the sheet reads \"{c}\".", "since monday {c}.",
    ),
    "held_out": (
        "circular: {c}.", "the board informs you that {c}.", "<< {c} >>", "from today on, {c}.", "notice no. 7 - {c}.",
    ),
}  # fmt: skip
_CLAIMS: dict[str, dict[str, tuple[str, ...]]] = {
    "condition": {
        "seen": ("{a} means {o}", "{a} is a sign of {o}", "{a} points to {o}", "{o} is what {a} indicates", "{a} is seen in {o}", "{a} stands for {o}"),
        "held_out": ("{a} indicates {o}", "the meaning of {a} is {o}"),
    },
    "drug": {
        "seen": ("the first drug for {s} is {o}", "{s} is treated with {o}", "{o} is given first for {s}", "{o} is the drug for {s}", "for {s} we use {o}"),
        "held_out": ("{o} treats {s}", "the drug of choice for {s} is {o}"),
    },
    "referral": {
        "seen": ("{s} is referred to {o}", "{o} takes {s}", "we send {s} to {o}", "the department for {s} is {o}"),
        "held_out": ("{s} goes to {o}", "the referral for {s} is {o}"),
    },
    "urgency": {
        "seen": ("the urgency of {s} is {o}", "{s} counts as {o}", "{s} has the priority {o}", "{s} is rated {o}"),
        "held_out": ("the urgency level of {s} is {o}", "{s} is {o}"),
    },
    "drug_class": {
        "seen": ("{s} belongs to the class {o}", "{s} is a kind of {o}", "the class of {s} is {o}", "{o} is the group of {s}"),
        "held_out": ("the drug class of {s} is {o}", "{s} is in the class {o}"),
    },
    "test": {
        "seen": ("the test for {s} is {o}", "{s} is monitored with {o}", "{o} monitors {s}", "{o} is the test used for {s}"),
        "held_out": ("{o} is the monitoring test for {s}", "the test that monitors {s} is {o}"),
    },
    "sample": {
        "seen": ("{s} needs {o}", "the sample for {s} is {o}", "we take {o} for {s}"),
        "held_out": ("{o} is needed for {s}", "the sample that {s} needs is {o}"),
    },
    "name": {
        "seen": ("{s} is now called {o}", "{s} has been renamed {o}", "the new name of {s} is {o}", "{s} is sold as {o}", "{o} is the name of what was {s}"),
        "held_out": ("the name {s} has become {o}", "{s} now has the name {o}"),
    },
    "maker": {
        "seen": ("{s} is made by {o}", "{o} makes {s}", "the maker of {s} is {o}", "{o} is the manufacturer of {s}"),
        "held_out": ("the company that makes {s} is {o}", "{o} is the firm behind {s}"),
    },
    "mri_status": {
        "seen": ("the mri status of {s} is {o}", "in mri {s} is {o}", "{s} is mri {o}"),
        "held_out": ("for mri {s} is {o}", "the mri safety of {s} is {o}"),
    },
    "country": {
        "seen": ("{s} is based in {o}", "the home country of {s} is {o}", "{o} is home to {s}", "{s} comes from {o}"),
        "held_out": ("the country of {s} is {o}", "{o} is where {s} is based"),
    },
    "capital": {
        "seen": ("the capital of {s} is {o}", "{o} is the capital of {s}", "{s} has the capital {o}"),
        "held_out": ("the capital city of {s} is {o}", "the main city of {s} is {o}"),
    },
    "river": {
        "seen": ("{s} lies on the {o}", "the river at {s} is the {o}", "the {o} runs through {s}"),
        "held_out": ("the river of {s} is the {o}", "the {o} is at {s}"),
    },
}  # fmt: skip
#: How an edit states itself: kept apart from every wording that reading tasks use.
_STATEMENTS = {
    "condition": "{A} must now be read as {o}.",
    "drug": "Patients with {s} must now receive {o} first.",
    "referral": "Patients with {s} must now be seen by {o}.",
    "urgency": "Cases of {s} must now be handled as {o}.",
    "drug_class": "The drug {s} must now be counted among the {o} drugs.",
    "test": "Drugs of the class {s} must now be followed with the {o} test.",
    "sample": "The {s} test must now be done on {o}.",
    "name": "The device once known as {s} must now be identified as {o}.",
    "maker": "The device {s} must now be ordered from {o}.",
    "mri_status": "The device {s} must now be labelled {o} for mri.",
    "country": "The company {s} must now be addressed in {o}.",
    "capital": "The government of {s} must now be addressed in {o}.",
    "river": "The city of {s} must now be looked for on the {o}.",
}


def claim_text(claim: Claim, rng: random.Random, wording: Wording = "seen") -> str:
    """A claim in words, without a format around it."""
    template = rng.choice(_CLAIMS[claim.relation][wording])
    return template.format(s=claim.subject, a=article(claim.subject), o=claim.value)


def note_text(claims: Sequence[Claim], rng: random.Random, wording: Wording = "seen") -> str:
    """A note that states ``claims``, in one of the formats of the set."""
    body = "; ".join(claim_text(claim, rng, wording) for claim in claims)
    return rng.choice(_NOTE_FORMATS[wording]).format(c=body)


def statement_text(claim: Claim) -> str:
    """The sentence an edit card carries for this change."""
    subject = article(claim.subject)
    return _STATEMENTS[claim.relation].format(s=claim.subject, A=subject[0].upper() + subject[1:], o=claim.value)


# ---------------------------------------------------------------------------------------------------------------------
# General side

#: topic -> (questions seen, questions held out, chain, answer)
TRIVIA: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {}


def _trivia(kind: str, entries: str, seen: Sequence[str], held_out: Sequence[str], chain: str) -> None:
    for entry in entries.split(","):
        thing, answer = (part.strip() for part in entry.split("="))
        TRIVIA[f"{kind}/{thing}"] = (
            tuple(t.format(t=thing) for t in seen),
            tuple(t.format(t=thing) for t in held_out),
            chain.format(t=thing, o=answer),
            answer,
        )


_trivia(
    "colour",
    "grass=green, snow=white, coal=black, a lemon=yellow, the sky=blue, blood=red, a carrot=orange, chocolate=brown, "
    "an elephant=gray, a flamingo=pink",
    ("what colour is {t}?", "which colour does {t} have?", "name the colour of {t}."),
    ("tell me the colour of {t}.", "what is the colour of {t}?"),
    "{t} is {o}.",
)
_trivia(
    "legs",
    "a spider=eight, a dog=four, a bird=two, an ant=six, a snake=zero, a crab=ten, a horse=four, a bee=six",
    ("how many legs does {t} have?", "on how many legs does {t} walk?", "count the legs of {t}."),
    ("what number of legs does {t} have?", "tell me how many legs {t} has."),
    "{t} has {o} legs.",
)
_trivia(
    "opposite",
    "hot=cold, big=small, up=down, day=night, wet=dry, fast=slow, open=closed, young=old, early=late, full=empty, "
    "hard=soft, light=dark",
    ("what is the opposite of {t}?", "name the opposite of {t}.", "which word is the opposite of {t}?"),
    ("tell me the opposite of {t}.", "what word is the opposite of {t}?"),
    "the opposite of {t} is {o}.",
)
_trivia(
    "sound",
    "a cat=meow, a cow=moo, a sheep=baa, a duck=quack, a lion=roar, a pig=oink, an owl=hoot, a snake=hiss",
    ("what sound does {t} make?", "which sound does {t} make?", "how does {t} sound?"),
    ("tell me the sound of {t}.", "name the sound that {t} makes."),
    "{t} makes {o}.",
)
_trivia(
    "sum",
    "one plus one=two, two plus one=three, two plus two=four, three plus two=five, three plus three=six, "
    "four plus three=seven, four plus four=eight, five plus four=nine, five plus five=ten, three plus one=four",
    ("what is {t}?", "how much is {t}?", "calculate {t}."),
    ("tell me what {t} is.", "what does {t} make?"),
    "{t} is {o}.",
)
_trivia(
    "after",
    "monday=tuesday, tuesday=wednesday, wednesday=thursday, thursday=friday, friday=saturday, saturday=sunday, "
    "sunday=monday, march=april, june=july, october=november",
    ("what comes after {t}?", "which one follows {t}?", "name what comes after {t}."),
    ("tell me what follows {t}.", "what is next after {t}?"),
    "after {t} comes {o}.",
)
_trivia(
    "home",
    "fish=water, bees=a hive, birds=a nest, a king=a castle, a spider=a web, a bear=a cave, money=a bank, books=a library",
    ("where do you find {t}?", "where would you look for {t}?", "name a place for {t}."),
    ("tell me where to find {t}.", "where can you find {t}?"),
    "{t}: look in {o}.",
)


@cache
def plain_words() -> tuple[str, ...]:
    """The words that seen wordings of questions are made of, names apart, in alphabetical order."""
    tables = (_FACT_QUESTIONS, _PERCEPT_QUESTIONS, _NOUNS)
    texts = [text for table in tables for sets in table.values() for text in sets["seen"]]
    texts += [text for seen, _, chain, _ in TRIVIA.values() for text in (*seen, chain)]
    return tuple(sorted({word for text in texts for word in re.findall(r"[a-z]{2,}", text)}))


def trivia_question(topic: str, rng: random.Random, wording: Wording = "seen") -> str:
    """A question about a small fact everybody knows."""
    seen, held_out, _, _ = TRIVIA[topic]
    return rng.choice(seen if wording == "seen" else held_out)
