"""Null-space constrained editing: all edits of a call in one update for each layer, which the corpus does not see.

Axes: I inputs of an edited module, F free directions, P earlier edits.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from reground.errors import InputError
from reground.methods.alphaedit.config import AlphaEditConfig
from reground.methods.chain_target import CompletionTarget
from reground.methods.closed_form.batch import BatchEditor
from reground.methods.closed_form.editor import ClosedFormEdit
from reground.methods.closed_form.solve import Spared, free_directions
from reground.methods.closed_form.statistics import KeyStatistics
from reground.methods.closed_form.value import Request, edit_keys, edit_requests
from reground.models.hf.adapter import HfModel

__all__ = ["AlphaEditEditor"]


class AlphaEditEditor(BatchEditor[AlphaEditConfig]):
    """Writes only along directions the corpus does not use, and spares the keys of this method's earlier edits.

    Source:
        Fang et al., 2025, "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models". Differs: see
        docs/methods/alphaedit.md.
    """

    config_class: ClassVar[type[AlphaEditConfig]] = AlphaEditConfig

    def spared(self, model: HfModel, path: str, statistics: KeyStatistics) -> Spared:
        """The free directions; along them, keys of edits in force and the size of the update.

        Raises:
            InputError: No direction is free.
        """
        device = model.module.get_submodule(path).get_parameter("weight").device
        strengths_I, directions_II = statistics.principal(path, device)
        free_IF = free_directions(strengths_I, directions_II, self._config.threshold)
        if not free_IF.numel():
            raise InputError(
                f"method {self.name!r} found no free direction among the {len(strengths_I)} of {path!r} at "
                f"threshold={self._config.threshold}.",
                f"a threshold above {float(strengths_I[0] / strengths_I[-1]):.3g}",
                "raise it, or use a smaller corpus.",
            )
        ridge = self._config.ridge * float(strengths_I.sum())
        weight_FF = ridge * torch.eye(free_IF.shape[1]).to(free_IF)
        for request in self._past_requests(model):
            key_F = free_IF.T @ edit_keys(model, request, path)[0].to(free_IF)
            weight_FF += torch.outer(key_F, key_F)
        return Spared(weight_FF, free_IF)

    def _past_requests(self, model: HfModel) -> list[Request]:
        """Every edit of this method that is in force: its own prompt, and where it acts in it."""
        return [
            request
            for edit in model.edits_in_force
            if isinstance(edit, ClosedFormEdit) and edit.saved.method == self.name
            for request in edit_requests(
                model,
                edit.saved.edits,
                [CompletionTarget.model_validate(target) for target in edit.saved.details["targets"]],
                (),
                self.config_class.model_validate(edit.saved.config),
            )
        ]
