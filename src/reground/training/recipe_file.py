"""Reading the YAML recipe of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from reground.edits.misfits import fields_at, misfit_words, rename_hint
from reground.edits.records import Record
from reground.errors import RecipeError

__all__ = ["read_training_recipe"]

_Recipe = TypeVar("_Recipe", bound=Record)


def read_training_recipe(file: Path, kind: type[_Recipe], example: str) -> _Recipe:
    """The recipe in a YAML file.

    Args:
        file: The file.
        kind: What it describes.
        example: Name of a recipe of this kind in the package's folder ``recipes/train``, for messages.

    Raises:
        RecipeError: Not YAML, or a field is missing, unknown or ill-typed.
    """
    compare = f"compare it with `{example}.yaml` in the package's folder `recipes/train`."
    try:
        return kind.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        # A name that was mistyped is unknown and missing both; the first of the two says more.
        found = error.errors(include_url=False)
        first = next((detail for detail in found if detail["type"] == "extra_forbidden"), found[0])
        known = fields_at(kind, first["loc"][:-1])
        raise RecipeError(
            f"training recipe {str(file)!r}: {misfit_words(kind, first)}.",
            "the fields " + ", ".join(known),
            rename_hint(str(first["loc"][-1]), known) if first["type"] == "extra_forbidden" else compare,
        ) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "problem", None) or str(error)
        raise RecipeError(
            f"cannot read the training recipe {str(file)!r}: {reason}.",
            "a YAML file with " + ", ".join(kind.model_fields),
            compare,
        ) from error
