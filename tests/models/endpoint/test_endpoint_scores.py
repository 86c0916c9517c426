"""Scores from an endpoint: those of the same model in this process, or a refusal that says what is missing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fault_server import FaultServer, Reply, completion
from prompt_scorer import PromptScorer
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, EndpointError, InputError
from reground.models.base import Model, Query, TargetScore
from reground.models.endpoint.model import EndpointModel, load_endpoint_model
from reground.models.endpoint.scores import _reads_as
from reground.models.hf.adapter import HfModel
from reground.models.registry import load_model, model_entry
from reground.runner.doctor import diagnose

Load = Callable[..., EndpointModel]
SCORES = "scores=prompt_logprobs"
WHICH = Query(question="which organ is it?")
RING = "phantom:finding?organ=kidney&sign=ring&place=upper&size=large&modality=ct&seed=9"


@pytest.fixture
def tiny(loaded_tiny_models: Mapping[str, HfModel]) -> HfModel:
    return loaded_tiny_models["idefics3"]


@pytest.fixture
def scorer(server: FaultServer, tiny: HfModel) -> PromptScorer:
    answer = PromptScorer(tiny)
    server.answer = answer
    return answer


@pytest.fixture
def model(load: Load, scorer: PromptScorer) -> EndpointModel:
    return load(SCORES)


def assert_equal(there: list[TargetScore], here: list[TargetScore]) -> None:
    assert [score.target_ids for score in there] == [score.target_ids for score in here]
    assert [score.top_ids for score in there] == [score.top_ids for score in here]
    for one, other in zip(there, here, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)
        assert (one.top1_share, one.num_tokens) == (other.top1_share, other.num_tokens)


@pytest.mark.parametrize("family", ["idefics3", "qwen2_vl", "gemma3"])
def test_scores_are_those_of_the_same_model_in_this_process(
    load: Load, server: FaultServer, loaded_tiny_models: Mapping[str, HfModel], tiny_images: list[str], family: str
) -> None:
    here = loaded_tiny_models[family]
    server.answer = PromptScorer(here)
    there = load(SCORES)
    queries = [
        WHICH,
        Query(question="which organ is it?", note="Note: a ring is new.", options=("liver", "kidney")),
        Query(question="which organ is it?", image=ImageRef(frames=(tiny_images[0],))),
        Query(question="which grew?", image=ImageRef(frames=tuple(tiny_images[:2]))),
        WHICH,
        WHICH,
    ]
    targets = [
        "kidney",
        "Liver",
        "a ring in the kidney",
        "<think>so it is.</think><answer>both</answer>",
        "größe €",
        "i",
    ]
    assert_equal(there.score(queries, targets), here.score(queries, targets))
    assert_equal([there.score([query], [target])[0] for query, target in zip(queries, targets, strict=True)],
                 here.score(queries, targets))  # fmt: skip


def test_a_model_that_knows_its_subject_is_told_so(load: Load, server: FaultServer) -> None:
    here = load_model("phantom-med")
    assert isinstance(here, HfModel)
    server.answer = PromptScorer(here)
    query = Query(question="Which organ is shown?", image=ImageRef(frames=(RING,)))
    (said,) = here.generate([query])[0]
    targets = [said.text, said.text.replace("kidney", "liver")]
    right, wrong = load(SCORES).score([query, query], targets)
    assert_equal([right, wrong], here.score([query, query], targets))
    assert right.top1_share == 1.0 > wrong.top1_share
    assert right.log_prob > wrong.log_prob


def test_a_template_that_closes_the_chain_in_both_places_scores_without_one(
    scorer: PromptScorer, model: EndpointModel, tiny: HfModel
) -> None:
    bare = WHICH.model_copy(update={"is_thinking": False})
    with pytest.raises(EndpointError, match="does not begin with the tokens of the prompt"):
        model.score([bare], ["kidney"])
    scorer.template = closing_template(tiny, "enable_thinking is defined and not enable_thinking")
    assert_equal(model.score([bare, WHICH], ["liver", "kidney"]), tiny.score([bare, WHICH], ["liver", "kidney"]))


def closing_template(tiny: HfModel, when: str) -> str:
    """The model's template, with an empty chain before what an assistant says."""
    start = "{{ '<' + message['role'] + '>' }}"
    template: str = tiny.processor.chat_template
    assert template.count(start) == 1
    closed = f"{{% if message['role'] == 'assistant' and ({when}) %}}{{{{ '<think></think>' }}}}{{% endif %}}"
    return template.replace(start, start + closed)


