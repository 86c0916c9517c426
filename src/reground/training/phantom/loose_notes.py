"""Notes in words that mean nothing.

What a note says can be told from the kinds of the two names in it. From whole wordings alone a small model learns the
wordings by heart instead, and reads little of a new one; with fillers around the names it has to go by the names.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from reground.phantom.language import Claim, Wording, article, claim_text
from reground.phantom.wordings import FILLERS, NOTE_FORMATS

__all__ = ["fillers", "loose_claim", "loose_note"]


def loose_note(claims: Sequence[Claim], rng: random.Random, wording: Wording) -> str:
    """A note that states ``claims``, most of them loosely, in a format of the set or between fillers."""
    body = rng.choice(("; ", "; ", "; ", ". ", ", and ", " / ")).join(
        loose_claim(claim, rng) if rng.random() < 0.7 else claim_text(claim, rng, wording) for claim in claims
    )
    if rng.random() < 0.5:
        return rng.choice(NOTE_FORMATS[wording]).format(c=body)
    opening, closing = fillers(rng, 0, 3), fillers(rng, 0, 2)
    opened = (
        opening + rng.choice((": ", ", ", " - ", ". ", " ")) if opening else rng.choice(("", "", "* ", "<", "> ", "# "))
    )
    return (
        opened
        + body
        + (rng.choice((", ", " ", ". ", " (")) + closing if closing else "")
        + rng.choice((".", ".", "", "!"))
    )


def loose_claim(claim: Claim, rng: random.Random) -> str:
    """The two names of a claim with fillers around them, in either order; a new name always follows the old."""
    subject = article(claim.subject) if claim.relation == "condition" and rng.random() < 0.8 else claim.subject
    names = [subject, claim.value]
    if claim.relation != "name" and rng.random() < 0.4:
        names.reverse()
    between = rng.choice((":", " -", " =", " =>", ",")) if rng.random() < 0.15 else " " + fillers(rng, 1, 4)
    return " ".join(
        part for part in (fillers(rng, 0, 2), f"{names[0]}{between} {names[1]}", fillers(rng, 0, 1)) if part
    )


def fillers(rng: random.Random, fewest: int, most: int) -> str:
    """Between ``fewest`` and ``most`` fillers, in one text."""
    return " ".join(rng.choices(FILLERS, k=rng.randint(fewest, most)))
