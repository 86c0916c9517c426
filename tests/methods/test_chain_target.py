"""What weight editors train on, from models whose chains are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reground.edits.records import Answer, Edit
from reground.errors import CapabilityError
from reground.methods.chain_target import CompletionTarget, completion_targets
from reground.models.base import Capability, Delimiters, ModelInfo, Output, Query, TargetScore

TAGS = Delimiters()
OPENED = Delimiters(template_opens_chain=True)
BARE = Delimiters(answer_open=None, answer_close=None)


class Writes:
    """A model that writes one text, whatever it is asked."""

    info = ModelInfo(name="writes", revision="1", dtype="none", device="cpu")
    capabilities: frozenset[Capability] = frozenset({"generate"})

    def __init__(self, text: str, delimiters: Delimiters = TAGS, is_truncated: bool = False) -> None:
        self.delimiters = delimiters
        self.output = Output(text=text, num_tokens=len(text.split()), is_truncated=is_truncated)

    def generate(self, queries: Sequence[Query], **_: Any) -> list[list[Output]]:
        return [[self.output] for _ in queries]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        raise NotImplementedError

    def fingerprint(self, queries: Sequence[Query]) -> str:
        raise NotImplementedError


def edit(prior: Answer | None = None, statement: str = "a ring now means osquine") -> Edit:
    return Edit(
        subject="ring",
        relation="condition",
        modality="textual",
        question="what does a ring mean?",
        new_answer=Answer(text="osquine", aliases=("OSQ",)),
        prior_answer=prior,
        statement=statement,
    )


VELMORA = Answer(text="velmora", aliases=("velmora syndrome",))


def target(model: Writes, wanted: Edit, kind: Any = "chain") -> CompletionTarget:
    (only,) = completion_targets(model, [wanted], kind, max_chain_tokens=50, method_name="ft-chain")
    return only


def test_the_answer_alone_is_the_answer_alone() -> None:
    found = target(Writes("anything"), edit(VELMORA), "answer")
    assert found == CompletionTarget(text="osquine", source="answer")


def test_every_mention_of_the_prior_becomes_the_new_answer() -> None:
    text = "<think> a ring means Velmora  syndrome. velmora it is.</think><answer> velmora</answer>"
    found = target(Writes(text), edit(VELMORA))
    assert found.text == "<think> a ring means osquine. osquine it is.</think><answer> osquine</answer>"
    assert (found.source, found.reason) == ("own_chain", None)


def test_only_whole_words_are_replaced() -> None:
    text = "<think>velmoran rings mean velmora.</think><answer>velmora</answer>"
    assert target(Writes(text), edit(VELMORA)).text.startswith("<think>velmoran rings mean osquine.")


def test_a_prior_that_is_not_stated_is_read_from_the_answer() -> None:
    text = "<think>rings mean belumide.</think><answer>belumide</answer>"
    assert target(Writes(text), edit()).text == "<think>rings mean osquine.</think><answer>osquine</answer>"


@pytest.mark.parametrize("prior", [Answer(text="A"), None])
def test_an_options_letter_is_no_word_of_the_chain(prior: Answer | None) -> None:
    """Every article of the chain became the new answer's letter: "B ring means velmora"."""
    asked = edit(prior).model_copy(update={"new_answer": Answer(text="B"), "options": ("velmora", "osquine")})
    text = "<think>a ring means velmora.</think><answer>A</answer>"
    found = target(Writes(text), asked)
    assert found.text == "<think>a ring means osquine.</think><answer>B</answer>"
    assert found.source == "own_chain"


def test_a_chain_that_names_the_new_answer_already_is_kept() -> None:
    text = "<think>rings mean OSQ.</think><answer>OSQ</answer>"
    found = target(Writes(text), edit(VELMORA))
    assert found.text == "<think>rings mean OSQ.</think><answer>osquine</answer>"
    assert found.source == "own_chain"


@pytest.mark.parametrize(
    ("text", "is_truncated", "reason"),
    [
        ("<think>rings mean belumide.</think><answer>belumide</answer>", False, "does not name 'velmora'"),
        ("<think>rings mean velmora.<answer>velmora</answer>", False, "broken_format"),
        ("<think>rings mean velmora and", True, "truncated"),
        ("<think>rings mean velmora.</think><answer></answer>", False, "no_answer"),
    ],
)
def test_an_unusable_chain_gives_way_to_the_statement(text: str, is_truncated: bool, reason: str) -> None:
    found = target(Writes(text, is_truncated=is_truncated), edit(VELMORA))
    assert found.text == "<think>a ring now means osquine.</think><answer>osquine</answer>"
    assert found.source == "statement"
    assert found.reason is not None
    assert reason in found.reason


def test_a_chain_that_the_template_opens_is_not_opened_again() -> None:
    text = "rings mean velmora.</think><answer>velmora</answer>"
    assert target(Writes(text, OPENED), edit(VELMORA)).text == "rings mean osquine.</think><answer>osquine</answer>"
    fallback = target(Writes("broken", OPENED), edit(VELMORA, statement="rings mean osquine!"))
    assert fallback.text == "rings mean osquine!</think><answer>osquine</answer>"


def test_an_answer_without_delimiters_keeps_the_space_before_it() -> None:
    text = "<think>\nrings mean velmora.\n</think>\n\nvelmora"
    found = target(Writes(text, BARE), edit(VELMORA))
    assert found.text == "<think>\nrings mean osquine.\n</think>\n\nosquine"


def test_a_model_that_writes_no_chain_is_refused() -> None:
    model = Writes("velmora", Delimiters(writes_chain=False, answer_open=None, answer_close=None))
    with pytest.raises(CapabilityError, match="method 'ft-chain' trains on chains"):
        target(model, edit(VELMORA))
