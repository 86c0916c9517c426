"""Templates of the prompt method."""

from __future__ import annotations

import pytest

from reground.errors import RecipeError
from reground.methods.registry import create_editor


def test_a_template_with_known_fields_is_taken() -> None:
    create_editor("prompt", {"template": "Fact about {subject}: {new_answer}, no longer {prior_answer}."})


@pytest.mark.parametrize("template", ["", "no field", "{answer}", "{statement.text}", "{statement"])
def test_a_template_that_would_not_say_the_edit_is_refused(template: str) -> None:
    with pytest.raises(RecipeError, match="template"):
        create_editor("prompt", {"template": template})
