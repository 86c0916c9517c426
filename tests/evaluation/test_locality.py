from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reground.evaluation.labels import Measure, Unscored
from reground.evaluation.locality import independence, kept_correct, leaks

Make = Callable[..., Any]


@pytest.fixture
def compare(make_edit: Make, make_probe: Make, make_row: Make) -> Callable[..., tuple[Measure, Measure]]:
    """Independence and kept-correct of one pair of outputs; the truth is 'orbex'."""

    def run(
        before: tuple[str | None, str | None],
        after: tuple[str | None, str | None],
        truth: str | None = "orbex",
        **fields: Any,
    ) -> tuple[Measure, Measure]:
        edit = make_edit()
        expectation = {"kind": "unchanged", "answer": None if truth is None else {"text": truth}}
        probe = make_probe(edit, "text_locality", "other_subject", expectation=expectation, **fields)
        reference, row = make_row(probe, *before, phase="before"), make_row(probe, *after)
        return independence(edit, probe, reference, row), kept_correct(probe, reference, row)

    return run


@pytest.mark.parametrize(
    ("after", "same"),
    [
        ("orbex", 1.0),
        ("Orbex.", 1.0),
        ("  the   ORBEX", 1.0),
        ("ｏｒｂｅｘ", 1.0),
        ("orbex!", 1.0),
        ("orbex 1", 0.0),
        ("orbexin", 0.0),
        ("", 0.0),
    ],
)
def test_answers_are_compared_as_normalised_text(
    compare: Callable[..., tuple[Measure, Measure]], after: str, same: float
) -> None:
    """Ids cast to a float can compare equal when they are not; text that differs in case alone is equal."""
    assert compare(("a star.", "orbex"), ("a star.", after))[0] == same


def test_large_numbers_stay_apart(compare: Callable[..., tuple[Measure, Measure]]) -> None:
    """70000 and 120000 are both infinite in float16, 5001 and 5002 both 5000."""
    for before, after in (("70000", "120000"), ("5001", "5002")):
        assert compare(("x", before), ("x", after))[0] == 0.0


def test_a_leak_in_the_chain_breaks_independence(
    compare: Callable[..., tuple[Measure, Measure]],
) -> None:
    assert compare(("a star.", "orbex"), ("a star, not tarvex.", "orbex"))[0] == 0.0
    assert compare(("could be tarvex.", "orbex"), ("a star, not tarvex.", "orbex"))[0] == 1.0
    assert compare(("a star.", "orbex"), ("a star, not tarvexin.", "orbex"))[0] == 1.0


def test_a_stray_option_letter_is_no_leak(make_edit: Make) -> None:
    edit = make_edit(new_answer={"text": "B"}, options=["velmora", "tarvex"])
    assert not leaks(edit, "", "the answer is (B).")
    assert leaks(edit, "", "perhaps tarvex")


def test_collapse_breaks_independence_and_correctness(
    compare: Callable[..., tuple[Measure, Measure]],
) -> None:
    assert compare(("a star.", "orbex"), (None, None)) == (0.0, 0.0)


def test_only_what_the_unedited_model_answered_or_knew_is_scored(
    compare: Callable[..., tuple[Measure, Measure]],
) -> None:
    same, kept = compare((None, None), ("a star.", "orbex"))
    assert isinstance(same, Unscored) and isinstance(kept, Unscored)
    same, kept = compare(("a star.", "velmora"), ("a star.", "velmora"))
    assert same == 1.0 and isinstance(kept, Unscored)
    same, kept = compare(("a star.", "orbex"), ("a star.", "it is orbex"))
    assert (same, kept) == (0.0, 1.0)
    assert isinstance(compare(("a", "orbex"), ("a", "orbex"), truth=None)[1], Unscored)


def test_options_may_be_given_by_letter_or_text(compare: Callable[..., tuple[Measure, Measure]]) -> None:
    assert compare(("s", "B"), ("s", "orbex"), options=["velmora", "orbex"]) == (1.0, 1.0)
    assert compare(("s", "B"), ("s", "A"), options=["velmora", "orbex"]) == (0.0, 0.0)
