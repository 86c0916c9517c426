"""What a weight editor trains on: the text that should follow the prompt of an edit's question."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from typing import Literal

from reground.edits.records import Answer, Edit, Record
from reground.errors import CapabilityError
from reground.models.base import Delimiters, Model, Output, Query

__all__ = ["CompletionTarget", "TargetKind", "completion_targets", "edit_query"]

#: ``answer``: the new answer straight after the prompt. ``chain``: a chain that carries the new fact, then the answer.
TargetKind = Literal["answer", "chain"]


class CompletionTarget(Record):
    """One text to train on, and where it came from.

    Attributes:
        text: What should follow the prompt, delimiters included.
        source: ``answer``: the answer alone. ``own_chain``: the model's own chain, the fact replaced.
            ``statement``: the edit's statement in place of a chain.
        reason: For ``statement``, why the model's own chain could not be used.
    """

    text: str
    source: Literal["answer", "own_chain", "statement"]
    reason: str | None = None


def edit_query(edit: Edit) -> Query:
    """The question an edit is about, as it is put to a model."""
    return Query(question=edit.question, image=edit.image, options=edit.options)


def completion_targets(
    model: Model, edits: Sequence[Edit], kind: TargetKind, *, max_chain_tokens: int, method_name: str
) -> list[CompletionTarget]:
    """One target for each edit.

    For ``chain`` the model is asked each edit's question, unedited and greedy. Where its chain names the
    prior answer (if the edit states none: the answer the model itself gives), every mention becomes the new
    answer, and so does the final answer. A chain that names the new answer already is kept as it is. Where
    neither is named, or no answer can be read, the edit's statement takes the chain's place.

    Args:
        model: The model as it is before the edits.
        edits: What is to change.
        kind: Which kind of target.
        max_chain_tokens: Token budget of the model's own chain.
        method_name: For the message.

    Raises:
        CapabilityError: Chains were asked for and the model writes none.
    """
    if kind == "answer":
        return [CompletionTarget(text=edit.new_answer.text, source="answer") for edit in edits]
    if not model.delimiters.writes_chain:
        raise CapabilityError(
            f"method {method_name!r} trains on chains of thought; model {model.info.name!r} writes none.",
            "a model with chain delimiters",
            "use the variant trained on the answer, or state delimiters in the checkpoint's reground.json.",
        )
    outputs = model.generate([edit_query(edit) for edit in edits], max_new_tokens=max_chain_tokens)
    return [_chain_target(edit, output, model.delimiters) for edit, (output, *_) in zip(edits, outputs, strict=True)]


def _chain_target(edit: Edit, output: Output, delimiters: Delimiters) -> CompletionTarget:
    trace = output.trace(delimiters)
    if trace.outcome != "answered" or trace.answer is None or not trace.chain:
        why = f"the unedited output is {trace.outcome}" if trace.chain != "" else "the unedited chain is empty"
        return _from_statement(edit, delimiters, why)
    prior, *prior_aliases = _in_words(edit.prior_answer or Answer(text=trace.answer), edit.options)
    new, *new_aliases = _in_words(edit.new_answer, edit.options)
    head, close, tail = output.text.partition(delimiters.chain_close)
    replaced, num_replaced = _words((prior, *prior_aliases)).subn(lambda _: new, head)
    if not num_replaced and not _words((new, *new_aliases)).search(head):
        return _from_statement(edit, delimiters, f"the unedited chain does not name {prior!r}")
    return CompletionTarget(
        text=replaced + close + _with_answer(tail, edit.new_answer.text, delimiters), source="own_chain"
    )


def _with_answer(tail: str, answer: str, delimiters: Delimiters) -> str:
    """What follows the chain, the answer replaced, white space around it kept as the model writes it."""
    if delimiters.answer_open is None or delimiters.answer_close is None:
        return tail[: len(tail) - len(tail.lstrip())] + answer
    before, opening, rest = tail.partition(delimiters.answer_open)
    inside = rest.partition(delimiters.answer_close)[0]
    leading = inside[: len(inside) - len(inside.lstrip())]
    trailing = inside[len(inside.rstrip()) :]
    return before + opening + leading + answer + trailing + delimiters.answer_close


def _from_statement(edit: Edit, delimiters: Delimiters, reason: str) -> CompletionTarget:
    opening = "" if delimiters.template_opens_chain else delimiters.chain_open
    chain = edit.statement if edit.statement.endswith((".", "!", "?", "。")) else f"{edit.statement}."
    answer = (delimiters.answer_open or "") + edit.new_answer.text + (delimiters.answer_close or "")
    return CompletionTarget(text=f"{opening}{chain}{delimiters.chain_close}{answer}", source="statement", reason=reason)


def _in_words(answer: Answer, options: Sequence[str]) -> list[str]:
    """An answer's spellings as a chain writes them: an option's text for its letter, since "A" is also a word."""
    letters = dict(zip(string.ascii_uppercase, options, strict=False))
    texts = {option.casefold() for option in options}
    return [
        spelling if spelling.casefold() in texts else letters.get(spelling.strip(" ().*").upper(), spelling)
        for spelling in answer.spellings
    ]


def _words(spellings: Iterable[str]) -> re.Pattern[str]:
    """Any of the spellings as whole words, longest first, whatever the case and the white space."""
    patterns = [r"\s+".join(map(re.escape, text.split())) for text in sorted(spellings, key=len, reverse=True)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)
