"""The one parser of what a model wrote, and the delimiters it parses by.

Metrics, rewards and servers all read a model's text through ``parse_trace``, so that one text never counts as
an answer in one place and as a broken format in another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple, Self

from pydantic import model_validator

from reground.edits.records import Record, Trace, TraceOutcome

__all__ = ["Delimiters", "parse_trace"]

_Part = Literal["chain_open", "chain_close", "answer_open", "answer_close"]

#: A unit longer than this many tokens is a paragraph said again, not a loop.
_MAX_UNIT = 20
#: Shortest stretch, in tokens, that can be a loop: "no no no" is emphasis.
_MIN_LOOP = 16
_MIN_REPEATS = 3
#: A text cut by the budget is also a loop if it ends in one this long, however much came before it.
_MIN_TAIL_LOOP = 40
_MIN_TAIL_REPEATS = 4

# Words; single characters of scripts written without spaces; single punctuation marks.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]")
#: No language writes words this long; such a run of letters is read letter by letter.
_MAX_WORD = 40


class Delimiters(Record):
    """How a model marks its chain of thought and its answer.

    Attributes:
        chain_open, chain_close: Around the chain.
        answer_open, answer_close: Around the answer; None if the answer is all that follows the chain.
        template_opens_chain: The chat template already ends with ``chain_open``, so that the model's own text
            starts inside the chain.
        writes_chain: The model writes a chain by default; then an output without one is a broken format.
    """

    chain_open: str = "<think>"
    chain_close: str = "</think>"
    answer_open: str | None = "<answer>"
    answer_close: str | None = "</answer>"
    template_opens_chain: bool = False
    writes_chain: bool = True

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if (self.answer_open is None) != (self.answer_close is None):
            raise ValueError("answer_open and answer_close are given together or not at all")
        marks = [m for m in (self.chain_open, self.chain_close, self.answer_open, self.answer_close) if m is not None]
        if any(not mark.strip() for mark in marks):
            raise ValueError("a delimiter cannot be blank")
        if any(a in b for i, a in enumerate(marks) for j, b in enumerate(marks) if i != j):
            raise ValueError("no delimiter may equal or contain another")
        return self


class _Mark(NamedTuple):
    part: _Part
    start: int
    end: int


def parse_trace(
    text: str,
    delimiters: Delimiters,
    *,
    num_tokens: int,
    is_truncated: bool,
    is_thinking: bool = True,
    template_opened: bool | None = None,
) -> Trace:
    """What ``text`` says, as a typed outcome; never raises on any text.

    The first rule that holds decides:

    1. ``degenerate``: the chain is a loop. It comes first because a loop is the cause and a missing delimiter
       or a spent budget only its consequence.
    2. ``truncated``: the token budget ended the text, whatever it holds: nothing tells how it goes on.
    3. ``broken_format``: a delimiter is missing, repeated or out of order, or there is no chain although the
       model writes one by default.
    4. ``no_answer``: every rule of form is kept, but the answer is blank, or the text ends with the chain.
    5. ``answered``.

    A loop is an n-gram of 1 to 20 tokens (words; characters of scripts without spaces; punctuation marks)
    that follows itself at least 3 times without a gap, over at least 16 tokens and at least half of the
    chain. If the budget cut the text, 4 repeats over 40 tokens that reach its end are enough. Where the form
    is broken, so that there is no chain to speak of, or the budget cut the text, the whole text is held
    against the same rule.

    Text before the chain, between chain and answer, and after the answer is no fault of form.

    Args:
        text: What the model generated, delimiters kept, end and padding tokens removed.
        delimiters: How this model marks chain and answer.
        num_tokens: Tokens generated, the end token excluded.
        is_truncated: The token budget ended the text.
        is_thinking: False if an empty chain was asked for. Then the delimiters of the chain may be in
            ``text`` (the model wrote them) or absent from it (the template did); a chain written all the same
            is kept.
        template_opened: Whether the prompt ended with ``chain_open``; None: as ``delimiters`` say, and never
            in no-thinking mode.

    Returns:
        The trace. Its chain is None where the delimiters of the chain are not what they should be, or where a
        model that writes no chains wrote none; of a text that was cut or loops inside the chain, it is what
        there is of it.
    """
    if template_opened is None:
        template_opened = delimiters.template_opens_chain and is_thinking
    marks = _find_marks(text, delimiters)
    chain, answer, fault = _take_apart(text, marks, delimiters, is_thinking, template_opened)
    if chain is None and not any(mark.part == "chain_close" for mark in marks):
        unfinished = _unfinished_chain(text, marks, template_opened)
    else:
        unfinished = chain

    def result(outcome: TraceOutcome, reason: str | None) -> Trace:
        shown = unfinished if outcome in ("degenerate", "truncated") else chain
        return Trace(
            outcome=outcome,
            chain=None if shown is None else shown.strip(),
            answer=answer if outcome == "answered" else None,
            num_tokens=num_tokens,
            reason=reason,
        )

    loop = _loop(chain, is_cut=False) if chain is not None else None
    if loop is None and (fault is not None or is_truncated):
        loop = _loop(text, is_cut=is_truncated)
    if loop is not None:
        return result("degenerate", loop)
    if is_truncated:
        return result("truncated", f"the budget ended the text after {num_tokens} tokens")
    if fault is not None:
        return result("broken_format", fault)
    if not answer:
        return result("no_answer", "the answer is blank" if answer is not None else "the text ends with the chain")
    return result("answered", None)


def _find_marks(text: str, delimiters: Delimiters) -> list[_Mark]:
    """Every delimiter in ``text``, in order."""
    pattern, parts = _pattern(delimiters)
    return [_Mark(parts[m.group()], m.start(), m.end()) for m in pattern.finditer(text)]


@cache
def _pattern(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, _Part]]:
    """What finds the delimiters, and which part each of them is."""
    parts: dict[str, _Part] = {delimiters.chain_open: "chain_open", delimiters.chain_close: "chain_close"}
    if delimiters.answer_open is not None and delimiters.answer_close is not None:
        parts |= {delimiters.answer_open: "answer_open", delimiters.answer_close: "answer_close"}
    return re.compile("|".join(re.escape(mark) for mark in parts)), parts


def _take_apart(
    text: str, marks: Sequence[_Mark], delimiters: Delimiters, is_thinking: bool, template_opened: bool
) -> tuple[str | None, str | None, str | None]:
    """Chain, answer and what is wrong with the form; the answer is None if the text ends with the chain."""
    fault = _repeated_or_unordered(marks, template_opened)
    around_chain = [mark for mark in marks if mark.part in ("chain_open", "chain_close")]
    parts = [mark.part for mark in around_chain]
    chain: str | None = None
    rest = text
    if parts == (["chain_close"] if template_opened else ["chain_open", "chain_close"]):
        closed = around_chain[-1]
        chain = text[0 if template_opened else around_chain[0].end : closed.start]
        rest = text[closed.end :]
    elif parts or template_opened:
        missing = delimiters.chain_open if "chain_close" in parts else delimiters.chain_close
        fault = fault or f"{missing} is missing"
    elif not is_thinking:
        chain = ""
    elif delimiters.writes_chain:
        fault = fault or f"no chain: neither {delimiters.chain_open} nor {delimiters.chain_close} is there"
    if fault is not None or delimiters.answer_open is None:
        return chain, rest.strip(), fault
    around_answer = {mark.part: mark for mark in marks if mark not in around_chain}
    match around_answer.get("answer_open"), around_answer.get("answer_close"):
        case _Mark() as opened, _Mark() as closed:
            return chain, text[opened.end : closed.start].strip(), None
        case None, None if chain is not None and not rest.strip():
            return chain, None, None
        case None, _:
            return chain, None, f"{delimiters.answer_open} is missing"
        case _:
            return chain, None, f"{delimiters.answer_close} is missing"


def _repeated_or_unordered(marks: Sequence[_Mark], template_opened: bool) -> str | None:
    """The first delimiter that comes twice or too early, in words."""
    order: dict[_Part, int] = {"chain_open": 0, "chain_close": 1, "answer_open": 2, "answer_close": 3}
    seen: list[_Part] = ["chain_open"] if template_opened else []
    for mark in marks:
        if mark.part in seen:
            return f"{mark.part} is repeated at character {mark.start}"
        if seen and order[mark.part] < order[seen[-1]]:
            return f"{mark.part} is out of order at character {mark.start}"
        seen.append(mark.part)
    return None


def _unfinished_chain(text: str, marks: Sequence[_Mark], template_opened: bool) -> str | None:
    """What there is of a chain that was never closed."""
    if template_opened and not marks:
        return text
    if not template_opened and len(marks) == 1 and marks[0].part == "chain_open":
        return text[marks[0].end :]
    return None


def _loop(text: str, *, is_cut: bool) -> str | None:
    """Which n-gram ``text`` loops on, in words a person can read; None if it does not loop."""
    tokens: list[str] = []
    for token in _TOKEN.findall(text.casefold()):
        tokens.extend(token if len(token) > _MAX_WORD else [token])
    # Every token of a loop comes at least as often as its unit: of most texts that says enough.
    if sum(count for count in Counter(tokens).values() if count >= _MIN_REPEATS) < _MIN_LOOP:
        return None
    for size in range(1, min(_MAX_UNIT, len(tokens) // _MIN_REPEATS) + 1):
        length, longest, end_of_longest = 0, 0, 0
        for i in range(size, len(tokens)):
            length = length + 1 if tokens[i] == tokens[i - size] else 0
            if length > longest:
                longest, end_of_longest = length, i
        run = longest + size if longest else 0
        repeats = run // size
        is_loop = repeats >= _MIN_REPEATS and run >= _MIN_LOOP and 2 * run >= len(tokens)
        if not is_loop and is_cut:
            # The budget may end the text inside a word: the last token need not fit the pattern.
            tail = max(length, longest if end_of_longest >= len(tokens) - 2 else 0)
            tail_run = tail + size if tail else 0
            is_loop = tail_run >= _MIN_TAIL_LOOP and tail_run // size >= _MIN_TAIL_REPEATS
            repeats = max(repeats, tail_run // size)
        if is_loop:
            unit = " ".join(tokens[end_of_longest - size + 1 : end_of_longest + 1])
            return f"{repeats} repeats of {unit!r} in a row"
    return None
