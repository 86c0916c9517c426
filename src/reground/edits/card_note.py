"""How an edit card reads in a prompt: the same for the policy's training and for its use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CardNote", "card_note"]


@dataclass(frozen=True)
class CardNote:
    """What a prompt says of one card.

    Attributes:
        statement: The change in one sentence.
        new_answer: What holds from now on.
        percept: What the unedited model says it sees in the image the card was made for; None for a card without an
            image, or where it is not to be told.
        is_called: Whether to say that question or chain calls the card by its name.
    """

    statement: str
    new_answer: str
    percept: str | None = None
    is_called: bool = False


def card_note(cards: Sequence[CardNote], instruction: str | None = None) -> str:
    """Cards as the text of a note, in the order given; empty if there is none.

    Of two cards on one fact the newer is to come first.

    Args:
        cards: What to say.
        instruction: A line before them, for models that were not trained to read cards.

    Example:
        >>> print(card_note([CardNote("A ring must be read as ostrulia.", "ostrulia", "the image shows a ring.")]))
        [card]
        states: A ring must be read as ostrulia.
        made for: the image shows a ring.
        new answer: ostrulia
        [end of card]
    """
    if not cards:
        return ""
    return "\n".join([*([instruction] if instruction else ()), *map(_text, cards)])


def _text(card: CardNote) -> str:
    lines = ["[card]", f"states: {card.statement}"]
    if card.percept is not None:
        lines.append(f"made for: {card.percept}")
    if card.is_called:
        lines.append("called by name: yes")
    return "\n".join([*lines, f"new answer: {card.new_answer}", "[end of card]"])
