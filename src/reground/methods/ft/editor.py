"""Fine-tuning of chosen weights, in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reground.edits.records import Edit
from reground.errors import InputError
from reground.methods.base import MethodConfig
from reground.methods.ft.config import FtConfig
from reground.methods.ft.layers import ChosenWeights
from reground.methods.trained_edit import CompletionEditor
from reground.methods.training_config import Objective
from reground.models.base import Capability
from reground.models.hf.adapter import HfModel

__all__ = ["FtEditor"]


class FtEditor(CompletionEditor[FtConfig]):
    """Trains chosen weights on all edits together; keeps a copy of just those weights for undo.

    Training is deterministic: nothing is drawn at random.
    """

    needs: ClassVar[frozenset[Capability]] = CompletionEditor.needs | {"float_weights"}
    config_class: ClassVar[type[MethodConfig]] = FtConfig

    @property
    def objective(self) -> Objective:
        """The configured one."""
        return self._config.objective

    def _check_edits(self, edits: Sequence[Edit]) -> None:
        blind = [edit for edit in edits if edit.image is None]
        if self._config.part != "text" and blind:
            raise InputError(
                f"method {self.name!r} was given the edit {blind[0].id} on {blind[0].subject!r}, which has no image.",
                "visual edits alone: a textual one does not pass the weights that are trained",
                "leave it out, or use 'ft'.",
            )

    def _change(self, local: HfModel, config: FtConfig) -> ChosenWeights:
        return ChosenWeights(local, config)
