"""Null-space constrained editing: all edits of a call in one update for each layer, which the corpus does not see.

Axes: I inputs of an edited module, N keys.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from reground.errors import InputError
from reground.methods.alphaedit.config import AlphaEditConfig
from reground.methods.chain_target import CompletionTarget
from reground.methods.closed_form.batch import BatchEditor
from reground.methods.closed_form.editor import ClosedFormEdit
from reground.methods.closed_form.panels import project
from reground.methods.closed_form.solve import Inverse, sparing
from reground.methods.closed_form.statistics import KeyStatistics, precision
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

    def prepare(self, path: str, statistics: KeyStatistics) -> None:
        """The principal directions."""
        statistics.principal(path)

    def spared(self, model: HfModel, path: str, statistics: KeyStatistics) -> Inverse:
        """The size of the update and the keys of edits in force, along the free directions.

        Raises:
            InputError: No direction is free.

        Source:
            Fang et al., 2025, section 3.2: the free directions times their transpose are the projector P. Differs: the
            threshold is relative, so that it does not hang on the scale of a model's keys.
        """
        strengths_I, directions = statistics.principal(path)
        num_free = int((strengths_I <= self._config.threshold * strengths_I[-1]).sum())
        if not num_free:
            raise InputError(
                f"method {self.name!r} found no free direction among the {len(strengths_I)} of {path!r} at "
                f"threshold={self._config.threshold}.",
                f"a threshold above {float(strengths_I[0] / strengths_I[-1]):.3g}",
                "raise it, or use a smaller corpus.",
            )
        ridge = self._config.ridge * float(strengths_I.sum())

        def inverse(keys_IN: torch.Tensor) -> torch.Tensor:
            return project(directions, num_free, keys_IN) / ridge

        past = [edit_keys(model, request, path)[0] for request in self._past_requests(model)]
        if not past:
            return inverse
        return sparing(inverse, torch.stack(past, dim=1).to(precision(past[0].device)))

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
