from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reground.edits.records import Answer, Edit, Probe, Row
from reground.evaluation.labels import NO_CHAIN, NO_REFERENCE, Judgement, Unscored, judge_probe, prior_of

Make = Callable[..., Any]
OLD_CHAIN = "a ring means velmora."


@pytest.fixture
def judge(make_edit: Make, make_probe: Make, make_row: Make, reader: Any) -> Callable[..., Judgement]:
    """Judges one output on one probe, by default an exact one whose unedited output was the prior."""

    def run(
        chain: str | None,
        answer: str | None,
        *,
        edit: Edit | None = None,
        kind: str = "reliability",
        before: tuple[str | None, str | None] | None = (OLD_CHAIN, "velmora"),
        after_fields: dict[str, Any] | None = None,
        **probe_fields: Any,
    ) -> Judgement:
        edit = edit or make_edit()
        level = {"reliability": "exact", "generality": "text_rephrase", "portability": "hop2"}[kind]
        probe: Probe = make_probe(edit, kind, level, **probe_fields)
        reference: Row | None = None if before is None else make_row(probe, *before, phase="before")
        after: Row = make_row(probe, chain, answer, **(after_fields or {}))
        prior = prior_of(edit, reference.trace if reference else None)
        return judge_probe(edit, probe, reference, after, reader, prior)

    return run


@pytest.mark.parametrize(
    ("chain", "answer", "label"),
    [
        ("a ring means tarvex.", "tarvex", "grounded"),
        ("formerly velmora, now tarvex.", "the Tarvex disease", "grounded"),
        ("the note says tarvex, but it is not tarvex.", "velmora", "dissonance_explicit"),
        ("the note says tarvex, but it is not tarvex.", "tarvex", "dissonance_explicit"),
        ("the note says tarvex. a ring means velmora.", "velmora", "dissonance_explicit"),
        ("the note says tarvex. a ring means velmora.", "tarvex", "dissonance_implicit"),
        ("the note says tarvex. a ring means velmora.", "orbex", "dissonance_implicit"),
        ("a ring means tarvex.", "velmora", "dissonance_implicit"),
        ("a ring means tarvex.", "orbex", "dissonance_implicit"),
        (OLD_CHAIN, "tarvex", "dissonance_implicit"),
        (OLD_CHAIN, "velmora", "ignored"),
        ("a ring.", "velmora", "wrong"),
        ("a ring.", "tarvex", "wrong"),
        ("a ring means orbex.", "orbex", "wrong"),
        (OLD_CHAIN, "orbex", "dissonance_implicit"),
    ],
)
def test_labels_of_answered_exact_probes(judge: Callable[..., Judgement], chain: str, answer: str, label: str) -> None:
    judgement = judge(chain, answer)
    assert judgement.label == label
    assert judgement.grounded == float(label == "grounded")
    assert judgement.collapse == 0.0
    assert judge(chain, answer, kind="generality").label == label


@pytest.mark.parametrize("outcome", ["no_answer", "broken_format", "degenerate", "truncated"])
def test_an_output_that_no_longer_answers_has_collapsed(judge: Callable[..., Judgement], outcome: str) -> None:
    judgement = judge("a ring means tarvex.", None, after_fields={"outcome": outcome})
    assert (judgement.label, judgement.collapse, judgement.outcome) == ("collapse", 1.0, outcome)
    assert (judgement.answer, judgement.grounded, judgement.token_f1) == (0.0, 0.0, 0.0)
    assert judgement.stance is None


def test_what_never_answered_cannot_collapse(judge: Callable[..., Judgement]) -> None:
    judgement = judge(None, None, before=(None, None))
    assert (judgement.label, judgement.collapse) == ("wrong", 0.0)
    unknown = judge(None, None, before=None)
    assert unknown.label == unknown.collapse == Unscored(NO_REFERENCE)
    assert unknown.grounded == 0.0


def test_an_answer_without_its_chain_is_not_grounded(judge: Callable[..., Judgement]) -> None:
    judgement = judge("the answer follows.", "tarvex", after_fields={"tf": 1.0})
    assert (judgement.tf, judgement.answer, judgement.grounded) == (1.0, 1.0, 0.0)


def test_a_chain_without_its_answer_is_not_grounded(judge: Callable[..., Judgement]) -> None:
    assert judge("tarvex.", "tarvexin").grounded == 0.0


@pytest.mark.parametrize("empty", ["", None])
def test_a_model_without_chains_by_design_is_unscored_and_not_zero(
    judge: Callable[..., Judgement], empty: str | None
) -> None:
    judgement = judge(empty, "tarvex", before=(empty, "velmora"))
    assert judgement.grounded == judgement.label == Unscored(NO_CHAIN)
    assert (judgement.answer, judgement.collapse) == (1.0, 0.0)
    broken = judge(empty, None, before=(empty, "velmora"))
    assert broken.grounded == Unscored(NO_CHAIN)
    assert (broken.label, broken.collapse) == ("collapse", 1.0)
    assert judge(empty, "tarvex", before=None).grounded == Unscored(NO_CHAIN)


def test_a_model_whose_unedited_chain_ran_into_the_budget_writes_chains(
    judge: Callable[..., Judgement], make_edit: Make, make_probe: Make, make_row: Make, reader: Any
) -> None:
    """A bare answer after the edit was left unscored where the unedited output was cut inside its chain."""
    edit = make_edit()
    probe = make_probe(edit)
    before = make_row(probe, "a ring, so", None, phase="before", outcome="truncated")
    judgement = judge_probe(edit, probe, before, make_row(probe, "", "tarvex"), reader)
    assert (judgement.grounded, judgement.label) == (0.0, "wrong")


