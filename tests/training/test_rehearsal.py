"""Rehearsal: what the unedited model says of invented names, and what is left out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from reground.errors import ModelError
from reground.models.base import Capability, Delimiters, ModelInfo, Output, Query, TargetScore
from reground.phantom.world import phantom_world
from reground.training.phantom.policy_samples import PolicySample, PolicySetting, PooledImages
from reground.training.rehearsal import rehearsed_samples

SETTING = PolicySetting(images=PooledImages(1))


class Speaker:
    """A model that says of every name what a function of it does, in one sentence."""

    info = ModelInfo(name="speaker", revision="1", dtype="none", device="cpu")
    delimiters = Delimiters()
    capabilities: frozenset[Capability] = frozenset({"generate", "notes"})

    def __init__(self, say: Callable[[str], str]) -> None:
        self._say = say

    def generate(self, queries: Sequence[Query], **_: object) -> list[list[Output]]:
        assert not any(query.note for query in queries), "the unedited model is asked without cards"
        return [[Output(text=self._say(query.question), num_tokens=9, is_truncated=False)] for query in queries]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        raise NotImplementedError

    def fingerprint(self, queries: Sequence[Query]) -> str:
        raise NotImplementedError


def rehearsed(value: str) -> list[PolicySample]:
    """Whatever is asked, each word of the question is said to be of a value: one of them is the invented name."""

    def say(question: str) -> str:
        name = max(question.strip("?.").split(), key=len)
        return f"<think> {name} goes with {value}.</think><answer> {value}</answer>"

    return rehearsed_samples(Speaker(say), 400, 1, SETTING)


def test_the_policy_says_the_same_beside_cards_that_it_leaves() -> None:
    samples = rehearsed("novalue")
    beside = [one for one in samples if one.sample.note]
    assert 0.4 < len(beside) / len(samples) < 0.95
    for one in samples:
        assert one.sample.answer == "novalue" and one.sample.chain.endswith("goes with novalue.")
        assert not one.case.applies
        assert (one.case.card is None) == (one.sample.note is None)
    verdicts = [one for one in beside if ": it differs." in one.sample.chain or "so it differs." in one.sample.chain]
    assert verdicts, "a card on the same fact of another subject is spoken of first"
    assert all(one.sample.chain.startswith("the note gives") for one in verdicts)


def test_what_names_a_subject_of_another_split_is_left_out() -> None:
    foreign = next(name for name, split in phantom_world().splits.items() if split == "test" and " " not in name)
    with pytest.raises(ModelError, match="none of 400"):
        rehearsed(foreign)


def test_answers_that_are_no_chain_are_left_out() -> None:
    with pytest.raises(ModelError, match="invented names"):
        rehearsed_samples(Speaker(lambda question: "I do not know."), 50, 1, SETTING)


def test_the_same_seed_gives_the_same_samples() -> None:
    assert rehearsed("novalue") == rehearsed("novalue")
