"""Which demonstrations stand before a new fact, in which order, and how they read.

Axes: N facts of the pool, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from reground.edits.records import Edit
from reground.methods.ike.config import IkeConfig
from reground.methods.ike.encoder import Encoder
from reground.methods.ike.pool import PoolFact

__all__ = ["DemonstrationIndex", "DemonstrationKind", "kinds_in_turn", "note_text"]

#: ``copy``: the edit's own question, answered with the new answer. ``update``: the question in other words, likewise.
#: ``retain``: a question the edit does not touch, answered as ever.
DemonstrationKind = Literal["copy", "update", "retain"]

_KINDS: tuple[DemonstrationKind, ...] = ("copy", "update", "retain")


def kinds_in_turn(ratio: Sequence[int], num_demonstrations: int) -> Iterator[DemonstrationKind]:
    """Kinds such that every beginning of the sequence is as near to ``ratio`` as whole numbers allow.

    Each turn goes to the kind that is furthest behind its share; of equals, to the first.

    Example:
        >>> list(kinds_in_turn((1, 3, 4), 4))
        ['retain', 'update', 'retain', 'copy']
    """
    counts = [0, 0, 0]
    for turn in range(1, num_demonstrations + 1):
        # Compared in whole numbers: turn * share - count, times the sum of the ratio.
        behind = [turn * part - count * sum(ratio) for part, count in zip(ratio, counts, strict=True)]
        index = behind.index(max(behind))
        counts[index] += 1
        yield _KINDS[index]


class DemonstrationIndex:
    """The facts of a pool, to be found by the likeness of what they state.

    Args:
        facts: The pool.
        template: How a new fact reads.
        encoder: Gives unit vectors.
    """

    def __init__(self, facts: Sequence[PoolFact], template: str, encoder: Encoder) -> None:
        self.encoder = encoder
        self._facts = facts
        self._stated = [template.format(**_fields(fact)) for fact in facts]
        self._vectors_ND = encoder.encode(self._stated)

    def demonstrations(self, fact_text: str, edits: Sequence[Edit], config: IkeConfig) -> list[str]:
        """Demonstrations for a new fact, the most similar first.

        The k facts whose own text is nearest to ``fact_text`` by cosine are taken; of equals, the earlier. Each
        gives one demonstration, the kinds going round in the stated ratio. Facts about the subject of an edit are
        passed over.

        Args:
            fact_text: The new fact as the prompt states it.
            edits: All edits in force.
            config: k, ratio and the template of an example.
        """
        edited = {edit.subject.casefold() for edit in edits}
        similarities_N = self._vectors_ND @ self.encoder.encode([fact_text])[0]
        order = np.argsort(-similarities_N, kind="stable").tolist()
        usable = [index for index in order if self._facts[index].subject.casefold() not in edited]
        nearest = usable[: config.num_demonstrations]
        return [
            f"{self._stated[index]}\n{_example(self._facts[index], kind, config.example)}"
            for index, kind in zip(nearest, kinds_in_turn(config.ratio, len(nearest)), strict=True)
        ]


def note_text(shown: Sequence[str], facts: Sequence[str], max_words: int) -> tuple[str, int]:
    """Demonstrations and new facts as one note, the most similar demonstration next to the facts.

    Demonstrations are left out, the least similar first, until the note has at most ``max_words`` words (runs of
    characters between white space). Facts stay, whatever their length.

    Args:
        shown: Demonstrations, the most similar first.
        facts: New facts, in order.
        max_words: The limit.

    Returns:
        The note, and how many demonstrations it holds.
    """
    num_words = sum(len(text.split()) for text in facts)
    num_kept = 0
    for text in shown:
        num_words += len(text.split())
        if num_words > max_words:
            break
        num_kept += 1
    return "\n".join([*reversed(shown[:num_kept]), *facts]), num_kept


def _fields(fact: PoolFact) -> Mapping[str, str]:
    return {
        "statement": fact.statement,
        "subject": fact.subject,
        "relation": fact.relation,
        "question": fact.question,
        "new_answer": fact.new_answer,
        "prior_answer": fact.prior_answer,
    }


def _example(fact: PoolFact, kind: DemonstrationKind, template: str) -> str:
    question, answer = {
        "copy": (fact.question, fact.new_answer),
        "update": (fact.rephrase, fact.new_answer),
        "retain": (fact.other_question, fact.other_answer),
    }[kind]
    return template.format(question=question, answer=answer)
