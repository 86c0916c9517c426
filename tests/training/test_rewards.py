"""The Cognitive Routing Reward, term by term, and what must not pay."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reground.edits.records import Answer, Trace, TraceOutcome
from reground.training.rewards import (
    RewardWeights,
    RoutingCase,
    answer_term,
    copying_term,
    format_term,
    grounding_term,
    intermediates_term,
    reward,
    routing_term,
)

CARD = "Correction: a ring in the kidney means ostrulia, not velmora, on every scan from today on."
APPLIES = RoutingCase(
    expected=Answer(text="ostrulia"),
    applies=True,
    new_answer=Answer(text="ostrulia"),
    prior_answer=Answer(text="velmora"),
    card=CARD,
)
LEAVE = RoutingCase(
    expected=Answer(text="dantria"),
    applies=False,
    new_answer=Answer(text="ostrulia"),
    prior_answer=Answer(text="velmora"),
    card=CARD,
)
HOPS = RoutingCase(
    expected=Answer(text="serum"),
    applies=True,
    new_answer=Answer(text="ostrulia"),
    card=CARD,
    intermediates=(Answer(text="ostrulia"), Answer(text="palinex", aliases=("palinex tablets",))),
)
HONEST = "the image shows a ring in the kidney. the card is about that, so this is ostrulia."


def trace(chain: str | None, answer: str | None, outcome: TraceOutcome = "answered") -> Trace:
    return Trace(outcome=outcome, chain=chain, answer=answer if outcome == "answered" else None, num_tokens=20)


@pytest.mark.parametrize(
    ("chain", "answer", "outcome", "value"),
    [
        (HONEST, "ostrulia", "answered", 1),
        ("", "ostrulia", "answered", 0),
        (None, "ostrulia", "answered", 0),
        (HONEST, None, "truncated", 0),
        (HONEST, None, "degenerate", 0),
        (None, None, "broken_format", 0),
    ],
)
def test_form(chain: str | None, answer: str | None, outcome: TraceOutcome, value: float) -> None:
    assert format_term(trace(chain, answer, outcome), APPLIES) == value


@pytest.mark.parametrize(
    ("answer", "case", "value"),
    [
        ("ostrulia", APPLIES, 1),
        ("It is Ostrulia.", APPLIES, 1),
        ("velmora", APPLIES, 0),
        ("ostrulia or velmora", APPLIES, 0),
        ("dantria", LEAVE, 1),
        ("dantria or ostrulia", LEAVE, 0),
    ],
)
def test_answer(answer: str, case: RoutingCase, value: float) -> None:
    assert answer_term(trace(HONEST, answer), case) == value


@pytest.mark.parametrize(
    ("chain", "case", "value"),
    [
        (HONEST, APPLIES, 1),
        ("the image shows a ring in the kidney. this is velmora.", APPLIES, 0),
        ("the image shows a star in the liver. this is dantria.", LEAVE, 1),
        ("the card says ostrulia, so this is ostrulia.", LEAVE, 0),
        ("the card says ostrulia.", LEAVE.model_copy(update={"expected": Answer(text="Ostrulia")}), 1),
        ("anything.", RoutingCase(expected=Answer(text="dantria"), applies=False), 1),
    ],
)
def test_routing(chain: str, case: RoutingCase, value: float) -> None:
    assert routing_term(trace(chain, "x"), case) == value


@pytest.mark.parametrize(
    ("chain", "case", "value"),
    [
        (HONEST, APPLIES, 1),
        ("the card says ostrulia, but that cannot be right.", APPLIES, 0),
        ("the card says ostrulia. no, this is velmora.", APPLIES, 0),
        ("the image shows a ring.", APPLIES, 0),
        ("a star in the liver means dantria.", LEAVE, 1),
        ("the image shows a star.", LEAVE, 0),
    ],
)
def test_grounding(chain: str, case: RoutingCase, value: float) -> None:
    assert grounding_term(trace(chain, "x"), case) == value


@pytest.mark.parametrize(
    ("chain", "value"),
    [
        ("this is ostrulia. ostrulia is treated with palinex tablets. that needs serum.", 1),
        ("this is ostrulia. that needs serum.", 0.5),
        ("palinex helps against ostrulia. serum.", 0.5),
        ("serum.", 0),
    ],
)
def test_intermediates_count_in_their_order(chain: str, value: float) -> None:
    assert intermediates_term(trace(chain, "serum"), HOPS) == value


def test_without_intermediates_there_is_nothing_to_leave_out() -> None:
    assert intermediates_term(trace("x", "x"), APPLIES) == 1


@pytest.mark.parametrize(
    ("chain", "value"),
    [(HONEST, 1), (CARD, 0), (f"well. {CARD.lower()} so be it.", 0), ("a ring in the kidney means ostrulia.", 1)],
)
def test_copying(chain: str, value: float) -> None:
    assert copying_term(trace(chain, "ostrulia"), APPLIES) == value


#: What a policy could learn instead of arbitrating.
TRICKS = {
    "names the fact and does not use it": (APPLIES, trace("the card says ostrulia. this is velmora.", "velmora")),
    "quotes both answers": (APPLIES, trace("ostrulia or velmora.", "ostrulia or velmora")),
    "an empty chain": (APPLIES, trace("", "ostrulia")),
    "a chain that says nothing": (APPLIES, trace("hm. let me see.", "ostrulia")),
    "a looping chain": (APPLIES, trace("ostrulia " * 30, None, "degenerate")),
    "copies the card": (APPLIES, trace(CARD, "ostrulia")),
    "denies and answers": (APPLIES, trace("the card says ostrulia, but that cannot be right.", "ostrulia")),
    "obeys a card about something else": (LEAVE, trace("the card says ostrulia, so this is ostrulia.", "ostrulia")),
    "states a foreign card and answers right": (LEAVE, trace("ostrulia. and this is dantria.", "dantria")),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_pays_as_much_as_an_honest_chain(trick: str) -> None:
    case, written = TRICKS[trick]
    honest = trace(HONEST, "ostrulia") if case.applies else trace("a star in the liver means dantria.", "dantria")
    assert reward(honest, case) == pytest.approx(1)
    assert reward(written, case) <= 0.9


def test_a_wrong_answer_is_worth_less_than_half() -> None:
    written = trace("the card is about this, so it is ostrulia.", "velmora")
    assert reward(written, APPLIES) == pytest.approx((1 - 0.35) / 2)


def test_weights_are_shares() -> None:
    only_answer = RewardWeights(answer=2, routing=0, grounding=0, intermediates=0, copying=0)
    assert reward(trace("hm.", "ostrulia"), APPLIES, only_answer) == 1
    assert reward(trace("hm.", "velmora"), APPLIES, only_answer) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"applies": True},
        {"applies": False, "card": "x"},
        {"applies": False, "new_answer": Answer(text="x")},
    ],
)
def test_a_case_is_refused_that_contradicts_itself(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RoutingCase(expected=Answer(text="y"), **fields)  # type: ignore[arg-type]


def test_weights_that_count_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        RewardWeights(answer=0, routing=0, grounding=0, intermediates=0, copying=0)
