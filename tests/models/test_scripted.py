"""The scripted model keeps the promises of the model seam, and misbehaves on request."""

from __future__ import annotations

import pytest

from reground.edits.records import ImageRef, Trace
from reground.edits.traces import Delimiters, parse_trace
from reground.errors import InputError
from reground.models.base import Model, Output, Query
from reground.models.scripted import Fault, ScriptedFact, ScriptedModel, load_scripted_model

DRUG = ScriptedFact(
    question="which drug?",
    answer="tarvexin",
    subject="velmora",
    steps=("velmora is treated.",),
    alternatives=("belumide",),
)


def read(model: ScriptedModel, output: Output, *, is_thinking: bool = True) -> Trace:
    return parse_trace(
        output.text,
        model.delimiters,
        num_tokens=output.num_tokens,
        is_truncated=output.is_truncated,
        is_thinking=is_thinking,
    )


def ask(model: ScriptedModel, query: Query, *, max_new_tokens: int = 96) -> Trace:
    ((output,),) = model.generate([query], max_new_tokens=max_new_tokens)
    return read(model, output, is_thinking=query.is_thinking)


def test_it_is_a_model() -> None:
    assert isinstance(ScriptedModel([DRUG]), Model)


@pytest.mark.parametrize(
    "delimiters",
    [
        Delimiters(),
        Delimiters(template_opens_chain=True),
        Delimiters(answer_open=None, answer_close=None),
        Delimiters(answer_open=None, answer_close=None, writes_chain=False),
    ],
)
@pytest.mark.parametrize("is_thinking", [True, False])
def test_answers_come_in_the_declared_delimiters(delimiters: Delimiters, is_thinking: bool) -> None:
    model = ScriptedModel([DRUG], delimiters=delimiters)
    trace = ask(model, Query(question="which drug?", is_thinking=is_thinking))
    assert (trace.outcome, trace.answer) == ("answered", "tarvexin")
    if is_thinking and delimiters.writes_chain:
        assert trace.chain == "velmora is treated. so the answer is tarvexin."


def test_unknown_questions_are_answered_with_unknown() -> None:
    assert ask(ScriptedModel([DRUG]), Query(question="who?")).answer == "unknown"


def test_a_fact_may_need_its_image() -> None:
    here = ImageRef(frames=("phantom:blank",))
    model = ScriptedModel([DRUG, DRUG.model_copy(update={"image": here, "answer": "norvatine"})])
    assert ask(model, Query(question="which drug?", image=here)).answer == "norvatine"
    assert ask(model, Query(question="which drug?")).answer == "tarvexin"


def test_notes_are_followed_or_ignored() -> None:
    note = "Note: the sky is green. Note: the drug for Velmora is now ismodrel."
    asked = Query(question="which drug?", note=note)
    assert ask(ScriptedModel([DRUG]), asked).answer == "ismodrel"
    assert ask(ScriptedModel([DRUG], follows_notes=False), asked).answer == "tarvexin"
    foreign = Query(question="which drug?", note="Note: the sky is green.")
    assert ask(ScriptedModel([DRUG]), foreign).answer == "tarvexin"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("broken_format", "broken_format"), ("loop", "degenerate"), ("no_answer", "no_answer")],
)
def test_faults_come_out_as_outcomes(fault: Fault, outcome: str) -> None:
    model = ScriptedModel([DRUG.model_copy(update={"fault": fault})])
    assert ask(model, Query(question="which drug?")).outcome == outcome


def test_a_failing_script_raises() -> None:
    model = ScriptedModel([DRUG.model_copy(update={"fault": "error"})])
    with pytest.raises(RuntimeError, match="which drug"):
        ask(model, Query(question="which drug?"))


def test_a_small_budget_truncates() -> None:
    trace = ask(ScriptedModel([DRUG]), Query(question="which drug?"), max_new_tokens=3)
    assert (trace.outcome, trace.num_tokens) == ("truncated", 3)


def test_samples_vary_by_seed_and_repeat() -> None:
    model = ScriptedModel([DRUG])
    query = Query(question="which drug?")
    (first,) = model.generate([query], temperature=1.0, num_samples=40, seed=1)
    assert [first] == model.generate([query], temperature=1.0, num_samples=40, seed=1)
    assert [first] != model.generate([query], temperature=1.0, num_samples=40, seed=2)
    answers = [read(model, output).answer for output in first]
    assert set(answers) == {"tarvexin", "belumide"}
    assert answers.count("tarvexin") > answers.count("belumide")


def test_scores_compare_with_the_models_own_answer() -> None:
    model = ScriptedModel([DRUG.model_copy(update={"answer": "tarvexin forte"})])
    query = Query(question="which drug?")
    right, half, wrong = model.score([query] * 3, ["tarvexin forte", "tarvexin mild", "belumide mild"])
    assert (right.top1_share, half.top1_share, wrong.top1_share) == (1.0, 0.5, 0.0)
    assert right.log_prob > half.log_prob > wrong.log_prob


def test_fingerprint_follows_the_table() -> None:
    model = ScriptedModel([DRUG])
    query = Query(question="anything")
    before = model.fingerprint([query])
    old = model.learn(DRUG.model_copy(update={"answer": "x"}))
    assert model.fingerprint([query]) != before
    assert old == DRUG
    model.learn(old)
    assert model.fingerprint([query]) == before
    assert model.info.revision == ScriptedModel([DRUG]).info.revision


def test_demo_ships_and_others_do_not() -> None:
    model = load_scripted_model("demo")
    assert ask(model, Query(question="what colour is the sky?")).answer == "blue"
    with pytest.raises(InputError, match="nope"):
        load_scripted_model("nope")
