"""Rank-one model editing: one update for each edit, of one MLP layer of the text model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch

from reground.methods.closed_form.editor import ClosedFormEditor, add_update
from reground.methods.closed_form.solve import rank_one_direction
from reground.methods.closed_form.statistics import KeyStatistics, precision
from reground.methods.closed_form.value import Request, ValueReport, edit_keys, value_shift
from reground.methods.rome.config import RomeConfig
from reground.models.hf.adapter import HfModel

__all__ = ["RomeEditor"]


class RomeEditor(ClosedFormEditor[RomeConfig]):
    """Writes edits one after the other: each value and key is found on the weights that the edits before it left.

    Source:
        Meng et al., 2022, "Locating and Editing Factual Associations in GPT". Differs: see docs/methods/rome.md.
    """

    config_class: ClassVar[type[RomeConfig]] = RomeConfig

    def layers(self, model: HfModel, config: RomeConfig) -> list[int]:
        """The one layer."""
        if config.layer is None:
            return [len(model.text_layers) // 6]
        return [model.layer_index(config.layer)]

    def write(
        self,
        model: HfModel,
        weights: Mapping[str, torch.nn.Parameter],
        requests: Sequence[Request],
        statistics: KeyStatistics,
        keep: Callable[[], None],
    ) -> list[ValueReport]:
        """Add a rank-one update for each request."""
        ((path, weight),) = weights.items()
        inverse, exact = statistics.inverse(path), precision(weight.device)
        values = []
        for request in requests:
            key_I, mean_key_I = (key_I.to(exact) for key_I in edit_keys(model, request, path))
            direction_I = rank_one_direction(inverse, mean_key_I, key_I)
            shift_O, report = value_shift(model, request, path, direction_I, self._config)
            keep()
            add_update(weight, shift_O[:, None].to(exact), direction_I[:, None])
            values.append(report)
        return values
