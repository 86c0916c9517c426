"""How a query reads as the text of one user turn; the same for every model."""

from __future__ import annotations

import string

from reground.errors import InputError
from reground.models.base import Query

__all__ = ["prompt_text"]


def prompt_text(query: Query) -> str:
    """The text of the user's turn: the note, the question, then one lettered line for each option.

    Args:
        query: The question; its image is not part of the text.

    Raises:
        InputError: More options than there are letters.

    Example:
        >>> query = Query(question="is it a ring?", note="Note: rings are new.", options=("yes", "no"))
        >>> print(prompt_text(query))
        Note: rings are new.
        is it a ring?
        A. yes
        B. no
    """
    letters = string.ascii_uppercase
    if len(query.options) > len(letters):
        raise InputError(
            f"the question {query.question!r} has {len(query.options)} options.",
            f"at most {len(letters)}, one for each letter",
            "split the question or drop options.",
        )
    lines = [query.note] if query.note else []
    lines.append(query.question)
    lines.extend(f"{letter}. {option}" for letter, option in zip(letters, query.options, strict=False))
    return "\n".join(lines)
