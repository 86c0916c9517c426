"""What a text calls by name: runs of its words, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from reground.edits.records import Answer

__all__ = ["Sentence", "as_name", "calls", "names_in", "normalised", "sentences_of"]

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|[。！？\n]|$)", re.DOTALL)
_ON_NOTES = re.compile(r"\b(?:note|card)s?\b", re.IGNORECASE)
_MAX_NAME_WORDS = 12


@dataclass(frozen=True)
class Sentence:
    """One sentence of a chain.

    Attributes:
        text: The sentence, without the white space around it.
        end: Where it ends in the chain.
    """

    text: str
    end: int


def sentences_of(chain: str) -> list[Sentence]:
    """The whole sentences of a chain; what is cut off at its end is none.

    Example:
        >>> [sentence.text for sentence in sentences_of("it is a ring. dr. lee agrees. and th")]
        ['it is a ring.', 'dr.', 'lee agrees.']
    """
    found = []
    for match in _SENTENCE.finditer(chain):
        text = match[0].strip()
        if text and (text[-1] in ".!?。！？" or match[0].endswith("\n")):
            found.append(Sentence(text, match.end()))
    return found


def normalised(text: str) -> str:
    """Words of a text in lower case, without punctuation."""
    return " ".join(_WORD.findall(text.casefold()))


def as_name(text: str | None) -> str:
    """A text as ``names_in`` gives it; empty if it is longer than what that looks for, and for None."""
    name = normalised(text or "")
    return name if name.count(" ") < _MAX_NAME_WORDS else ""


def names_in(text: str) -> set[str]:
    """Everything a text may call by name: each run of up to twelve of its words.

    Example:
        >>> sorted(names_in("A ring."))
        ['a', 'a ring', 'ring']
    """
    words = normalised(text).split()
    return {
        " ".join(words[start:end])
        for start in range(len(words))
        for end in range(start + 1, min(start + _MAX_NAME_WORDS, len(words)) + 1)
    }


def calls(sentence: str, name: str, told: Iterable[Answer] = ()) -> bool:
    """Whether a sentence of a chain calls something by its name.

    A sentence that speaks of notes or cards repeats names that it read there; of those it calls only what cards say.

    Args:
        sentence: Of a chain.
        name: As ``as_name`` gives it; what has no name is never called.
        told: What the cards beside it say.

    Example:
        >>> calls("the image shows a ring.", "a ring"), calls("the note is about a ring: it differs.", "a ring")
        (True, False)
    """
    if not name or name not in names_in(sentence):
        return False
    return not _ON_NOTES.search(sentence) or any(name == normalised(text) for one in told for text in one.spellings)
