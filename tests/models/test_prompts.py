"""How a query reads as text."""

from __future__ import annotations

import pytest

from reground.errors import InputError
from reground.models.base import Query
from reground.models.prompts import prompt_text


def test_note_question_and_options_follow_each_other() -> None:
    query = Query(question="is it?", note="Note: it is.", options=("yes", "no"))
    assert prompt_text(query) == "Note: it is.\nis it?\nA. yes\nB. no"
    assert prompt_text(Query(question="is it?")) == "is it?"


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(InputError, match="27 options"):
        prompt_text(Query(question="which?", options=tuple("x" * (index + 1) for index in range(27))))
