from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reground.edits.records import Answer, is_blank
from reground.evaluation.matching import in_words, matches, names, normalise, same_answer, token_f1

OPTIONS = ("cancer", "lung cancer", "a stone in the kidney", "Myocardial infarction")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Ring.", "ring"),
        ("a ring in the kidney", "ring in kidney"),
        ("X-ray", "x ray"),
        ("the U.S. Army", "us army"),
        ("1,000 mg", "1000 mg"),
        ("3.5", "3.5"),
        ("-5 degrees", "-5 degrees"),
        ("2-3", "2 3"),
        ("Crohn's", "crohn s"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("STRASSE Straße", "strasse strasse"),
        ("hepatitis A", "hepatitis a"),
        ("A", "a"),
        ("the", "the"),
        ("**velmora**", "velmora"),
        ("肾脏。", "肾脏"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_normalise_by_hand(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text().filter(lambda text: not is_blank(text)))
def test_an_answer_matches_itself_alone_and_inside_a_sentence(text: str) -> None:
    gold = Answer(text=text)
    assert matches(gold.text, gold)
    assert token_f1(gold.text, gold) == 1.0


@given(st.lists(st.sampled_from(["ring", "the", "kidney", "tarvex", "a", "not", "velmora"]), max_size=8))
def test_a_single_word_is_named_exactly_if_it_is_one_of_the_words(words: list[str]) -> None:
    assert names(" ".join(words), Answer(text="tarvex")) == ("tarvex" in words)


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("It is Tarvex.", "tarvex", True),
        ("tarvexin", "tarvex", False),
        ("tarvex's sign", "tarvex", True),
        ("velmora or tarvex", "tarvex", True),
        ("not tarvex", "tarvex", True),
        ("", "tarvex", False),
        ("hepatitis B", "hepatitis A", False),
        ("hepatitis a virus", "hepatitis A", True),
        ("stone in the kidney", "a stone in kidney", True),
        ("35", "3.5", False),
        ("1000", "1,000", True),
        ("这是肾结石", "肾结石", True),
        ("这是肝结石", "肾结石", False),
        ("是velmora综合征", "velmora", True),
        ("velmoras综合征", "velmora", False),
        ("腎臓です", "腎臓", True),
        ("서울은", "서울", True),
    ],
)
def test_free_text_matches_whole_words(answer: str, gold: str, expected: bool) -> None:
    assert matches(answer, Answer(text=gold)) is expected
    assert names(answer, Answer(text=gold)) is expected


def test_any_alias_counts() -> None:
    gold = Answer(text="New York City", aliases=("NYC", "纽约"))
    assert matches("nyc!", gold)
    assert matches("它在纽约", gold)
    assert not matches("New York", gold)


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("B", "lung cancer", True),
        ("(b)", "lung cancer", True),
        ("B.", "lung cancer", True),
        ("answer: B", "lung cancer", True),
        ("The correct answer is B because of the shadow", "lung cancer", True),
        ("B: lung cancer", "lung cancer", True),
        ("B) cancer", "cancer", False),
        ("**B**", "lung cancer", True),
        ("选B", "lung cancer", True),
        ("答案：B。", "lung cancer", True),
        ("lung cancer", "lung cancer", True),
        ("lung cancer", "cancer", False),
        ("cancer", "lung cancer", False),
        ("lung cancer, which is a cancer", "cancer", True),
        ("a stone in the kidney", "a stone in the kidney", True),
        ("a stone in the kidney", "cancer", False),
        ("answer: a stone in the kidney", "cancer", False),
        ("A stone in the kidney", "cancer", False),
        ("A", "cancer", True),
        ("answer: a", "cancer", True),
        ("E", "lung cancer", False),
        ("The C-arm", "a stone in the kidney", False),
        ("the B cell lymphoma", "lung cancer", False),
        ("my option: B", "lung cancer", True),
        ("Correct: **B**", "lung cancer", True),
        ("the final answer is: B", "lung cancer", True),
        ("the answer is c-reactive protein", "a stone in the kidney", False),
        ("bronchitis", "lung cancer", False),
    ],
)
def test_multiple_choice_takes_the_letter_or_the_text(answer: str, gold: str, expected: bool) -> None:
    assert matches(answer, Answer(text=gold), OPTIONS) is expected


def test_gold_may_be_the_letter_itself_or_have_an_alias_that_is_no_option() -> None:
    assert matches("lung cancer", Answer(text="B"), OPTIONS)
    assert matches("b)", Answer(text="B"), OPTIONS)
    assert not matches("cancer", Answer(text="B"), OPTIONS)
    infarction = Answer(text="Myocardial infarction", aliases=("heart attack",))
    assert matches("a heart attack, not lung cancer", infarction, OPTIONS)


def test_a_chain_names_an_option_by_text_or_by_an_unmistakable_letter() -> None:
    gold = Answer(text="B")
    assert names("the shadow means lung cancer", gold, OPTIONS)
    assert names("so option B fits", gold, OPTIONS)
    assert names("the answer is (B).", gold, OPTIONS)
    assert not names("vitamin B is low (B cells)", gold, OPTIONS)
    assert not names("the answer is a stone", Answer(text="A"), OPTIONS)
    assert in_words(gold, OPTIONS).spellings == ("lung cancer",)
    assert in_words(Answer(text="tarvex", aliases=("t x",))).spellings == ("tarvex", "t x")


def test_same_answer_compares_normalised_text_or_options() -> None:
    assert same_answer("The Kidney.", "kidney")
    assert not same_answer("kidney", "the left kidney")
    assert same_answer("B", "lung cancer", OPTIONS)
    assert not same_answer("A", "lung cancer", OPTIONS)


def test_token_f1_by_hand() -> None:
    # shares 2 of 3 given and 2 of 2 wanted words: 2 * 2 / (3 + 2)
    assert token_f1("left lung cancer", Answer(text="lung cancer")) == pytest.approx(0.8)
    assert token_f1("left lung cancer", Answer(text="x", aliases=("left lung cancer",))) == 1.0
    assert token_f1("", Answer(text="x")) == 0.0
    # 肾结石 shares 2 of 3 characters with 肾石: 2 * 2 / (3 + 2)
    assert token_f1("肾结石", Answer(text="肾石")) == pytest.approx(0.8)


def test_little_more_than_the_texts_is_kept_of_long_chains() -> None:
    """The words of every chain were kept one by one: ten times the chain, half a gigabyte in all."""
    chains = [" ".join(f"{word:05d}" for word in range(number, number + 2000)) for number in range(200)]
    tracemalloc.start()
    try:
        for chain in chains:
            assert names(chain, Answer(text=chain[:5])) and not names(chain, Answer(text="kidney"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5 * sum(map(len, chains))
