"""Whether a text gives, or names, an answer.

Everything here compares normalised text. Nothing compares token ids or floats.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from reground.edits.records import Answer

__all__ = [
    "chosen_option",
    "counts_f1",
    "gold_option",
    "in_words",
    "matches",
    "names",
    "normalise",
    "same_answer",
    "token_f1",
]

#: Texts, and pairs of them, that are kept worked out. Judging goes edit by edit, so that what comes again comes soon.
_NUM_KEPT = 2048
#: Texts of which every word is kept: ten times the text. Both spellings of a text follow one another.
_NUM_SPLIT = 16

_ARTICLES = frozenset({"a", "an", "the"})
_ABBREVIATION = re.compile(r"\b[^\W\d_](?:\.[^\W\d_])+\b\.?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_KEPT_SIGNS = re.compile(r"(?<=\d)\.(?=\d)|(?<!\S)-(?=\d)")
_DROPPED_SYMBOLS = frozenset("`^~<>=|")
#: Scripts written without spaces, so that a word of theirs may start or end anywhere: Thai to Myanmar, Khmer,
#: kana, Han with its extensions; Hangul too, since particles are glued to its nouns.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
#: "the" alone introduces no letter: "the B cell" is not option B.
_INTRODUCTION = (
    r"(?:(?:the|my|correct|best|final|right)[\s*_]+)*"
    r"(?:(?:answer|option|choice|is|答案|选项|选择|选|是|为|(?:correct|best|final|right)\s*[:：=])[\s:：=*_]*)+"
)
_INTRODUCED_LETTER = re.compile(rf"^\W*{_INTRODUCTION}[(\[*_\"']*([A-Za-z])(?![A-Za-z0-9'’]|-\w)", re.IGNORECASE)
_LEADING_LETTER = re.compile(r"^[\s(\[*_\"'<]*([A-Za-z])(?:\s*[)\].:,;*_\"'>、。]|\s+-\s|\s*$)")
_LETTER_IN_CHAIN = (
    r"[(\[]{letter}[)\]]"
    r"|\b(?:option|choice|answer(?:\s+is)?)\s*:?\s*{letter}(?![a-z0-9'’])"
    r"|选项?\s*{letter}(?![a-z0-9])"
)


@lru_cache(maxsize=_NUM_KEPT)
def normalise(text: str) -> str:
    """``text`` as comparisons see it; applying it twice changes nothing.

    Compatibility-composed (NFKC) and case-folded; dots of abbreviations and commas that group thousands
    removed; other punctuation turned into spaces, but for a decimal point and a sign before a number; English
    articles dropped wherever another word follows (so that "the ring" is "ring" and "hepatitis A" keeps its
    letter); spaces squeezed. Text that is nothing but punctuation is kept as it is.

    Example:
        >>> normalise("The  U.S. Army's X-ray, No. 3.5!")
        'us army s x ray no 3.5'
    """
    words = _words(text)
    return " ".join([word for word in words[:-1] if word not in _ARTICLES] + list(words[-1:]))


def matches(answer_text: str, gold: Answer, options: Sequence[str] = ()) -> bool:
    """Whether an answer gives the gold answer.

    Free text: a spelling of ``gold`` equals the answer or occurs in it as whole words. An answer that lists several
    entities, or names the gold only to deny it ("X or Y", "not X"), therefore matches; denial is the business of the
    stance reader, which sees the chain.

    Multiple choice: if the answer leads with an option letter ("B", "(b)", "B. text", "answer: B"), the letter alone
    decides. Otherwise the option's text or a spelling of ``gold`` has to occur, and not merely inside a longer option.

    Args:
        answer_text: The answer as the model gave it.
        gold: The answer wanted; its text may be an option, an option's letter, or a spelling of an option.
        options: The options in the order they were lettered; empty for free text.
    """
    if not options:
        return any(_occurs(spelling, answer_text) for spelling in gold.spellings)
    wanted = gold_option(gold, options)
    letter = _leading_letter(answer_text, len(options))
    if letter is not None and wanted is not None:
        return letter == wanted
    if wanted in _named_options(answer_text, options):
        return True
    texts = {normalise(option) for option in options}
    aliases = [text for text in _spoken_spellings(gold, options) if normalise(text) not in texts]
    return any(_occurs(alias, answer_text) for alias in aliases)


def names(text: str, entity: Answer, options: Sequence[str] = ()) -> bool:
    """Whether ``text`` (a chain, usually) names an entity: one of its spellings occurs as whole words.

    With ``options``, the text of the entity's option counts, and so does its letter where the text clearly
    means the letter ("option B", "(B)", "the answer is B"); a bare letter does not, as it is a word of its
    own in many chains.
    """
    if not options:
        return any(_occurs(spelling, text) for spelling in entity.spellings)
    if any(_occurs(spelling, text) for spelling in _spoken_spellings(entity, options)):
        return True
    index = gold_option(entity, options)
    if index is None:
        return False
    pattern = _LETTER_IN_CHAIN.format(letter=chr(ord("a") + index))
    found = re.finditer(pattern, unicodedata.normalize("NFKC", text), re.IGNORECASE)
    # "the answer is a ring": a lower-case "a" after a word and a space is an article
    return any(not match[0].endswith(" a") for match in found)


def in_words(answer: Answer, options: Sequence[str] = ()) -> Answer:
    """``answer`` as running text would name it: its option's text takes the place of its option's letter.

    Used wherever the text is not about these options, so that a stray "B" does not count as naming the answer.
    """
    if not options:
        return answer
    text, *aliases = _spoken_spellings(answer, options)
    return Answer(text=text, aliases=tuple(aliases))


def same_answer(first: str, second: str, options: Sequence[str] = ()) -> bool:
    """Whether two answers are the same: equal once normalised, or the same option of a multiple choice.

    Example:
        >>> same_answer("The Kidney.", "kidney")
        True
    """
    if normalise(first) == normalise(second):
        return True
    if not options:
        return False
    choices = [chosen_option(text, options) for text in (first, second)]
    return choices[0] is not None and choices[0] == choices[1]


def token_f1(answer_text: str, gold: Answer) -> float:
    """Harmonic mean of token precision and recall against the nearest spelling, in [0, 1].

    Tokens are the words of the normalised text; in scripts written without spaces, its characters.

    Source:
        Rajpurkar et al., 2016, "SQuAD", section 6.1. Differs: normalisation as in ``normalise``; unspaced scripts.
    """
    given = _tokens(answer_text)
    return max(_tokens_f1(given, _tokens(spelling)) for spelling in gold.spellings)


@lru_cache(maxsize=_NUM_KEPT)
def _tokens_f1(given: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    return counts_f1(Counter(given), Counter(wanted))


@lru_cache(maxsize=_NUM_SPLIT)
def _words(text: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    joined = _THOUSANDS.sub("", _ABBREVIATION.sub(lambda match: match[0].replace(".", ""), folded))
    cleaned = joined.translate(_WITHOUT_DROPPED)
    for sign in _KEPT_SIGNS.finditer(joined):
        cleaned = cleaned[: sign.start()] + sign[0] + cleaned[sign.end() :]
    return tuple(cleaned.split() or folded.split())


class _WithoutDropped(dict[int, str]):
    """What each character becomes: itself, or a space if it is dropped; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_dropped = unicodedata.category(character)[0] in "PC" or character in _DROPPED_SYMBOLS
        self[code] = " " if is_dropped else character
        return self[code]


