"""At which token an edit acts."""

from __future__ import annotations

import pytest

from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.methods.closed_form.tokens import names_subject, token_index
from reground.models.base import Query
from reground.models.hf.adapter import HfModel


def words_up_to(model: HfModel, query: Query, index: int) -> str:
    tokens = model.cut_prompt(query)
    return tokens.text[: tokens.spans[index][1]]


def test_the_last_token_of_the_last_mention_stands_for_the_subject(tiny_model: HfModel) -> None:
    query = Query(
        question="Is a Star in the  Liver like a star in the liver, or like starry things?",
        note="a star in the liver is noted",
        options=("a star in the liver", "none"),
    )
    before = words_up_to(tiny_model, query, token_index(tiny_model, query, "subject", "star in the liver"))
    assert before.endswith("Is a Star in the  Liver like a star in the liver")


def test_a_subject_is_named_as_whole_words_whatever_the_case() -> None:
    assert names_subject("What does a RING in\nthe kidney mean?", "ring in the kidney")
    assert not names_subject("what do rings in the kidney mean?", "ring in the kidney")
    assert names_subject("is c++ (new) fine?", "c++ (new)")


def test_a_subject_that_is_seen_has_its_stand_in(tiny_model: HfModel, tiny_images: list[str]) -> None:
    query = Query(question="what is this?", image=ImageRef(frames=(tiny_images[0],)), options=("ring", "star"))
    tokens = tiny_model.cut_prompt(query)
    index = token_index(tiny_model, query, "image", "ring")
    assert tokens.is_image[index] and not any(tokens.is_image[index + 1 :])
    assert words_up_to(tiny_model, query, token_index(tiny_model, query, "question", "ring")).endswith("what is this?")
    assert token_index(tiny_model, query, "prompt", "ring") == len(tokens.spans) - 1


def test_tokens_are_those_of_the_batch(tiny_model: HfModel, tiny_images: list[str]) -> None:
    query = Query(question="what is this?", image=ImageRef(frames=(tiny_images[0],)))
    tokens = tiny_model.cut_prompt(query)
    assert len(tokens.spans) == len(tokens.is_image) == tiny_model.prompt_batch([query])["attention_mask"].sum()


def test_what_cannot_be_located_is_refused(tiny_model: HfModel) -> None:
    query = Query(question="what is this?")
    with pytest.raises(InputError, match="act at the subject 'ring'"):
        token_index(tiny_model, query, "subject", "ring")
    with pytest.raises(InputError, match="which has none"):
        token_index(tiny_model, query, "image", "ring")
