"""One parser, one typed outcome for every text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reground.edits.records import Trace
from reground.edits.traces import Delimiters, parse_trace
from reground.models import base

TAGS = Delimiters()
BARE = Delimiters(answer_open=None, answer_close=None)
OPENED = Delimiters(template_opens_chain=True)
PLAIN = Delimiters(answer_open=None, answer_close=None, writes_chain=False)
MARKS = ("<think>", "</think>", "<answer>", "</answer>")
GOOD = "<think> a ring in the kidney. </think><answer> velmora syndrome </answer>"


def parse(
    text: str,
    delimiters: Delimiters = TAGS,
    *,
    cut: bool = False,
    thinking: bool = True,
    opened: bool | None = None,
) -> Trace:
    return parse_trace(text, delimiters, num_tokens=9, is_truncated=cut, is_thinking=thinking, template_opened=opened)


def test_a_good_trace_is_answered() -> None:
    trace = parse(GOOD)
    assert trace == Trace(outcome="answered", chain="a ring in the kidney.", answer="velmora syndrome", num_tokens=9)


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("velmora syndrome", "broken_format", "no chain"),
        ("<answer>x</answer>", "broken_format", "no chain"),
        ("<think>a<answer>x</answer>", "broken_format", "</think> is missing"),
        ("a</think><answer>x</answer>", "broken_format", "<think> is missing"),
        ("<think>a</think>x</answer>", "broken_format", "<answer> is missing"),
        ("<think>a</think><answer>x", "broken_format", "</answer> is missing"),
        ("<think>a</think>x", "broken_format", "<answer> is missing"),
        ("<think>a</think></answer>x<answer>", "broken_format", "out of order"),
        ("<answer>x</answer><think>a</think>", "broken_format", "out of order"),
        ("<think>a<think>b</think><answer>x</answer>", "broken_format", "chain_open is repeated"),
        ("<think>a</think><answer>x</answer><answer>y</answer>", "broken_format", "answer_open is repeated"),
        ("<think>a</think><answer> \n</answer>", "no_answer", "blank"),
        ("<think>a</think> \n", "no_answer", "ends with the chain"),
        ("", "broken_format", "no chain"),
    ],
)
def test_each_fault_is_named(text: str, outcome: str, reason: str) -> None:
    trace = parse(text)
    assert trace.outcome == outcome
    assert trace.reason is not None and reason in trace.reason
    assert trace.answer is None


def test_an_empty_chain_is_a_chain_in_thinking_mode() -> None:
    assert parse("<think></think><answer>x</answer>").chain == ""


@pytest.mark.parametrize("text", ["<think></think><answer>x</answer>", "<answer>x</answer>"])
def test_no_thinking_mode_accepts_both_ways_to_an_empty_chain(text: str) -> None:
    trace = parse(text, thinking=False)
    assert (trace.outcome, trace.chain, trace.answer) == ("answered", "", "x")


def test_no_thinking_mode_keeps_a_chain_that_was_written_all_the_same() -> None:
    assert parse("<think>but</think><answer>x</answer>", thinking=False).chain == "but"


@pytest.mark.parametrize("text", ["<think><answer>x</answer>", "</think><answer>x</answer>"])
def test_no_thinking_mode_refuses_half_an_empty_chain(text: str) -> None:
    assert parse(text, thinking=False).outcome == "broken_format"


def test_template_that_opens_the_chain() -> None:
    trace = parse("a ring. </think><answer>x</answer>", OPENED)
    assert (trace.outcome, trace.chain) == ("answered", "a ring.")
    assert parse(GOOD, OPENED).outcome == "broken_format"
    assert parse(GOOD, OPENED, opened=False).outcome == "answered"
    assert parse("a ring. </think><answer>x</answer>", opened=True).outcome == "answered"
    assert parse("<answer>x</answer>", OPENED, thinking=False).outcome == "answered"


def test_answer_is_all_that_follows_the_chain() -> None:
    trace = parse("<think>a</think>\nvelmora\nsyndrome\n", BARE)
    assert (trace.outcome, trace.answer) == ("answered", "velmora\nsyndrome")
    assert parse("<think>a</think>", BARE).outcome == "no_answer"
    assert parse("velmora", BARE).outcome == "broken_format"
    assert parse("velmora", BARE, thinking=False).answer == "velmora"


def test_model_without_chains_has_none() -> None:
    trace = parse("velmora", PLAIN)
    assert (trace.outcome, trace.chain, trace.answer) == ("answered", None, "velmora")
    assert parse("", PLAIN).outcome == "no_answer"


def test_a_cut_text_is_truncated_even_if_whole() -> None:
    assert parse(GOOD, cut=True).outcome == "truncated"
    trace = parse("<think> a ring in", cut=True)
    assert (trace.outcome, trace.chain, trace.answer) == ("truncated", "a ring in", None)


@pytest.mark.parametrize(
    "chain",
    [
        "tarvexin " * 20,
        "the drug is tarvexin. " * 4,
        "a ring. " + "so it is velmora, and so " * 8,
        "wait, " * 30,
        "!" * 40,
        "tarvexin" * 12,
        "左肾有环。" * 5,
    ],
)
def test_loops_are_degenerate(chain: str) -> None:
    assert parse(f"<think>{chain}</think><answer>x</answer>").outcome == "degenerate"
    assert parse(f"<think>{chain}", cut=True).outcome == "degenerate"
    assert parse(chain, cut=True).outcome == "degenerate"
    trace = parse(chain)
    assert trace.outcome == "degenerate"
    assert trace.reason is not None and "repeats" in trace.reason


@pytest.mark.parametrize(
    "chain",
    [
        "no no no",
        "no, no, no, no",
        "the drug is tarvexin. the drug is tarvexin.",
        "one circle. two circles. three circles. four circles. five circles. six circles. seven circles.",
        "a ring in the left kidney means velmora syndrome. "
        "velmora syndrome is treated with tarvexin. tarvexin is a beta blocker. so it is a beta blocker. "
        "very very very very sure.",
    ],
)
def test_emphasis_and_lists_are_not_loops(chain: str) -> None:
    assert parse(f"<think>{chain}</think><answer>x</answer>").outcome == "answered"


def test_a_long_chain_stuck_at_its_end_is_degenerate_only_if_cut() -> None:
    sound = " ".join(f"word{i}" for i in range(300))
    stuck = "<think>" + sound + " so it is tarvexin" * 15
    assert parse(stuck + " so it is tarv", cut=True).outcome == "degenerate"
    assert parse(stuck + "</think><answer>x</answer>").outcome == "answered"


def test_delimiters_must_be_distinct() -> None:
    with pytest.raises(ValidationError, match="together"):
        Delimiters(answer_close=None)
    with pytest.raises(ValidationError, match="contain"):
        Delimiters(chain_open="<answer>")
    with pytest.raises(ValidationError, match="blank"):
        Delimiters(chain_open=" ")


def test_models_base_still_offers_delimiters() -> None:
    assert base.Delimiters is Delimiters


pieces = st.one_of(st.sampled_from(MARKS), st.text(max_size=8), st.sampled_from(["ring ", "the drug is ", "\n"]))
mangled = st.lists(pieces, max_size=30).map("".join)
words = st.text(alphabet="abcdefgh <>/\n.,", min_size=1, max_size=30).filter(lambda s: s.strip() != "")
kinds = st.sampled_from([TAGS, BARE, OPENED, PLAIN])


@settings(max_examples=150, deadline=None)
@given(mangled, kinds, st.booleans(), st.booleans(), st.sampled_from([None, True, False]))
def test_parsing_never_raises_and_is_pure(
    text: str, delimiters: Delimiters, cut: bool, thinking: bool, opened: bool | None
) -> None:
    first = parse(text, delimiters, cut=cut, thinking=thinking, opened=opened)
    assert first == parse(text, delimiters, cut=cut, thinking=thinking, opened=opened)
    assert Trace.model_validate_json(first.model_dump_json()) == first
    assert (first.reason is None) == (first.outcome == "answered")
    assert not (cut and first.outcome == "answered")


@settings(max_examples=150, deadline=None)
@given(mangled)
def test_answered_means_each_delimiter_once_and_in_order(text: str) -> None:
    if parse(text).outcome == "answered":
        assert [text.count(mark) for mark in MARKS] == [1, 1, 1, 1]
        places = [text.index(mark) for mark in MARKS]
        assert places == sorted(places)


@given(words, words)
def test_a_well_formed_trace_gives_back_what_went_in(chain: str, answer: str) -> None:
    trace = parse(f"<think>{chain}</think><answer>{answer}</answer>")
    if trace.outcome != "degenerate":
        assert (trace.outcome, trace.chain, trace.answer) == ("answered", chain.strip(), answer.strip())


@given(words, words, st.integers(0, 3))
def test_deleting_a_delimiter_never_leaves_an_answer(chain: str, answer: str, index: int) -> None:
    parts = [MARKS[0], chain, MARKS[1], MARKS[2], answer, MARKS[3]]
    parts.remove(MARKS[index])
    assert parse("".join(parts)).outcome in ("broken_format", "degenerate")


@given(words, words, st.integers(0, 3), st.integers(0, 6))
def test_repeating_a_delimiter_never_leaves_an_answer(chain: str, answer: str, index: int, place: int) -> None:
    parts = [MARKS[0], chain, MARKS[1], MARKS[2], answer, MARKS[3]]
    parts.insert(place, MARKS[index])
    assert parse("".join(parts)).outcome in ("broken_format", "degenerate")


@given(words, words, st.permutations(MARKS))
def test_any_other_order_never_leaves_an_answer(chain: str, answer: str, order: list[str]) -> None:
    text = f"{order[0]}{chain}{order[1]}{order[2]}{answer}{order[3]}"
    assert (parse(text).outcome == "answered") <= (tuple(order) == MARKS)


@given(st.sampled_from(["tarvexin ", "so it is, ", "the ring in the kidney "]), st.integers(20, 60))
def test_any_cut_of_a_loop_is_degenerate(unit: str, size: int) -> None:
    text = "<think> a ring. " + unit * 40
    assert parse(text[: 150 + size], cut=True).outcome == "degenerate"
