"""Invented names, spelled from syllables, so that nothing can be remembered from anywhere else.

Everything here is drawn from ``random.Random`` seeded with text, whose stream Python keeps stable across versions.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Literal

__all__ = ["NameKind", "distinct_names", "invent_name"]

NameKind = Literal["condition", "drug", "drug_class", "test", "device", "maker", "country", "capital", "river"]

_ONSETS = [
    *("b", "br", "d", "dr", "f", "fl", "g", "gl", "gr", "k", "kl", "kr", "l", "m", "n", "p", "pl", "pr", "r", "s"),
    *("sh", "sk", "sl", "sm", "sp", "st", "t", "tr", "v", "vr", "w", "z", "zh", "th"),
]
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "", "l", "m", "n", "r", "s", "x", "k", "t", "nd", "lt", "rk", "sp"]
_ENDINGS: dict[str, tuple[str, ...]] = {
    "condition": ("osis", "itis", "oma", "emia", "algia"),
    "drug": ("in", "ol", "ide", "ast", "mab"),
    "drug_class": ("ane", "ine"),
    "test": ("ar", "ex"),
    "device": ("lock", "flex", "core", "mark", "span", "loop"),
    "maker": ("tec", "med", "corp"),
    "country": ("ia", "land"),
    "capital": ("burg", "ton"),
    "river": ("wen", "dle"),
}


def invent_name(kind: NameKind, rng: random.Random, num_syllables: int | None = None) -> str:
    """One invented name, lower case, with an ending that tells its kind.

    Args:
        kind: What the name is for.
        rng: Source of chance; advanced.
        num_syllables: Syllables before the ending; two, or sometimes one, if not given.
    """
    count = num_syllables or rng.choice((1, 2, 2, 2))
    stem = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(count))
    return stem + rng.choice(_CODAS) + rng.choice(_ENDINGS[kind])


def distinct_names(kind: NameKind, count: int, seed: str, taken: Collection[str] = ()) -> tuple[str, ...]:
    """``count`` names of one kind, no two with the same first five letters, none in ``taken``."""
    rng = random.Random(f"names/{kind}/{seed}")
    names: list[str] = []
    used = set(taken)
    stems: set[str] = {name[:5] for name in taken}
    while len(names) < count:
        name = invent_name(kind, rng, num_syllables=2)
        if name not in used and name[:5] not in stems:
            names.append(name)
            used.add(name)
            stems.add(name[:5])
    return tuple(names)
