"""An edit as a line of text: the templates of methods that state edits in the prompt."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from reground.edits.records import Edit

__all__ = ["TEMPLATE_FIELDS", "EditTemplate", "checked_template", "edit_fields"]

#: What a template of an edit may name.
TEMPLATE_FIELDS = ("statement", "subject", "relation", "question", "new_answer", "prior_answer")


def checked_template(template: str, accepted: Iterable[str] = TEMPLATE_FIELDS) -> str:
    """``template``, if it names at least one of the accepted fields and nothing else.

    Raises:
        ValueError: It names no field, or another one.
    """
    fields = tuple(accepted)
    named = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    unknown = sorted(set(named) - set(fields))
    if unknown or not named:
        raise ValueError(
            f"a template names at least one of {', '.join(fields)} in braces"
            + (f", and nothing else; it names {', '.join(map(repr, unknown))}" if unknown else "")
        )
    return template


def edit_fields(edit: Edit) -> Mapping[str, str]:
    """What the fields of a template read for ``edit``; a prior answer that is not known reads as ``unknown``."""
    return {
        "statement": edit.statement,
        "subject": edit.subject,
        "relation": edit.relation,
        "question": edit.question,
        "new_answer": edit.new_answer.text,
        "prior_answer": edit.prior_answer.text if edit.prior_answer else "unknown",
    }


#: One edit as text, fields in braces.
EditTemplate = Annotated[str, AfterValidator(checked_template), Field(min_length=1)]
