"""What a sentence calls by name."""

from __future__ import annotations

import pytest

from reground.edits.names import calls
from reground.edits.records import Answer


@pytest.mark.parametrize(
    ("sentence", "name", "beside", "is_called"),
    [
        ("the first drug for ziwiritis is ruskool.", "ziwiritis", "", True),
        ("the first drug for ziwiritis is ruskool.", "ziwir", "", False),
        ("The image shows a Ring!", "the image shows a ring", "", True),
        ("the note gives the drug for ziwiritis: it differs.", "ziwiritis", "", False),
        ("By the cards, a ring means ziwiritis.", "ziwiritis", "", False),
        ("by the note a ring means ziwiritis.", "ziwiritis", "Ziwiritis", True),
        ("ziwiritis is notable.", "ziwiritis", "", True),
        ("anything at all.", "", "", False),
    ],
)
def test_a_sentence_calls_what_it_names_and_has_not_read_on_a_card(
    sentence: str, name: str, beside: str, is_called: bool
) -> None:
    assert calls(sentence, name, [Answer(text=beside)] if beside else []) is is_called
