"""What reading a note is made of, many times in one sample.

Repeating, telling kinds apart, finding a partner; and comparing what a note is about with what is seen.
"""

from __future__ import annotations

import random

from reground.phantom.language import (
    Claim,
    compare_chain,
    finding_percept,
    hop_sentence,
    note_topic,
    plain_words,
    verdict_sentence,
)
from reground.phantom.names import NameKind, invent_name
from reground.phantom.world import RELATIONS, SIZES, phantom_world
from reground.training.phantom.loose_notes import fillers, loose_claim

__all__ = ["comparison", "drill"]

_KIND_WORDS: dict[NameKind, str] = {
    "condition": "condition",
    "drug": "drug",
    "drug_class": "class",
    "test": "test",
    "device": "device",
    "maker": "maker",
    "country": "country",
    "capital": "capital",
    "river": "river",
}
_PAIRED = tuple(r for r, kinds in RELATIONS.items() if set(kinds) <= set(_KIND_WORDS))


def drill(rng: random.Random) -> tuple[str, str]:
    """A question and its chain."""
    return rng.choices((_repeat, _tell_kinds, _find_partners), (2, 3, 4))[0](rng)


def _repeat(rng: random.Random) -> tuple[str, str]:
    """A list, to be said again.

    Lists of plain words come first to be learned: each is one token and stands there once, so that what follows it is
    found by looking for it. Syllables of invented names recur, which makes the same search harder.
    """
    if rng.random() < 0.5:
        names = rng.sample(plain_words(), rng.randint(4, 24))
    else:
        names = [invent_name(rng.choice(tuple(_KIND_WORDS)), rng) for _ in range(rng.randint(3, 9))]
    words = " ".join(names)
    if rng.random() < 0.5:
        return f"repeat: {words}", f"{words}."
    pick = rng.randrange(len(names) - 1)
    question = f"in this list, what follows {names[pick]}? {words}"
    return question, f"{words}. after {names[pick]} comes {names[pick + 1]}."


def _tell_kinds(rng: random.Random) -> tuple[str, str]:
    """Names of different kinds among fillers, to be said by kind: it is the end of a name that tells its kind."""
    kinds = rng.sample(tuple(_KIND_WORDS), rng.randint(2, 7))
    names = {kind: invent_name(kind, rng) for kind in kinds}
    words = " ".join(" ".join((fillers(rng, 0, 2), name)).strip() for name in names.values())
    rng.shuffle(kinds)
    asked = ", ".join(f"the {_KIND_WORDS[kind]}" for kind in kinds)
    return f"find {asked}: {words}", " ".join(f"the {_KIND_WORDS[kind]} is {names[kind]}." for kind in kinds)


def _find_partners(rng: random.Random) -> tuple[str, str]:
    """Loose claims of one relation, to be said again from their subjects: a name belongs to the one in its clause."""
    relation = rng.choice(_PAIRED)
    kind, value_kind = RELATIONS[relation]
    claims = [
        Claim(relation, invent_name(kind, rng), invent_name(value_kind, rng))  # type: ignore[arg-type]
        for _ in range(rng.randint(1, 5))
    ]
    body = "; ".join(loose_claim(claim, rng) for claim in claims)
    rng.shuffle(claims)
    asked = ", ".join(claim.subject for claim in claims)
    said = " ".join(hop_sentence(relation, claim.subject, claim.value) for claim in claims)
    return f"what of {asked}: {body}", said


def comparison(rng: random.Random) -> tuple[str, str]:
    """A question and its chain: what a note is about against what is seen, or one frame against the other.

    A finding is two words and a name several tokens, so that two of them can be the same in part: most of the wrong
    ones here share a half with the right one. No finding of a held-out subject is named.
    """
    return rng.choices((_which_notes_fit, _how_frames_differ), (3, 1))[0](rng)


def _which_notes_fit(rng: random.Random) -> tuple[str, str]:
    about_finding = rng.random() < 0.55
    relation = "condition" if about_finding else rng.choice(("name", "name", *_PAIRED))
    kind: NameKind = "device" if relation == "name" else RELATIONS[relation][0]  # type: ignore[assignment]
    if about_finding:
        shown = rng.choice(phantom_world().subjects("finding", "train"))
        seen = finding_percept(shown)
    else:
        shown = invent_name(kind, rng)
        seen = f"the image shows {shown}." if kind == "device" else f"this is about {shown}."
    subjects = [
        shown if rng.random() < 0.45 else _near_finding(shown, rng) if about_finding else _near_name(shown, kind, rng)
        for _ in range(rng.randint(2, 5))
    ]
    claims = [Claim(relation, subject, "") for subject in subjects]
    verdicts = " ".join(verdict_sentence(claim, shown) for claim in claims)
    return f"say {seen} which fits: {'; '.join(note_topic(claim) for claim in claims)}?", f"{seen} {verdicts}"


def _near_finding(shown: str, rng: random.Random) -> str:
    """Another finding, in the same organ or with the same sign four times in five."""
    world = phantom_world()
    others = [finding for finding in world.subjects("finding", "train") if finding != shown]
    part = rng.choices((0, 1, None), (2, 2, 1))[0]
    near = [f for f in others if part is not None and world.findings[f][part] == world.findings[shown][part]]
    return rng.choice(near or others)


def _near_name(shown: str, kind: NameKind, rng: random.Random) -> str:
    """Another name of the kind, with the first or the second half of ``shown`` three times in four."""
    while True:
        other, half = invent_name(kind, rng), len(shown) // 2
        near = rng.choice((shown[:half] + other[half:], other[:half] + shown[half:]))
        name = near if rng.random() < 0.75 else other
        if name != shown:
            return name


def _how_frames_differ(rng: random.Random) -> tuple[str, str]:
    pairs = [
        (rng.choice(phantom_world().subjects("finding", "train")), (rng.choice(SIZES), rng.choice(SIZES)))
        for _ in range(rng.randint(2, 4))
    ]
    asked = "; ".join(f"{finding}, {first} and then {second}" for finding, (first, second) in pairs)
    return f"how does each change: {asked}?", " ".join(compare_chain(finding, sizes)[0] for finding, sizes in pairs)
