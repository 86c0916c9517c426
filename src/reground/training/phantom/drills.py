"""What reading a note is made of, many times in one sample: repeating, telling kinds apart, finding a partner."""

from __future__ import annotations

import random

from reground.phantom.language import Claim, hop_sentence, plain_words
from reground.phantom.names import NameKind, invent_name
from reground.phantom.world import RELATIONS
from reground.training.phantom.loose_notes import fillers, loose_claim

__all__ = ["drill"]

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