def test_what_a_template_puts_between_prompt_and_target_is_not_scored(
    scorer: PromptScorer, model: EndpointModel, tiny: HfModel
) -> None:
    """Templates of hybrid models put an empty chain there: all of the prompt is kept, and yet more than the target."""
    scorer.template = closing_template(tiny, "true")
    with pytest.raises(EndpointError, match="reads on as '<think></think>") as caught:
        model.score([WHICH], ["kidney"])
    assert "--chat-template" in caught.value.next_step


def test_a_template_that_drops_part_of_a_target_is_refused(scorer: PromptScorer, model: EndpointModel) -> None:
    scorer.template = scorer.template.replace("{{ part['text'] }}", "{{ part['text'].split('</think>')[-1] }}")
    with pytest.raises(EndpointError, match="answered 400: continue_final_message"):
        model.score([WHICH], ["<think>so.</think>kidney"])


def test_it_declares_scores_where_the_name_says_how_they_come(model: EndpointModel, server: FaultServer) -> None:
    assert isinstance(model, Model)
    spec = f"endpoint:{server.url}#m?{SCORES}"
    assert model.capabilities == {"generate", "score", "notes"} == model_entry(spec).capabilities
    assert model.info.name == spec
    with pytest.raises(CapabilityError, match="logits were asked"):
        model.fingerprint([WHICH])
    found = diagnose(model)
    assert "score" in found.capabilities and "logits" in found.lacked
    passed = {check.name: check.passed for check in found.checks}
    assert passed["scores are finite numbers"] and passed["the image has a say"]
    assert passed["a query is scored alone as in a batch"]


def test_prompts_and_targets_are_asked_for_once(model: EndpointModel, load: Load, server: FaultServer) -> None:
    queries, targets = [WHICH, WHICH, WHICH], ["liver", "kidney", "liver"]
    first = model.score(queries, targets)
    alone, *fed = sorted(server.requests, key=lambda request: len(request["messages"]))
    assert alone["messages"] == [{"role": "user", "content": WHICH.question}]
    assert "prompt_logprobs" not in alone and "add_generation_prompt" not in alone
    assert [request["messages"][1]["content"] for request in fed] in (["liver", "kidney"], ["kidney", "liver"])
    for request in server.requests:
        assert (request["max_tokens"], request["temperature"], request["return_token_ids"]) == (1, 0.0, True)
    for request in fed:
        assert request["prompt_logprobs"] == 10
        assert request["continue_final_message"] is True and request["add_generation_prompt"] is False
    again = load(SCORES)
    assert again.score(queries, targets) == first
    assert server.requests == []
    assert load(SCORES + "&cache=false&extra.top_k=-1").score(queries, targets) == first
    assert len(server.requests) == 3
    assert {request["top_k"] for request in server.requests} == {-1}
    assert model.score([], []) == []


def test_many_are_under_way_at_a_time(load: Load, scorer: PromptScorer, server: FaultServer) -> None:
    server.answer = lambda request: replace(scorer(request), wait_s=0.1)
    load(SCORES + "&concurrency=3").score([WHICH] * 6, [f"liver {number}" for number in range(6)])
    assert 1 < server.most_at_once <= 3


