"""What pydantic found, in the words of whoever wrote the file."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from reground.edits.misfits import accepted_words, fields_at, kind_of, rename_hint, shown
from reground.edits.records import Answer, Edit, Probe, Record


class Settings(Record):
    rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    steps: int = Field(default=1, ge=1)
    ends: bool = True
    layers: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    answer: Answer | None = None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rate": -1}, "a number greater than 0.0"),
        ({"rate": float("inf")}, "a finite number"),
        ({"rate": "fast"}, "a number"),
        ({"steps": 0}, "a number of at least 1"),
        ({"steps": 1.5}, "a whole number"),
        ({"ends": "perhaps"}, "true or false"),
        ({"layers": []}, "at least 1 of them"),
        ({"layers": 3}, "a list"),
        ({"answer": 3}, "an object with the fields text, aliases"),
        ({"answer": {"text": ""}}, "text that is not empty"),
    ],
)
def test_no_word_of_python_is_needed_to_read_what_is_accepted(value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(value)
    assert accepted_words(Settings, caught.value.errors()[0]) == words


def test_fields_are_found_inside_other_records() -> None:
    assert fields_at(Edit, ("prior_answer",)) == ("text", "aliases")
    assert fields_at(Probe, ("intermediates", 0)) == ("text", "aliases")
    assert fields_at(Probe, ("expectation", "answer")) == ("text", "aliases")
    assert fields_at(Edit, ("question",)) == ()


def test_values_are_shown_short() -> None:
    assert (shown(None), shown("a"), len(shown("a" * 500))) == ("null", "'a'", 60)
    assert [kind_of(value) for value in (None, [], {}, "a")] == ["nothing", "a list", "a mapping", "text"]


def test_a_near_name_is_suggested_whatever_its_case() -> None:
    assert rename_hint("Subjct", ["subject", "split"]) == "did you mean 'subject'?"
    assert rename_hint("zzz", ["subject"]) == "correct its name or remove it."
