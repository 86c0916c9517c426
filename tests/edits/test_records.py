from __future__ import annotations

import pytest

from reground.edits.records import Answer, Edit, is_blank


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (" \t\n", True),
        ("\u200b\ufeff", True),
        ("\u2028\u00a0", True),
        ("\ud800", True),
        ("a", False),
        (" . ", False),
        ("\u200ba", False),
        ("\U00018cd6", False),  # a Khitan letter that Python 3.11 does not know yet
    ],
)
def test_blank_is_what_nobody_can_see(text: str, expected: bool) -> None:
    assert is_blank(text) == expected


def test_a_copy_with_other_content_has_an_id_of_its_own() -> None:
    edit = Edit(
        subject="ring",
        relation="drug",
        modality="textual",
        question="which drug?",
        new_answer=Answer(text="ostrune"),
        statement="The drug for a ring is now ostrune.",
    )
    known, other = edit.id, edit.model_copy(update={"question": "which medicine?"})
    fresh = Edit.model_validate_json(other.model_dump_json())
    assert known == edit.id == edit.model_copy().id != other.id == fresh.id
    assert fresh == other and hash(fresh) == hash(other), "what is known of it is no part of it"