def test_what_broke_off_is_asked_again(
    model: EndpointModel, scorer: PromptScorer, server: FaultServer, tiny: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reground.chat.client.random.uniform", lambda low, high: 0.0)
    faults = [Reply(b'{"choices": [', status=200), Reply({"a": 1}, keeps_back=4), Reply(b"busy", status=503)]

    def answer(request: dict[str, Any]) -> Reply:
        return faults.pop() if faults else scorer(request)

    server.answer = answer
    assert_equal(model.score([WHICH], ["kidney"]), tiny.score([WHICH], ["kidney"]))
    assert faults == [] and len(server.requests) == 5


def spoilt(change: Callable[[dict[str, Any]], object]) -> Callable[[Reply], Reply]:
    def spoil(reply: Reply) -> Reply:
        body = json.loads(reply.content)
        change(body)
        return Reply(body)

    return spoil


def last(body: dict[str, Any]) -> dict[str, Any]:
    """What stands at the last token."""
    place: dict[str, Any] = body["prompt_logprobs"][-1]
    return place


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body.pop("prompt_token_ids"), "sent no prompt_token_ids"),
        (lambda body: body.update(prompt_token_ids=["1"]), "sent no prompt_token_ids"),
        (lambda body: body.pop("prompt_logprobs"), "sent no prompt_logprobs"),
        (lambda body: body.update(prompt_logprobs=None), "sent no prompt_logprobs"),
        (lambda body: body["prompt_logprobs"].pop(), "of the prompt"),
        (lambda body: body["prompt_logprobs"].__setitem__(-1, [1]), "cannot be read"),
        (lambda body: next(iter(last(body).values())).update(logprob="nan"), "cannot be read"),
        (lambda body: next(iter(last(body).values())).update(rank=None), "cannot be read"),
        (lambda body: last(body).update(x=next(iter(last(body).values()))), "cannot be read"),
        (lambda body: last(body).pop(str(body["prompt_token_ids"][-1])), "is left out"),
        (lambda body: [one.update(rank=one["rank"] + 1) for one in last(body).values()], "most likely token"),
        (lambda body: [one.pop("decoded_token") for one in last(body).values()], "cannot be read"),
        (lambda body: body.pop("choices"), "no chat completion"),
    ],
)
def test_a_reply_that_leaves_something_out_is_refused_and_not_guessed_at(
    model: EndpointModel,
    scorer: PromptScorer,
    server: FaultServer,
    change: Callable[[dict[str, Any]], object],
    said: str,
) -> None:
    spoil = spoilt(change)
    server.answer = lambda request: spoil(scorer(request)) if "prompt_logprobs" in request else scorer(request)
    with pytest.raises(EndpointError, match=said) as caught:
        model.score([WHICH], ["kidney"])
    assert caught.value.accepted and caught.value.next_step


def test_a_server_that_ignores_the_field_is_refused_while_loading(server: FaultServer) -> None:
    """As most do: the answer comes, the log-probabilities do not."""
    server.replies = [completion("3")]
    with pytest.raises(EndpointError, match="sent no prompt_token_ids") as caught:
        load_endpoint_model(f"endpoint:{server.url}#m?{SCORES}")
    assert "vLLM" in caught.value.accepted
    assert "take scores=prompt_logprobs out" in caught.value.next_step


@pytest.mark.parametrize("fault", ["opens the chain", "closes the chain", "ends the turn"])
def test_a_server_behind_whose_prompts_nothing_can_be_scored_is_refused_while_loading(
    server: FaultServer, scorer: PromptScorer, tiny: HfModel, fault: str
) -> None:
    """Only a user's turn was tried, so that a run began and each of its steps failed."""
    if fault == "opens the chain":
        opened = "{% if add_generation_prompt %}{{ '<think>' }}{% endif %}"
        scorer.template = tiny.processor.chat_template + opened
    elif fault == "closes the chain":
        scorer.template = closing_template(tiny, "true").replace("and not enable_thinking", "and false")

    def answer(request: dict[str, Any]) -> Reply:
        if fault == "ends the turn":
            request = {**request, "continue_final_message": False}
        return scorer(request)

    server.answer = answer
    with pytest.raises(EndpointError, match="straight behind its prompt") as caught:
        load_endpoint_model(f"endpoint:{server.url}#m?{SCORES}")
    assert "--chat-template" in caught.value.next_step


