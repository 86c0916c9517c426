"""Every edit stated in every prompt: an upper bound for obedience, and a lower one for locality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from reground.edits.records import Edit
from reground.methods.base import MethodConfig
from reground.methods.context_edit import NOTES, ContextEditor
from reground.methods.prompt.config import PromptConfig
from reground.methods.template import edit_fields
from reground.models.base import Query

__all__ = ["PromptEditor"]


class PromptEditor(ContextEditor[PromptConfig]):
    """States edits, one line each in the order given, before any note a query already carries."""

    config_class: ClassVar[type[MethodConfig]] = PromptConfig

    def _details(self, config: PromptConfig, edits: Sequence[Edit]) -> Mapping[str, Any]:
        return {NOTES: ["\n".join(config.template.format(**edit_fields(edit)) for edit in edits)]}

    def _note_of(
        self, config: PromptConfig, edits: Sequence[Edit], details: Mapping[str, Any]
    ) -> Callable[[Query], str]:
        (note,) = details[NOTES]
        return lambda _: note
