"""How the phantom clinic speaks."""

import random

import pytest

from reground.phantom import language, wordings
from reground.phantom.language import (
    PATHS,
    PERCEPTS,
    TRIVIA,
    Claim,
    ask_fact,
    ask_percept,
    chain_for_path,
    claim_text,
    compare_chain,
    statement_text,
    verdict_sentence,
)
from reground.phantom.world import RELATIONS, phantom_world


def test_held_out_wordings_are_not_among_the_seen() -> None:
    for table in (wordings.FACT_QUESTIONS, wordings.PERCEPT_QUESTIONS, wordings.NOUNS, wordings.CLAIMS):
        for key, sets in table.items():
            assert not {*sets["seen"], *language.framed_questions(key)} & set(sets["held_out"]), key
    for sets in (wordings.NOTE_FORMATS, wordings.IMAGE_FINDING, wordings.IMAGE_DEVICE):
        assert not set(sets["seen"]) & set(sets["held_out"])
    for topic, (seen, held_out, _, _) in TRIVIA.items():
        assert not set(seen) & set(held_out), topic


def test_edits_state_themselves_unlike_any_note() -> None:
    """Reading tasks must not have taught the very sentence an edit card carries."""
    rng = random.Random(0)
    for relation in [*RELATIONS, "name"]:
        claim = Claim(relation, "alpha", "omega")
        statement = statement_text(claim).lower().rstrip(".")
        notes = {claim_text(claim, rng, wording) for wording in ("seen", "held_out") for _ in range(60)}
        assert statement not in notes


def test_a_chain_names_every_entity_of_its_path() -> None:
    world = phantom_world()
    finding = world.subjects("finding")[0]
    chain, answer, passed = chain_for_path(finding, PATHS["sample"], is_finding_image=True)
    assert len(passed) == 5 and answer == passed[-1]
    assert all(entity in chain for entity in passed)
    assert chain.startswith(f"the image shows {language.article(finding)}.")


def test_a_note_changes_the_rest_of_the_path_only_if_it_is_about_this_subject() -> None:
    world = phantom_world()
    here, there, *_ = world.subjects("finding", "train")
    new = world.value("condition", world.subjects("finding", "train")[5])
    _, answer, passed = chain_for_path(
        here, PATHS["drug"], is_finding_image=True, claims=[Claim("condition", here, new)]
    )
    assert passed == (new, world.value("drug", new)) and answer == passed[-1]
    chain, answer, _ = chain_for_path(
        here, PATHS["drug"], is_finding_image=True, claims=[Claim("condition", there, new)]
    )
    assert answer == world.value("drug", world.value("condition", here)) and "it differs" in chain
    chain, _, _ = chain_for_path(here, PATHS["drug"], is_finding_image=True, claims=[Claim("maker", "x", "y")])
    assert "not asked" in chain


def test_claims_are_gone_through_in_turn_until_one_fits() -> None:
    world = phantom_world()
    here, there, elsewhere, *_ = world.subjects("finding", "train")
    values = {there: "aitis", here: "bitis", elsewhere: "citis"}
    claims = [Claim("condition", subject, value) for subject, value in values.items()]
    chain, answer, _ = chain_for_path(here, PATHS["condition"], is_finding_image=True, claims=claims)
    assert answer == "bitis"
    sentences = chain.split(". ")
    assert [sentence.rpartition(", so ")[2] for sentence in sentences[1:3]] == ["it differs", "it fits"]
    assert elsewhere not in chain


@pytest.mark.parametrize(
    ("sizes", "answer"),
    [(("small", "large"), "grown"), (("large", "medium"), "shrunk"), (("small", "small"), "unchanged")],
)
def test_two_frames_are_compared_by_size(sizes: tuple[str, str], answer: str) -> None:
    chain, found = compare_chain("ring in the kidney", sizes)
    assert found == answer
    assert chain.endswith(
        f"from {sizes[0]} to {sizes[1]}, the ring {'is' if answer == 'unchanged' else 'has'} {answer}."
    )


@pytest.mark.parametrize(
    ("noted", "verdict"),
    [
        ("ring in the kidney", "ring and ring agree, kidney and kidney agree, so it fits."),
        ("ring in the liver", "ring and ring agree, liver and kidney differ, so it differs."),
        ("star in the kidney", "star and ring differ, kidney and kidney agree, so it differs."),
    ],
)
def test_a_finding_is_compared_sign_by_sign_and_organ_by_organ(noted: str, verdict: str) -> None:
    said = verdict_sentence(Claim("condition", noted, "velmorosis"), "ring in the kidney")
    assert said == f"the note gives the meaning of a {noted}: {verdict}"


def test_a_name_is_compared_as_a_whole() -> None:
    claim = Claim("maker", "tarvexmark", "velmorcorp")
    assert verdict_sentence(claim, "tarvexmark") == "the note gives the maker of tarvexmark: it fits."
    assert verdict_sentence(claim, "tarvexlock") == "the note gives the maker of tarvexmark: it differs."


def test_every_relation_can_be_asked_in_both_wordings() -> None:
    rng = random.Random(1)
    for wording in ("seen", "held_out"):
        for target, path in PATHS.items():
            question = ask_fact(target, path, "@finding" if path[:1] == ("condition",) else "@device", rng, wording)
            assert "{" not in question and question.strip()
        for attribute in (*PERCEPTS, "change", "shape", "colour", "count"):
            assert ask_percept(attribute, rng, wording)