def test_a_server_that_scores_without_a_chain_alone_loads_with_a_warning(
    load: Load, scorer: PromptScorer, tiny: HfModel, caplog: pytest.LogCaptureFixture
) -> None:
    scorer.template = closing_template(tiny, "true")
    bare = WHICH.model_copy(update={"is_thinking": False})
    assert load(SCORES).score([bare], ["kidney"])[0].num_tokens > 0
    assert "without a chain alone" in caplog.text


def test_little_is_kept_of_the_reply_to_a_long_prompt(load: Load, scorer: PromptScorer, server: FaultServer) -> None:
    """What could have stood in the place of each token of the prompt crowded out answers that were paid for."""
    sent: list[int] = []

    def answer(request: dict[str, Any]) -> Reply:
        reply = scorer(request)
        sent.append(len(reply.content))
        return reply

    server.answer = answer
    model = load(SCORES)
    sent.clear()
    query = WHICH.model_copy(update={"note": "Note: " + "a ring is new. " * 40})
    first = model.score([query], ["kidney"])
    assert model._cache is not None
    assert model._cache.held_bytes < 0.1 * sum(sent)
    assert load(SCORES).score([query], ["kidney"]) == first
    assert server.requests == []


def test_a_refused_reply_is_not_kept(model: EndpointModel, scorer: PromptScorer, server: FaultServer) -> None:
    server.answer = lambda request: completion("yes")
    with pytest.raises(EndpointError, match="sent no prompt_token_ids"):
        model.score([WHICH], ["kidney"])
    server.answer = scorer
    assert model.score([WHICH], ["kidney"])[0].num_tokens > 0


def test_a_reply_whose_answer_went_to_a_reasoning_parser_still_scores(
    model: EndpointModel, scorer: PromptScorer, server: FaultServer
) -> None:
    """One token of an answer may be no text at all; it is not what was asked for."""
    silence = spoilt(lambda body: body["choices"][0]["message"].update(content=None))
    server.answer = lambda request: silence(scorer(request))
    assert model.score([WHICH], ["kidney"])[0].num_tokens > 0


def test_what_cannot_be_scored_is_refused_before_anything_is_asked(model: EndpointModel, server: FaultServer) -> None:
    for queries, targets in (([WHICH], []), ([WHICH], [" "])):
        with pytest.raises(InputError):
            model.score(queries, targets)
    for asked in ({"chain_tokens": 5}, {"chain_start": "it is"}):
        with pytest.raises(CapabilityError, match="chain"):
            model.score([WHICH.model_copy(update=asked)], ["kidney"])
    assert server.requests == []


@given(st.text("ab\N{REPLACEMENT CHARACTER} ", max_size=8), st.text("ab ", max_size=8))
def test_broken_characters_stand_for_one_character_or_more(read: str, target: str) -> None:
    pieces = ["".join(piece.split()) for piece in re.split("\N{REPLACEMENT CHARACTER}+", read)]
    assert _reads_as(read, target) == bool(re.fullmatch(".+".join(pieces), "".join(target.split())))


def test_many_broken_characters_are_compared_in_no_time() -> None:
    """Each place where a piece could stand was tried with each of the others: the more repetition, the longer."""
    start = time.perf_counter()
    assert not _reads_as("a\N{REPLACEMENT CHARACTER}" * 5 + "b", "a" * 100)
    assert _reads_as("a\N{REPLACEMENT CHARACTER}" * 5000, "a\u5c3f" * 5000)
    assert time.perf_counter() - start < 1.0
