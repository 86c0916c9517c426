"""Settings of the method that states edits in the prompt."""

from __future__ import annotations

import string
from typing import Annotated

from pydantic import AfterValidator, Field

from reground.methods.base import MethodConfig

__all__ = ["TEMPLATE_FIELDS", "PromptConfig"]

#: What a template may name.
TEMPLATE_FIELDS = ("statement", "subject", "relation", "question", "new_answer", "prior_answer")


def _checked_template(template: str) -> str:
    named = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    unknown = sorted(set(named) - set(TEMPLATE_FIELDS))
    if unknown or not named:
        raise ValueError(
            f"a template names at least one of {', '.join(TEMPLATE_FIELDS)} in braces"
            + (f", and nothing else; it names {', '.join(map(repr, unknown))}" if unknown else "")
        )
    return template


class PromptConfig(MethodConfig):
    """How edits read in the prompt.

    Attributes:
        template: One edit as text; fields in braces, see ``TEMPLATE_FIELDS``. A prior answer that is not
            known reads as ``unknown``.
    """

    template: Annotated[str, AfterValidator(_checked_template), Field(min_length=1)] = "Note: {statement}"
