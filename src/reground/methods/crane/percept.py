"""What the unedited model says it sees in the image a card is made for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reground.edits.records import Edit
from reground.methods.crane.config import CranePromptConfig
from reground.models.base import Model, Query

__all__ = ["ask_percepts", "first_sentence"]

_SENTENCE = re.compile(r"\s*(.*?[.!?。！？])(?=\s|$)|\s*([^\n]+)", re.DOTALL)
#: Enough for one sentence about an image; a chain is not needed beyond its first.
_MAX_TOKENS = 48


def ask_percepts(model: Model, edits: Sequence[Edit], config: CranePromptConfig) -> list[str | None]:
    """What ``model`` sees in the image of each edit, all asked in one call; None for an edit without one.

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
    percepts: list[str | None] = [None] * len(edits)
    if not queries:
        return percepts
    for position, (output,) in zip(visual, model.generate(queries, max_new_tokens=_MAX_TOKENS), strict=True):
        trace = output.trace(model.delimiters)
        said = trace.chain if config.percept_question is None else trace.answer
        percepts[position] = first_sentence(said or "")
    return percepts


def first_sentence(text: str) -> str | None:
    """The first sentence of a text; None if it holds none.

    Example:
        >>> first_sentence("the image shows a ring. a ring means ostrulia.")
        'the image shows a ring.'
    """
    found = _SENTENCE.match(text)
    sentence = (found[1] or found[2] or "").strip() if found else ""
    return sentence or None
