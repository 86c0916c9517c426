"""Demonstrations: their kinds, their order, and what is left out of a note that is too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from reground.edits.records import Answer, Edit
from reground.methods.ike.config import IkeConfig
from reground.methods.ike.demonstrations import DemonstrationIndex, kinds_in_turn, note_text
from reground.methods.ike.pool import PoolFact


class ByNumber:
    """Unit vectors at an angle that the number in the text states, in degrees."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        angles = np.radians([float("".join(filter(str.isdigit, text.splitlines()[0]))) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def fact(degrees: int, subject: str = "ring") -> PoolFact:
    return PoolFact(
        subject=subject,
        relation="drug",
        question=f"copy {degrees}?",
        new_answer="new",
        prior_answer="old",
        statement=f"statement {degrees}",
        rephrase="rephrase?",
        other_question="other?",
        other_answer="as ever",
        source="test",
    )


EDIT = Edit(
    subject="star",
    relation="drug",
    modality="textual",
    question="which drug?",
    new_answer=Answer(text="osquine"),
    statement="osquine it is",
)
CONFIG = IkeConfig(template="{question} {new_answer}", num_demonstrations=3)


@pytest.mark.reference
@pytest.mark.parametrize("ratio", [(1, 3, 4), (1, 1, 1), (0, 1, 1), (5, 0, 2)])
def test_every_beginning_is_as_near_to_the_ratio_as_whole_numbers_allow(ratio: tuple[int, int, int]) -> None:
    kinds = list(kinds_in_turn(ratio, 32))
    for length in range(1, 33):
        counts = Counter(kinds[:length])
        for kind, part in zip(("copy", "update", "retain"), ratio, strict=True):
            assert abs(counts[kind] - length * part / sum(ratio)) <= 1


@pytest.mark.reference
def test_the_published_mixture_of_32_is_4_12_16() -> None:
    assert Counter(kinds_in_turn((1, 3, 4), 32)) == {"copy": 4, "update": 12, "retain": 16}


@pytest.mark.reference
def test_the_k_nearest_by_cosine_are_taken_nearest_first_each_in_its_kind() -> None:
    index = DemonstrationIndex([fact(80), fact(50), fact(20), fact(65)], CONFIG.template, ByNumber())
    assert index.demonstrations("40", [EDIT], CONFIG) == [
        "copy 50? new\nother? as ever",  # 10 degrees away: retain
        "copy 20? new\nrephrase? new",  # 20: update
        "copy 65? new\nother? as ever",  # 25: retain, which has half of the parts
    ]


def test_facts_about_an_edited_subject_are_passed_over() -> None:
    index = DemonstrationIndex([fact(40, "Star"), fact(50)], CONFIG.template, ByNumber())
    assert [text.split("?")[0] for text in index.demonstrations("40", [EDIT], CONFIG)] == ["copy 50"]


def test_the_nearest_demonstration_stands_next_to_the_fact() -> None:
    assert note_text(["near", "far"], ["fact"], 10) == ("far\nnear\nfact", 2)


@pytest.mark.parametrize(
    ("max_words", "expected"),
    [(6, ("e f\nc d\na b", 2)), (5, ("c d\na b", 1)), (4, ("c d\na b", 1)), (3, ("a b", 0)), (1, ("a b", 0))],
)
def test_the_least_similar_are_left_out_first_and_facts_never(max_words: int, expected: tuple[str, int]) -> None:
    assert note_text(["c d", "e f"], ["a b"], max_words) == expected
