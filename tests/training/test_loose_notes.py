"""Training notes in words that mean nothing, and the drills that are made of them."""

import random
import re

from reground.phantom.language import Claim
from reground.phantom.world import phantom_world
from reground.training.phantom.drills import comparison, drill
from reground.training.phantom.loose_notes import loose_claim, loose_note


def test_a_loose_note_holds_every_name_once() -> None:
    rng = random.Random(0)
    claims = (Claim("maker", "slokflex", "vrunatec"), Claim("maker", "pradlock", "zemucorp"))
    for _ in range(200):
        words = re.findall(r"[a-z]+", loose_note(claims, rng, "seen"))
        for name in ("slokflex", "vrunatec", "pradlock", "zemucorp"):
            assert words.count(name) == 1


def test_a_claim_stands_in_either_order_but_a_new_name_follows_the_old() -> None:
    rng = random.Random(1)
    for relation, orders in (("maker", {True, False}), ("name", {True})):
        texts = [loose_claim(Claim(relation, "slokflex", "vrunatec"), rng) for _ in range(60)]
        assert {text.index("slokflex") < text.index("vrunatec") for text in texts} == orders


def test_what_a_drill_wants_can_be_read_in_its_question() -> None:
    rng = random.Random(2)
    for _ in range(300):
        question, chain = drill(rng)
        assert chain.removesuffix(".").rsplit(" ", 1)[-1] in question


def test_a_comparison_is_decided_by_what_it_says_and_names_no_held_out_finding() -> None:
    rng, kept_apart = random.Random(3), phantom_world().subjects("finding", "test", "calibration")
    verdicts = {"it fits": 0, "it differs": 0}
    for _ in range(300):
        question, chain = comparison(rng)
        assert not [finding for finding in kept_apart if finding in question]
        if not question.startswith("say "):
            continue
        seen = question.removeprefix("say ").partition(" which fits: ")[0]
        shown = re.sub(r"^(?:the image shows|this is about) (?:an? (?=.* in the ))?", "", seen.removesuffix("."))
        topics = question.partition(" which fits: ")[2].removesuffix("?").split("; ")
        for topic, sentence in zip(topics, chain.removeprefix(seen).strip().split(". "), strict=True):
            is_same = bool(re.search(rf"\b{shown}$", topic))
            assert sentence.startswith(f"the note gives {topic}: ")
            assert sentence.removesuffix(".").endswith("it fits" if is_same else "it differs")
            verdicts["it fits" if is_same else "it differs"] += 1
    assert min(verdicts.values()) > 0.3 * sum(verdicts.values())
