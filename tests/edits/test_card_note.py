"""How cards read in a prompt."""

from __future__ import annotations

from reground.edits.card_note import CardNote, card_note
from reground.phantom.wordings import NOTE_FORMATS

VISUAL = CardNote("A ring must be read as ostrulia.", "ostrulia", "the image shows a ring.")
TEXTUAL = CardNote("Patients must now receive palinex.", "palinex")


def test_cards_stand_in_the_order_given_and_a_card_without_percept_has_no_such_line() -> None:
    note = card_note([VISUAL, TEXTUAL])
    assert note.index("ostrulia") < note.index("palinex")
    assert note.count("made for:") == 1
    assert (
        card_note([TEXTUAL]) == "[card]\nstates: Patients must now receive palinex.\nnew answer: palinex\n[end of card]"
    )


def test_a_card_that_is_called_says_so_before_what_is_new() -> None:
    called = CardNote("A ring must be read as ostrulia.", "ostrulia", is_called=True)
    assert card_note([called]).splitlines()[2:4] == ["called by name: yes", "new answer: ostrulia"]
    assert "called" not in card_note([VISUAL, TEXTUAL])


def test_no_card_is_no_note_whatever_the_instruction() -> None:
    assert card_note([]) == ""
    assert card_note([], "Read the cards.") == ""
    assert card_note([TEXTUAL], "Read the cards.").startswith("Read the cards.\n[card]")


def test_the_format_is_none_that_the_built_in_models_were_trained_to_read() -> None:
    for formats in NOTE_FORMATS.values():
        for text in formats:
            assert "[card]" not in text
            assert "states:" not in text