_WITHOUT_DROPPED = _WithoutDropped()


@lru_cache(maxsize=_NUM_KEPT)
def _with_articles(text: str) -> str:
    return " ".join(_words(text))


@lru_cache(maxsize=_NUM_KEPT)
def _occurs(spelling: str, text: str) -> bool:
    """Whether ``spelling`` occurs in ``text`` as whole words, articles dropped from both or from neither."""
    return _contains(normalise(spelling), normalise(text)) or _contains(_with_articles(spelling), _with_articles(text))


def _contains(needle: str, haystack: str) -> bool:
    return needle in haystack and next(_spans(needle, haystack), None) is not None


def _spans(needle: str, haystack: str) -> Iterator[tuple[int, int]]:
    """Where ``needle`` occurs in ``haystack`` as whole words; both are normalised."""
    if not needle:
        return
    start = haystack.find(needle)
    while start >= 0:
        end = start + len(needle)
        if _is_boundary(haystack, start) and _is_boundary(haystack, end):
            yield start, end
        start = haystack.find(needle, start + 1)


def _is_boundary(text: str, position: int) -> bool:
    if position in (0, len(text)):
        return True
    left, right = text[position - 1], text[position]
    return left == " " or right == " " or bool(_UNSPACED.match(left) or _UNSPACED.match(right))


