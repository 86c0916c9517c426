"""Settings of the method that states edits in the prompt."""

from __future__ import annotations

from reground.methods.base import MethodConfig
from reground.methods.template import EditTemplate

__all__ = ["PromptConfig"]


class PromptConfig(MethodConfig):
    """How edits read in the prompt.

    Attributes:
        template: One edit as text; fields in braces, see ``TEMPLATE_FIELDS``. A prior answer that is not
            known reads as ``unknown``.
    """

    template: EditTemplate = "Note: {statement}"
