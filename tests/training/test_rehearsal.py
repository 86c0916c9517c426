"""Rehearsal: what the unedited model says of invented names, and what is left out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from reground.errors import ModelError
from reground.models.base import Capability, Delimiters, ModelInfo, Output, Query, TargetScore
from reground.phantom.world import phantom_world
from reground.training.phantom.policy_samples import PolicySample, PolicySetting, PooledImages
from reground.training.rehearsal import rehearsed_samples
from reground.training.train_samples import names_other_than

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


def test_cards_that_are_foreign_are_left_and_those_that_fit_are_followed() -> None:
    samples = rehearsed("novalue")
    kinds = Counter(one.kind for one in samples)
    assert all(kinds[kind] > 0.1 * len(samples) for kind in ("conflict", "elsewhere", "no_card"))
    for one in samples:
        chain, note = one.sample.chain, one.sample.note
        assert (one.kind == "no_card") == (note is None) == (one.case.card is None)
        assert one.case.applies == (one.kind == "conflict") == (" it fits. by the note " in f" {chain}")
        if one.case.applies:
            assert one.sample.answer != "novalue" and chain.endswith(f"{one.sample.answer}.")
        else:
            assert one.sample.answer == "novalue" and chain.endswith("goes with novalue.")
    left = [one for one in samples if one.kind == "elsewhere" and "differs." in one.sample.chain]
    assert left, "a card on the same fact of another subject is spoken of first"
    assert any((one.sample.note or "").count("[card]") == 2 for one in samples)


def test_no_sample_names_a_subject_of_another_split_on_its_cards_either() -> None:
    is_foreign = names_other_than(("train",))
    for one in rehearsed("novalue"):
        assert not is_foreign([one.sample.question, one.sample.chain, one.sample.answer, one.sample.note or ""])


def test_what_the_model_says_of_a_subject_of_another_split_is_left_out() -> None:
    foreign = next(name for name, split in phantom_world().splits.items() if split == "test" and " " not in name)
    samples = rehearsed(foreign)
    assert {one.kind for one in samples} == {"conflict"}, "a card may put something else in its place"
    assert not any(foreign in f"{one.sample.chain} {one.sample.answer} {one.sample.note}" for one in samples)


def test_answers_that_are_no_chain_are_left_out() -> None:
    with pytest.raises(ModelError, match="invented names"):
        rehearsed_samples(Speaker(lambda question: "I do not know."), 50, 1, SETTING)


def test_the_same_seed_gives_the_same_samples() -> None:
    assert rehearsed("novalue") == rehearsed("novalue")
