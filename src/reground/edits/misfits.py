"""What pydantic found wrong with a record, in the words of whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from reground.errors import nearest

__all__ = ["accepted_words", "fields_at", "kind_of", "misfit_words", "rename_hint", "shown"]

_LONGEST_SHOWN = 60

_WORDS = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_unicode": "text that is valid Unicode",
    "string_pattern_mismatch": "text of the form {pattern}",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "invalid_key": "text as the name of a key",
    "too_short": "at least {min_length} of them",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
}

#: Records that a single text stands for.
_SHORT_FORMS = {"ImageRef": "an address as text, or ", "BenchmarkChoice": "a name as text, or "}

_KINDS = {type(None): "nothing", str: "text", bool: "true or false", int: "a number", float: "a number"}
_KINDS |= {list: "a list", tuple: "a list", dict: "a mapping"}


def accepted_words(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """What would have been accepted in the place of what pydantic refused.

    Args:
        kind: The record that was being read.
        detail: One entry of ``ValidationError.errors()``.
    """
    if detail["type"] in ("model_type", "model_attributes_type"):
        short = _SHORT_FORMS.get(detail.get("ctx", {}).get("class_name", ""), "")
        return f"{short}an object with the fields {', '.join(fields_at(kind, detail['loc']))}"
    words = _WORDS.get(detail["type"])
    if words is None:
        return detail["msg"].removeprefix("Value error, ")
    return words.format(**detail.get("ctx", {}))


def misfit_words(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """What pydantic refused, and why, in one clause: for records that we wrote and somebody else changed.

    Args:
        kind: The record that was being read.
        detail: One entry of ``ValidationError.errors()``.
    """
    field = ".".join(str(part) for part in detail["loc"])
    if not field and detail["type"] == "value_error":
        return accepted_words(kind, detail)
    if detail["type"] == "missing":
        return f"the field {field!r} is missing"
    if detail["type"] == "extra_forbidden":
        return f"there is no field {field!r}"
    return f"{field or 'it'} is {shown(detail['input'])}, and should be {accepted_words(kind, detail)}"


def fields_at(kind: type[BaseModel], location: Sequence[str | int]) -> tuple[str, ...]:
    """Names of the fields that the record at ``location`` within ``kind`` has; none if no record is there."""
    here: type[BaseModel] | None = kind
    for part in location:
        if isinstance(part, str) and here is not None:
            field = here.model_fields.get(part)
            here = _record_in(field.annotation) if field is not None else None
    return tuple(here.model_fields) if here is not None else ()


def rename_hint(name: str, known: Iterable[str]) -> str:
    """What to do about a field nobody knows."""
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else "correct its name or remove it."


def shown(value: Any) -> str:
    """A value the user gave, short enough for a message."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def kind_of(value: Any) -> str:
    """What a value is, without the words of Python."""
    return _KINDS.get(type(value), "a value of another kind")


def _record_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _record_in(inner)) is not None), None)
