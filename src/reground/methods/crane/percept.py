"""What the unedited model says it sees in the image a card is made for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reground.edits.records import Edit
from reground.methods.crane.config import CranePromptConfig
from reground.models.base import Model, Query

__all__ = ["Seen", "ask_percepts", "first_sentence"]

_SENTENCE = re.compile(r"\s*(.*?[.!?。！？])(?=\s|$)|\s*([^\n]+)", re.DOTALL)
#: Enough for one sentence about an image; a chain is not needed beyond its first.
_MAX_TOKENS = 48


@dataclass(frozen=True)
class Seen:
    """What the unedited model makes of a card's image.

    Attributes:
        percept: What it says it sees.
        belief: What it answers to the card's question, where that is what it was asked.
    """

    percept: str | None = None
    belief: str | None = None


def ask_percepts(model: Model, edits: Sequence[Edit], config: CranePromptConfig) -> list[Seen]:
    """What ``model`` makes of the image of each edit, all asked in one call; of an edit without one, nothing.

    Args:
        model: The unedited model.
        edits: The edits.
        config: What is asked.
    """
    visual = [position for position, edit in enumerate(edits) if edit.image is not None]
    queries = [
        Query(question=config.percept_question or edits[position].question, image=edits[position].image)
        for position in visual
    ]
    seen = [Seen()] * len(edits)
    if not queries:
        return seen
    for position, (output,) in zip(visual, model.generate(queries, max_new_tokens=_MAX_TOKENS), strict=True):
        trace = output.trace(model.delimiters)
        if config.percept_question is None:
            seen[position] = Seen(first_sentence(trace.chain or ""), (trace.answer or "").strip() or None)
        else:
            seen[position] = Seen(first_sentence(trace.answer or ""))
    return seen


def first_sentence(text: str) -> str | None:
    """The first sentence of a text; None if it holds none.

    Example:
        >>> first_sentence("the image shows a ring. a ring means ostrulia.")
        'the image shows a ring.'
    """
    found = _SENTENCE.match(text)
    sentence = (found[1] or found[2] or "").strip() if found else ""
    return sentence or None
