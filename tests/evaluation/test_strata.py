from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from reground.edits.records import Edit, Trace
from reground.evaluation.strata import Belief, strata_of, stratum


def believe(edit: Edit, answers: list[str | None]) -> Belief:
    traces = tuple(
        Trace(outcome="truncated" if said is None else "answered", answer=said, num_tokens=1) for said in answers
    )
    return Belief(edit_id=edit.id, model="m", answers=traces, k=len(traces), temperature=1.0, seed=0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["velmora"] * 8, "conflicts-strong"),
        (["velmora"] * 9 + ["other"], "conflicts-strong"),
        (["velmora"] * 7 + ["other"], "conflicts-weak"),
        (["velmora"] * 4 + ["x", "y", "z", "w"], "conflicts-weak"),
        (["velmora"] * 3 + ["x", "y", "z", "w", None], "unknown"),
        (["velmora"] * 4 + [None] * 5, "unknown"),
        ([None] * 8, "unknown"),
        (["tarvex"] * 8, "agrees"),
        (["tarvex", "Tarvex disease.", "it is tarvex", "velmora"], "agrees"),
        (["tarvex"] * 4 + ["velmora"] * 4, "conflicts-weak"),
        (["The Other.", "other", "other!", "velmora"], "conflicts-weak"),
        (["velmora", "it's velmora", "VELMORA", "velmora syndrome"], "conflicts-strong"),
        (["velmora or tarvex"] * 8, "conflicts-strong"),
    ],
)
def test_strata_by_hand(make_edit: Callable[..., Edit], answers: list[str | None], expected: str) -> None:
    edit = make_edit()
    assert stratum(believe(edit, answers), edit) == expected


def test_an_answer_contained_in_the_other_side_is_told_apart(make_edit: Callable[..., Edit]) -> None:
    edit = make_edit(new_answer={"text": "cancer"}, prior_answer={"text": "lung cancer"}, statement="now cancer.")
    assert stratum(believe(edit, ["lung cancer"] * 8), edit) == "conflicts-strong"
    assert stratum(believe(edit, ["cancer"] * 8), edit) == "agrees"


def test_options_are_read_by_letter(make_edit: Callable[..., Edit]) -> None:
    edit = make_edit(options=["velmora", "tarvex"])
    assert stratum(believe(edit, ["B", "(b)", "tarvex", "A"]), edit) == "agrees"


def test_a_belief_counts_its_answers(make_edit: Callable[..., Edit]) -> None:
    fields = believe(make_edit(), ["velmora"] * 3).model_dump()
    with pytest.raises(ValidationError, match="k is 8, but 3"):
        Belief.model_validate({**fields, "k": 8})


def test_conflict_is_both_conflict_strata() -> None:
    assert strata_of("conflicts-weak") == ("all", "conflicts-weak", "conflict")
    assert strata_of("conflicts-strong") == ("all", "conflicts-strong", "conflict")
    assert strata_of("agrees") == ("all", "agrees")
    assert strata_of(None) == ("all",)
