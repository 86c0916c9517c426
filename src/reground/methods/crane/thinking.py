"""Reading an output: what its chain names for the first time, and whether it says what a card does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from reground.edits.names import Sentence, normalised
from reground.edits.records import Answer
from reground.models.base import Delimiters, Output

__all__ = ["asserts", "chain_in", "naming_sentences", "restated", "says", "states"]

_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"(?<!\w)[a-z](?!\w)")
_NO_WORD = re.compile(r"[\W_]+")
#: Shorter words name nothing.
_MIN_LETTERS = 3
#: Words that deny something or leave a choice.
_WEIGHS = re.compile(r"\b(?:not|no|nor|never|neither|either|or|whether|if|without|rather|instead|unlike)\b|n't\b|[?？]")


def chain_in(text: str, delimiters: Delimiters) -> str | None:
    """What of a model's output is its chain, white space kept; None if it holds none.

    A chain that was not closed reaches to the end.
    """
    _, is_open, rest = ("", True, text) if delimiters.template_opens_chain else text.partition(delimiters.chain_open)
    return rest.partition(delimiters.chain_close)[0] if is_open else None


def naming_sentences(sentences: Sequence[Sentence], known: Sequence[str]) -> Iterator[Sentence]:
    """The sentences that hold a word which neither ``known`` texts nor sentences before them hold.

    Example:
        >>> named = naming_sentences([Sentence("this is a ring.", 15), Sentence("a ring.", 23)], ["what is this?"])
        >>> [sentence.text for sentence in named]
        ['this is a ring.']
    """
    words = {word for text in known for word in _WORD.findall(text.casefold())}
    for sentence in sentences:
        own = set(_WORD.findall(sentence.text.casefold()))
        if any(len(word) >= _MIN_LETTERS for word in own - words):
            yield sentence
        words |= own


def says(output: Output, answer: Answer, options: Sequence[str], delimiters: Delimiters) -> bool:
    """Whether an output has a spelling of ``answer`` anywhere, within other words too, or the letter of its option.

    In doubt it does: spaces and punctuation are passed over, and "a" may be the letter of an option. It is for telling
    outputs in which nothing of a card can be found.

    Args:
        output: What was written.
        answer: What is looked for.
        options: Of a multiple-choice question, in their order.
        delimiters: How the model marks its answer.
    """
    text = output.text
    if options:
        chosen = text.rpartition(delimiters.chain_close)[2].rpartition(delimiters.answer_open or "\0")[2]
        letters = _LETTER.findall(chosen.casefold())
        text = " ".join((text, *(option for place, option in enumerate(options) if chr(ord("a") + place) in letters)))
    read = _run_together(text)
    return any(_run_together(spelling) in read for spelling in answer.spellings)


def states(text: str, answer: Answer) -> bool:
    """Whether a text has a spelling of ``answer`` as whole words.

    Example:
        >>> states("the status is unsafe.", Answer(text="safe")), states("so it is Safe.", Answer(text="safe"))
        (False, True)
    """
    words = f" {normalised(text)} "
    return any(f" {normalised(spelling)} " in words for spelling in answer.spellings)


def asserts(text: str, answer: Answer, prior: Answer | None = None) -> bool:
    """Whether a sentence of a chain plainly says ``answer``: nothing is weighed or denied in it.

    In doubt it does not: an answer of fewer than four letters may stand for something else, and where the prior is
    named beside it, or a word that denies or leaves a choice, the sentence may say the opposite.

    Example:
        >>> asserts("it is in valmia.", Answer(text="valmia")), asserts("it is not in valmia.", Answer(text="valmia"))
        (True, False)
    """
    if len(_run_together(answer.text)) <= _MIN_LETTERS or not states(text, answer):
        return False
    return not _WEIGHS.search(text.casefold()) and (prior is None or not states(text, prior))


def restated(text: str, prior: Answer, answer: Answer, name: str = "") -> str | None:
    """A sentence that plainly says ``prior``, with ``answer`` in its place; None if it does not say so.

    Args:
        text: The sentence.
        prior, answer: What it says, and what it is to say.
        name: As ``as_name`` gives it, of what the sentence is about: what stands within that stays.

    Example:
        >>> restated("Paris Vale lives in Paris.", Answer(text="paris"), Answer(text="Rome"), "paris vale")
        'Paris Vale lives in Rome.'
    """
    if not asserts(text, prior, answer):
        return None
    parts = _words(name).split(text) if name else [text]
    names = _words(name).findall(text) if name else []
    said = [_words(*map(normalised, prior.spellings)).sub(lambda _: answer.text, part) for part in parts]
    if said == parts:
        return None
    return "".join(part + called for part, called in zip(said, [*names, ""], strict=True))


def _words(*names: str) -> re.Pattern[str]:
    """The words of one of these names, one after the other, whatever stands between them; the longest name first."""
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    words = "|".join(r"\W+".join(map(re.escape, name.split())) for name in longest_first)
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


def _run_together(text: str) -> str:
    """Letters and digits of a text, folded, nothing between them."""
    return _NO_WORD.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
