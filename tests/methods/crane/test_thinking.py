"""Reading an output: what its chain names for the first time, and whether it says what a card does."""

from __future__ import annotations

import pytest

from reground.edits.names import sentences_of
from reground.edits.records import Answer
from reground.methods.crane.percept import first_sentence
from reground.methods.crane.thinking import chain_in, naming_sentences, restated, says
from reground.models.base import Delimiters, Output

OPENED = Delimiters(template_opens_chain=True)


@pytest.mark.parametrize(
    ("text", "delimiters", "chain"),
    [
        ("<think> it is a ring.</think><answer> ring</answer>", Delimiters(), " it is a ring."),
        ("<think> it is a ri", Delimiters(), " it is a ri"),
        ("it is a ring.", Delimiters(), None),
        (" it is a ring.</think>ring", OPENED, " it is a ring."),
    ],
)
def test_the_chain_of_an_output(text: str, delimiters: Delimiters, chain: str | None) -> None:
    assert chain_in(text, delimiters) == chain


def test_a_sentence_ends_where_the_chain_may_be_cut() -> None:
    chain = " the image shows a ring. 3.5 cm wide! 肾结石。 and then"
    found = sentences_of(chain)
    assert [sentence.text for sentence in found] == ["the image shows a ring.", "3.5 cm wide!", "肾结石。"]
    assert chain[: found[0].end] == " the image shows a ring."
    assert chain[: found[1].end].endswith("wide!")


def test_lines_are_sentences_too() -> None:
    assert [sentence.text for sentence in sentences_of("- a ring\n- a star\n- cut")] == ["- a ring", "- a star"]


def test_only_what_is_named_anew_is_looked_up() -> None:
    chain = sentences_of("the device is lorvex. lorvex is the device. lorvex is made by togron. it is so.")
    named = [sentence.text for sentence in naming_sentences(chain, ["what is the device made by?"])]
    assert named == ["the device is lorvex.", "lorvex is made by togron."]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("the image shows a ring. a ring means x.", "the image shows a ring."),
        ("\nA ring", "A ring"),
        ("A ring\nin the kidney.", "A ring\nin the kidney."),
        ("  ", None),
        ("", None),
    ],
)
def test_the_first_sentence_is_the_percept(text: str, sentence: str | None) -> None:
    assert first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("text", "options", "is_said"),
    [
        ("<think> it is the Osprey-7 now.</think><answer> yes</answer>", (), True),
        ("<think> it is a kite.</think><answer> osprey 7</answer>", (), True),
        ("<think> nothing.</think><answer> the bird of sea</answer>", (), True),
        ("<think> it is cut off by the osprey 7", (), True),
        ("<think> it is a kite.</think><answer> kite</answer>", (), False),
        ("<answer> b</answer>", ("kite", "osprey-7"), True),
        ("<answer> option B</answer>", ("kite", "osprey-7"), True),
        ("<answer> The answer is B.</answer>", ("kite", "osprey-7"), True),
        ("<answer> (A)</answer>", ("kite", "osprey-7"), False),
        ("<answer> z</answer>", ("kite", "osprey-7"), False),
        ("<answer> b</answer>", (), False),
    ],
)
def test_whether_an_output_says_what_a_card_does(text: str, options: tuple[str, ...], is_said: bool) -> None:
    output = Output(text=text, num_tokens=9, is_truncated=False)
    answer = Answer(text="osprey 7", aliases=("bird of sea",))
    assert says(output, answer, options, Delimiters()) is is_said


@pytest.mark.parametrize(
    ("written", "stated"),
    [("1000", "1,000"), ("cafe\u0301", "caf\u00e9"), ("\uff12\uff10 mg", "20mg"), ("结石 7", "结石7")],
)
def test_spellings_are_the_same_but_for_what_lies_between_letters(written: str, stated: str) -> None:
    output = Output(text=f"<think> so.</think><answer> {written}</answer>", num_tokens=9, is_truncated=False)
    assert says(output, Answer(text=stated), (), Delimiters())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The drug for it is Flonan-mab.", "The drug for it is gisimast."),
        ("flonan mab, and flonan mab again", "gisimast, and gisimast again"),
        ("the drug for it is flonan mabel.", None),
        ("the drug is flonan mab, no longer gisimast.", None),
        ("is it flonan mab?", None),
        ("Flonan Mab Clinic gives nothing.", None),
        ("Flonan Mab Clinic gives flonan  mab.", "Flonan Mab Clinic gives gisimast."),
        ("it is FM-one.", "it is gisimast."),
        ("it is flonan mab, fm one.", "it is gisimast, gisimast."),
        ("it is flonan mab forte.", "it is gisimast."),
    ],
)
def test_a_sentence_with_what_holds_now(text: str, said: str | None) -> None:
    prior = Answer(text="flonan mab", aliases=("fm one", "flonan mab forte"))
    assert restated(text, prior, Answer(text="gisimast"), "flonan mab clinic") == said
