from __future__ import annotations

import pytest

from reground.edits.records import is_blank


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
