"""Edits written together, each layer a share: what memit and alphaedit have in common.

Axes: I inputs and O outputs of an edited module, N edits; O is the width of the residual stream.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch

from reground.errors import InputError
from reground.methods.closed_form.config import BatchConfig
from reground.methods.closed_form.editor import ClosedFormEditor, add_update
from reground.methods.closed_form.solve import Inverse, batch_directions, rank_one_direction
from reground.methods.closed_form.statistics import KeyStatistics, precision
from reground.methods.closed_form.value import Request, ValueReport, edit_keys, request_tokens, value_shift
from reground.models.hf.adapter import HfModel

__all__ = ["BatchEditor"]

_B = TypeVar("_B", bound=BatchConfig)

#: Fewer are not spread over unless asked: on four layers spreading made edits worse.
_FEWEST_TO_SPREAD_OVER = 8


class BatchEditor(ClosedFormEditor[_B]):
    """Finds the values of all edits at the highest edited layer, then goes there layer by layer, lowest first.

    A method says what its updates spare.

    Source:
        Meng et al., 2023, "Mass-Editing Memory in a Transformer", algorithm 1. Differs: each value is found under the
        update that would write it at the highest layer alone, as rome finds it.
    """

    @abstractmethod
    def spared(self, model: HfModel, path: str, statistics: KeyStatistics) -> Inverse:
        """The inverse of what an update of the module at ``path`` should disturb little."""

    def layers(self, model: HfModel, config: _B) -> list[int]:
        """The layers named, or those from an eighth to a quarter of the way up; of fewer than eight, the lowest alone.

        Raises:
            InputError: None are named, or one that the model does not have.
        """
        num_layers = len(model.text_layers)
        if config.layers is None:
            return [*range(num_layers // 8, num_layers // 4 + 1)] if num_layers >= _FEWEST_TO_SPREAD_OVER else [0]
        if not config.layers:
            raise InputError(
                f"method {self.name!r} was given no layers.",
                f"at least one text layer, 0 to {num_layers - 2}",
                "name one, or leave `layers` out.",
            )
        return sorted({model.layer_index(layer) for layer in config.layers})

    def _weights(self, model: HfModel, config: _B) -> dict[str, torch.nn.Parameter]:
        weights = super()._weights(model, config)
        width = model.module.get_input_embeddings().weight.shape[1]
        for path, weight in weights.items():
            if len(weight) != width:
                raise InputError(
                    f"method {self.name!r} was to spread edits over {path!r}, which puts out {len(weight)} numbers.",
                    f"a part whose output is added to the {width} of the residual stream, such as mlp.down_proj",
                    "correct the method's `module`.",
                )
        return weights

    def write(
        self,
        model: HfModel,
        weights: Mapping[str, torch.nn.Parameter],
        requests: Sequence[Request],
        statistics: KeyStatistics,
        keep: Callable[[], None],
    ) -> list[ValueReport]:
        """Add one update for all requests to each layer: at each, an even share of what is missing at the highest."""
        spared = self.spared(model, list(weights)[-1], statistics)
        shifts, reports = self._values(model, list(weights)[-1], requests, spared)
        wanted_ON = torch.stack(shifts, dim=1)
        highest = model.layer_path(self.layers(model, self._config)[-1])
        for position, (path, weight) in enumerate(weights.items()):
            keys_IN, outputs_ON = _keys_and_outputs(model, requests, path, highest)
            if position == 0:
                wanted_ON = wanted_ON + outputs_ON
            residuals_ON = (wanted_ON - outputs_ON) / (len(weights) - position)
            if len(weights) > 1:  # a layer written below changes the keys of earlier edits
                spared = self.spared(model, path, statistics)
            directions_IN = batch_directions(spared, keys_IN.to(precision(keys_IN.device)))
            keep()
            add_update(weight, residuals_ON.to(directions_IN), directions_IN)
        return reports

    def _values(
        self, model: HfModel, path: str, requests: Sequence[Request], spared: Inverse
    ) -> tuple[list[torch.Tensor], list[ValueReport]]:
        """For each request the shift (O) of the output at ``path`` that is wanted, and how it was found."""
        shifts, reports = [], []
        for request in requests:
            key_I, mean_key_I = (key_I.to(precision(key_I.device)) for key_I in edit_keys(model, request, path))
            direction_I = rank_one_direction(spared, mean_key_I, key_I)
            shift_O, report = value_shift(model, request, path, direction_I, self._config)
            shifts.append(shift_O)
            reports.append(report)
        return shifts, reports


def _keys_and_outputs(
    model: HfModel, requests: Sequence[Request], path: str, layer_path: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean keys (IN) of requests at ``path``, and what their own prompts bring out of a layer (ON)."""
    keys, outputs = [], []
    for request in requests:
        read, written = request_tokens(model, request, inputs_of=[path], outputs_of=[layer_path])
        keys.append(read[path].float().mean(dim=0))
        outputs.append(written[layer_path][0].float())
    return torch.stack(keys, dim=1), torch.stack(outputs, dim=1)