def gold_option(gold: Answer, options: Sequence[str]) -> int | None:
    """Index of the option that ``gold`` is, by its text, a spelling or its letter; None if it is none."""
    if not options:
        return None
    texts = [normalise(option) for option in options]
    for spelling in gold.spellings:
        if normalise(spelling) in texts:
            return texts.index(normalise(spelling))
    for spelling in gold.spellings:
        letter = _leading_letter(spelling, len(options))
        if letter is not None and normalise(spelling) == chr(ord("a") + letter):
            return letter
    return None


def _spoken_spellings(gold: Answer, options: Sequence[str]) -> tuple[str, ...]:
    """What stands for ``gold`` in running text: with options, its option's text instead of its letter."""
    index = gold_option(gold, options)
    if index is None:
        return gold.spellings
    letter = chr(ord("a") + index)
    texts = {normalise(option) for option in options}
    spoken = [text for text in gold.spellings if normalise(text) != letter or letter in texts]
    return (*spoken, options[index])


def _leading_letter(answer_text: str, num_options: int) -> int | None:
    text = unicodedata.normalize("NFKC", answer_text).strip()
    match = _LEADING_LETTER.match(text)
    if match is None:
        match = _INTRODUCED_LETTER.match(text)
        # "answer: a ring" leads with an article, "answer: a" and "the answer is A because ..." with a letter
        if match is not None and match[1] == "a" and text[match.end(1) :].strip(" .)]*_\"'"):
            match = None
    if match is None:
        return None
    index = ord(match[1].lower()) - ord("a")
    return index if index < num_options else None


def _named_options(answer_text: str, options: Sequence[str]) -> set[int]:
    """Options whose text occurs in the answer, an option inside a longer named option not counted."""
    text = normalise(answer_text)
    by_length = sorted(range(len(options)), key=lambda index: -len(normalise(options[index])))
    named, taken = set(), list[tuple[int, int]]()
    for index in by_length:
        spans = list(_spans(normalise(options[index]), text))
        free = [(a, b) for a, b in spans if not any(c <= a and b <= d and d - c > b - a for c, d in taken)]
        if free:
            named.add(index)
            taken += free
    return named


def chosen_option(answer_text: str, options: Sequence[str]) -> int | None:
    """Index of the option an answer gives, by its leading letter or as the only one it names; None if it gives none."""
    letter = _leading_letter(answer_text, len(options))
    if letter is not None:
        return letter
    named = _named_options(answer_text, options)
    return next(iter(named)) if len(named) == 1 else None


@lru_cache(maxsize=_NUM_KEPT)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_UNSPACED.sub(lambda match: f" {match[0]} ", normalise(text)).split())


def counts_f1(given: Counter[str], wanted: Counter[str]) -> float:
    """Harmonic mean of precision and recall of counted words, in [0, 1]; 0 where none is shared."""
    num_shared = (given & wanted).total()
    return 2 * num_shared / (given.total() + wanted.total()) if num_shared else 0.0
