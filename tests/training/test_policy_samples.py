"""What a policy is trained on: whom it may know, what it is to read, and what the right chain is worth."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache

import pytest

from reground.edits.traces import Delimiters, parse_trace
from reground.phantom.render import uri_keys
from reground.phantom.world import finding_text, phantom_world
from reground.training.phantom.policy_samples import (
    POLICY_KINDS,
    PolicyKind,
    PolicySample,
    PolicySetting,
    draw_policy_sample,
    policy_sample,
)
from reground.training.rewards import reward

NUM_SAMPLES = 1500
PLAIN = PolicySetting(styles=False)
_WORDS = ("referral", "urgency", "sample", "mri_status")


@cache
def drawn(kind: PolicyKind, count: int = 120) -> list[PolicySample]:
    rng = random.Random(f"test/{kind}")
    return [draw_policy_sample(kind, PLAIN, rng) for _ in range(count)]


def texts(one: PolicySample) -> str:
    s = one.sample
    return " | ".join((s.question, s.note or "", *s.options, s.chain, s.answer, one.case.model_dump_json()))


def shown(one: PolicySample) -> set[str]:
    """Subjects that the images show."""
    keys = [uri_keys(uri) for uri in one.sample.images if uri.startswith("phantom:")]
    found = {finding_text(key["organ"], key["sign"]) for key in keys if "sign" in key}
    return found | {key["name"] for key in keys if "name" in key}


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [(PolicySetting(), {"train"}), (PolicySetting(split="calibration"), {"train", "calibration"})],
)
def test_no_sample_names_or_shows_a_subject_of_another_split(setting: PolicySetting, allowed: set[str]) -> None:
    """Not even as a foreign card or a wrong option: a policy that meets a subject only there learns to leave it be."""
    splits = phantom_world().splits
    kept_apart = {name for name, split in splits.items() if split not in allowed}
    assert {splits[name] for name in kept_apart} >= {"test", "unseen"}
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in kept_apart))
    for index in range(NUM_SAMPLES):
        one = policy_sample(7, index, setting)
        assert not pattern.search(texts(one)), one
        assert not shown(one) & kept_apart, one


def test_questions_of_the_calibration_split_start_from_its_own_subjects() -> None:
    splits = phantom_world().splits
    found = Counter(
        splits[subject]
        for i in range(300)
        for subject in shown(policy_sample(7, i, PolicySetting(split="calibration")))
    )
    assert set(found) == {"calibration"}


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    assert policy_sample(1, 5) == policy_sample(1, 5)
    assert policy_sample(1, 5) != policy_sample(1, 6)
    assert policy_sample(1, 5) != policy_sample(2, 5)


@pytest.mark.parametrize("kind", POLICY_KINDS)
def test_the_right_chain_is_worth_the_whole_reward(kind: PolicyKind) -> None:
    """Samples and reward are written apart from each other: what one calls right the other must."""
    for one in drawn(kind):
        text = f"<think> {one.sample.chain}</think><answer> {one.sample.answer}</answer>"
        trace = parse_trace(text, Delimiters(), num_tokens=9, is_truncated=False)
        # The stance reader takes the maker "misucorp" for a word like "misread", and "is unsafe" for a verdict.
        if one.sample.chain and not re.search(r"misucorp|unsafe", one.sample.chain):
            assert reward(trace, one.case) == 1.0, one


def test_a_card_that_applies_is_followed_and_one_that_does_not_is_left() -> None:
    for kind in POLICY_KINDS:
        for one in drawn(kind):
            assert ("by the note" in one.sample.chain) == one.case.applies, one
            assert (one.sample.note is None) == (kind == "no_card")


def test_a_conflict_changes_the_answer_at_every_place_of_the_path() -> None:
    places = Counter(one.position for one in drawn("conflict"))
    assert min(places[place] for place in ("first", "middle", "last")) >= 6
    hops = {one.sample.num_hops for one in drawn("conflict")}
    assert hops == {1, 2, 3, 4, 5}
    assert {bool(one.sample.images) for one in drawn("conflict")} == {True, False}


def test_most_new_values_are_names_that_nobody_knows() -> None:
    """Departments, urgencies, samples and MRI statuses are words that cannot be invented; all else is named."""
    world = phantom_world()
    words = {value for (relation, _), value in world.facts.items() if relation in _WORDS}
    cards = [re.findall(r"new answer: (.+)", one.sample.note or "") for kind in POLICY_KINDS for one in drawn(kind)]
    new = [value for of_sample in cards for value in of_sample if value not in words]
    invented = [value for value in new if value not in {*world.splits, *world.facts.values()}]
    assert len(invented) > 0.6 * len(new)
    assert len(set(invented)) > 0.98 * len(invented)


def test_of_two_cards_on_one_fact_the_newer_comes_first_and_holds() -> None:
    for one in drawn("corrected"):
        assert one.sample.note is not None and one.case.new_answer is not None
        first, second = re.findall(r"new answer: (.+)", one.sample.note)
        assert first == one.case.new_answer.text != second


def test_a_percept_says_what_the_image_of_its_own_card_shows() -> None:
    percepts = [
        re.findall(r"made for: the image shows (?:an? )?(.+)\.", one.sample.note or "") for one in drawn("look_alike")
    ]
    pairs = [
        (found, shown(one)) for found, one in zip(percepts, drawn("look_alike"), strict=True) if found and shown(one)
    ]
    assert len(pairs) > 30
    assert not any(set(found) & seen for found, seen in pairs)


def test_some_device_cards_can_be_told_by_their_percept_alone() -> None:
    strange = PolicySetting(styles=False, strange_share=1.0, percept_share=1.0)
    rng = random.Random(0)
    found = 0
    for _ in range(60):
        one = draw_policy_sample("conflict", strange, rng)
        for device in shown(one) & set(phantom_world().devices):
            if one.position == "first" and "made for" in (one.sample.note or ""):
                assert f"the image shows {device}." in (one.sample.note or "")
                assert f"known as {device}" not in (one.sample.note or "")
                found += 1
    assert found


def cards_of(one: PolicySample) -> list[str]:
    return (one.sample.note or "").split("[card]")[1:]


def test_cards_say_that_they_are_called_in_a_share_of_samples_and_only_what_is_named() -> None:
    """Question or right chain names it, apart from where the chain repeats what it read on a card."""
    share = {
        kind: sum("called by name" in texts(one) for one in drawn(kind)) / len(drawn(kind)) for kind in POLICY_KINDS
    }
    assert 0.4 < share["conflict"] < 0.7
    assert share["no_card"] == 0
    assert share["look_alike"] < 0.1
    never = PolicySetting(styles=False, called_share=0)
    assert not any("called by name" in texts(policy_sample(5, index, never)) for index in range(200))
    for one in drawn("conflict") + drawn("other_question") + drawn("look_alike"):
        own = [sentence for sentence in one.sample.chain.split(". ") if "the note gives" not in sentence]
        read = f"{one.sample.question}. {'. '.join(own)}"
        for card in cards_of(one):
            seen = re.search(r"made for: the image shows (.*)\.", card)
            if "called by name" in card and seen:
                assert seen[1] in read, (card, read)
