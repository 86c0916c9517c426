"""Facts that demonstrations are made of, kept apart from everything that is scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from reground.edits.records import Record
from reground.errors import InputError

__all__ = ["SHIPPED_POOLS", "PoolFact", "pool_checksum", "read_pool"]

#: Pools that ship with the package: name -> file beside this module.
SHIPPED_POOLS = {"phantom": "phantom_train.jsonl"}


_Text = Annotated[str, Field(min_length=1)]


class PoolFact(Record):
    """An edit of another subject, with what each kind of demonstration asks about it.

    Attributes:
        subject: What the edit is about.
        relation: Which fact about it.
        question: The edit's question.
        new_answer: What it is edited to.
        prior_answer: What held before.
        statement: The edit in one sentence.
        rephrase: The question in other words; its answer is the new one.
        other_question: A question that the edit does not touch.
        other_answer: Its answer.
        source: Where the edit comes from, e.g. benchmark and split.
    """

    subject: _Text
    relation: _Text
    question: _Text
    new_answer: _Text
    prior_answer: _Text
    statement: _Text
    rephrase: _Text
    other_question: _Text
    other_answer: _Text
    source: _Text


def read_pool(name: str) -> tuple[PoolFact, ...]:
    """The pool a setting names.

    Args:
        name: One of ``SHIPPED_POOLS``, or the path of a JSONL file.

    Raises:
        InputError: No such file, a line that is no ``PoolFact``, or no line at all.
    """
    file_name = SHIPPED_POOLS.get(name)
    source = resources.files(__package__).joinpath(file_name) if file_name else Path(name)
    try:
        lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(name, "it cannot be read") from error
    facts = []
    for number, line in enumerate(lines, start=1):
        try:
            facts.append(PoolFact.model_validate_json(line))
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            field = ".".join(map(str, detail["loc"]))
            raise _unreadable(name, f"record {number}: {field} {detail['msg']}".strip()) from error
    if not facts:
        raise _unreadable(name, "it holds no record")
    return tuple(facts)


def pool_checksum(facts: Sequence[PoolFact]) -> str:
    """SHA-256 over the facts, in order."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.model_dump_json().encode())
    return digest.hexdigest()


def _unreadable(name: str, why: str) -> InputError:
    return InputError(
        f"the demonstration pool {name!r} cannot be used: {why}.",
        f"one of {', '.join(SHIPPED_POOLS)}, or a JSONL file with the fields {', '.join(PoolFact.model_fields)}",
        "correct the method's `pool`, or the file.",
    )
