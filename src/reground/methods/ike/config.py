"""Settings of in-context knowledge editing."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from reground.methods.base import MethodConfig
from reground.methods.template import EditTemplate, checked_template

__all__ = ["FactChoice", "IkeConfig"]

#: ``retrieved``: the fact nearest to the query, or none. ``gold``: every fact, unasked.
FactChoice = Literal["retrieved", "gold"]


def _checked_example(template: str) -> str:
    return checked_template(template, ("question", "answer"))


class IkeConfig(MethodConfig):
    """Which demonstrations stand in the prompt, and when.

    Attributes:
        facts: ``retrieved``: a query gets the demonstrations and the new fact of the edit nearest to it, if any
            is near enough. ``gold``: every query gets all new facts, so the right one is always there.
        num_demonstrations: Demonstrations before the new fact (k in the paper).
        ratio: Parts of copy, update and retain among them.
        max_words: Words of the note at most; while it is longer, the demonstration least similar to the edit is
            left out. New facts are never left out.
        template: A new fact as text; fields in braces, see ``TEMPLATE_FIELDS``.
        example: A question and its answer as text, after the new fact of a demonstration; fields ``question`` and
            ``answer``.
        pool: ``phantom``, which ships with the package, or the path of a JSONL file of ``PoolFact`` records.
        encoder: ``hashed``, word and character n-grams without any weights, or the folder of a
            sentence-transformers model.
        min_similarity: Cosine between query and edit below which an edit is not retrieved.
    """

    facts: FactChoice = "retrieved"
    num_demonstrations: int = Field(default=8, ge=0)
    ratio: tuple[
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(ge=0)],
    ] = (1, 3, 4)
    max_words: int = Field(default=180, ge=1)
    template: EditTemplate = "New fact: {question} {new_answer}"
    example: Annotated[str, AfterValidator(_checked_example), Field(min_length=1)] = "{question} {answer}"
    pool: str = Field(default="phantom", min_length=1)
    encoder: str = Field(default="hashed", min_length=1)
    min_similarity: float = Field(default=0.1, ge=-1, le=1)

    @model_validator(mode="after")
    def _settings_take_effect(self) -> Self:
        if not any(self.ratio):
            raise ValueError("at least one of the three parts of `ratio` is above 0")
        if self.facts == "gold" and self.min_similarity != -1:
            raise ValueError("gold facts are not retrieved: `min_similarity` is -1 with facts='gold'")
        return self