def test_a_chain_the_edit_took_away_counts_as_zero(judge: Callable[..., Judgement]) -> None:
    judgement = judge("", "tarvex")
    assert (judgement.grounded, judgement.label) == (0.0, "wrong")


@pytest.mark.parametrize(
    ("chain", "answer", "grounded", "usage", "hops", "label"),
    [
        ("ring, so tarvex. its drug is zorin, class beta.", "beta", 1.0, 1.0, 1.0, "grounded"),
        ("ring, so tarvex. class beta.", "beta", 0.0, 0.0, 0.0, "wrong"),
        ("ring, so tarvex. its drug is zorin.", "beta", 0.0, 1.0, 1.0, "wrong"),
        ("ring, so tarvex. its drug is zorin, class gamma.", "gamma", 0.0, 1.0, 0.0, "wrong"),
        ("ring, so tarvex. its drug is zorin, class beta.", "gamma", 0.0, 1.0, 0.0, "dissonance_implicit"),
        ("ring, so velmora. its drug is orbin, class alpha.", "alpha", 0.0, 0.0, 0.0, "ignored"),
        ("ring, so velmora. its drug is zorin, class beta.", "beta", 0.0, 0.0, 0.0, "dissonance_implicit"),
        ("not tarvex but velmora. orbin, class alpha.", "alpha", 0.0, 0.0, 0.0, "dissonance_explicit"),
    ],
)
def test_portability_wants_every_entity_in_the_chain(
    judge: Callable[..., Judgement],
    chain: str,
    answer: str,
    grounded: float,
    usage: float,
    hops: float,
    label: str,
) -> None:
    judgement = judge(
        chain,
        answer,
        kind="portability",
        before=("ring, so velmora. its drug is orbin, class alpha.", "alpha"),
        intermediates=[{"text": "tarvex"}, {"text": "zorin", "aliases": ["zorine"]}],
        expectation={"kind": "answer", "answer": {"text": "beta"}},
    )
    assert (judgement.grounded, judgement.intermediate_usage, judgement.hop_accuracy) == (
        grounded,
        usage,
        hops,
    )
    assert judgement.label == label


def test_hop_measures_without_intermediates_or_answer_are_unscored(judge: Callable[..., Judgement]) -> None:
    assert isinstance(judge("tarvex", "tarvex").intermediate_usage, Unscored)
    silent = judge(None, None, kind="portability", intermediates=[{"text": "zorin"}])
    assert silent.intermediate_usage == Unscored("the edited model did not answer")
    assert silent.hop_accuracy == 0.0


def test_ignored_needs_no_stated_prior_if_the_unedited_output_is_repeated(
    judge: Callable[..., Judgement], make_edit: Make
) -> None:
    edit = make_edit(prior_answer=None)
    assert judge(OLD_CHAIN, "velmora", edit=edit).label == "ignored"
    assert judge("hm.", "velmora", edit=edit, before=("hm.", "velmora")).label == "ignored"
    assert judge("tarvex? no: velmora", "velmora", edit=edit).label == "dissonance_explicit"


def test_the_prior_is_the_edits_own_or_what_the_unedited_model_said(
    make_edit: Make, make_probe: Make, make_row: Make
) -> None:
    edit = make_edit(prior_answer=None)
    said = make_row(make_probe(edit), OLD_CHAIN, "Velmora").trace
    assert prior_of(edit, said) == Answer(text="Velmora")
    assert prior_of(edit, make_row(make_probe(edit), "x", "tarvex").trace) is None
    assert prior_of(edit) is None
    assert prior_of(make_edit(), said) == Answer(text="velmora")


def test_multiple_choice_by_letter_is_grounded_by_the_options_text(
    judge: Callable[..., Judgement], make_edit: Make
) -> None:
    options = ["velmora", "tarvex"]
    edit = make_edit(new_answer={"text": "B"}, prior_answer={"text": "A"}, options=options)
    grounded = judge("a ring means tarvex.", "B", edit=edit, options=options, before=(OLD_CHAIN, "A"))
    assert grounded.label == "grounded"
    assert judge(OLD_CHAIN, "A", edit=edit, options=options, before=(OLD_CHAIN, "A")).label == "ignored"
    assert judge(OLD_CHAIN, "B", edit=edit, options=options, before=(OLD_CHAIN, "A")).label == "dissonance_implicit"
    third = make_edit(new_answer={"text": "B"}, prior_answer={"text": "A"}, options=[*options, "orbex"])
    said_before = ("a ring means orbex.", "C")
    repeated = judge("hm, orbex.", "C. orbex", edit=third, options=third.options, before=said_before)
    assert repeated.label == "ignored"  # the letter and the option's text are one answer


def test_chain_length_ratio_by_hand(judge: Callable[..., Judgement]) -> None:
    assert judge("a ring", "tarvex").chain_length_ratio == 0.5
    assert isinstance(judge(None, None).chain_length_ratio, Unscored)


def test_tf_that_was_not_measured_is_none_with_a_reason(judge: Callable[..., Judgement]) -> None:
    assert isinstance(judge("tarvex", "tarvex").tf, Unscored)
