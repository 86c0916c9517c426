"""MMEVOKE: does the generated answer contain the expected one, and how many of its words are shared."""

from __future__ import annotations

import re
import string
from collections import Counter

from reground.edits.records import Probe
from reground.evaluation.labels import NO_ROW, Measure, Unscored
from reground.evaluation.lenses.base import Asked, Lens, Measures
from reground.evaluation.matching import counts_f1

__all__ = ["LENS", "cover_exact_match", "token_f1"]

_KINDS = ("reliability", "generality", "portability")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}


def _words(text: str) -> list[str]:
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def cover_exact_match(prediction: str, gold: str) -> float:
    """1 if the words of ``gold`` occur in ``prediction`` one after the other, else 0; "two" and "2" are one word.

    Example:
        >>> cover_exact_match("It is the Eiffel Tower, in Paris.", "Eiffel Tower")
        1.0
    """
    given, wanted = ([_DIGITS.get(word, word) for word in _words(text)] for text in (prediction, gold))
    size = len(wanted)
    return float(size > 0 and any(given[start : start + size] == wanted for start in range(len(given) - size + 1)))


def token_f1(prediction: str, gold: str) -> float:
    """Harmonic mean of word precision and recall, in [0, 1].

    Example:
        >>> token_f1("the red tower", "tower")
        0.6666666666666666
    """
    given, wanted = Counter(_words(prediction)), Counter(_words(gold))
    if not given or not wanted:
        return float(given == wanted)
    return counts_f1(given, wanted)


def _columns(probe: Probe) -> tuple[str, ...]:
    return tuple(f"{metric}_{probe.kind}" for metric in ("cover_exact_match", "token_f1") if probe.kind in _KINDS)


def _measure(asked: Asked) -> Measures:
    gold, trace = asked.probe.expectation.answer, asked.after.trace
    assert gold is not None, "probes of the kinds this lens reads expect an answer"
    scores: tuple[Measure, Measure] = (Unscored(NO_ROW), Unscored(NO_ROW))
    if trace is not None:
        prediction = trace.answer or ""
        scores = (cover_exact_match(prediction, gold.text), token_f1(prediction, gold.text))
    return dict(zip(_columns(asked.probe), scores, strict=True))


LENS = Lens(
    name="mmevoke",
    summary="Cover exact match and token F1 of the generated answer.",
    source="MMEVOKE / EVOKE (ICLR 2026), arXiv 2505.24449; F1 after Rajpurkar et al., 2016 (SQuAD)",
    metrics=tuple(f"{metric}_{kind}" for metric in ("cover_exact_match", "token_f1") for kind in _KINDS),
    columns=_columns,
    measure=_measure,
    differs=(
        "The answer is scored without the chain; the source's models write none. An output without a readable answer "
        "scores 0.",
        "Contractions are not spelled out as the VQA evaluation does.",
        "The source has one question an item; figures are given for each kind of probe.",
    ),
)
