"""Fine-tuning of chosen layers of the text model, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import completion_targets, edit_query
from reground.methods.cost import measured
from reground.methods.edited import SavedEdit
from reground.methods.ft.config import FtConfig
from reground.methods.training_step import fit_completions, seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model
from reground.models.hf.adapter import HfModel

__all__ = ["FtEditor"]


class FtEditor:
    """Trains chosen weights on all edits together; keeps a copy of just those weights for undo."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights"})

    def __init__(self, name: str, config: FtConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WeightEdit:
        """The model with its weights trained on ``edits``; an error on the way leaves it as it was.

        Training is deterministic: ``seed`` is set for the block, though plain fine-tuning draws nothing.

        Raises:
            CapabilityError: No access to weights, or a chain is wanted from a model that writes none.
            InputError: No edits, or layers or modules that the model does not have.
            ModelError: Training diverged.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        config = self._config
        parameters = _chosen_parameters(local, config)
        with measured(local.info.device) as meter:
            targets = completion_targets(
                model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
            )
            original = {name: parameter.detach().clone() for name, parameter in parameters.items()}
            try:
                with seeded(seed, local.device):
                    report = fit_completions(
                        local,
                        parameters,
                        [edit_query(edit) for edit in edits],
                        [target.text for target in targets],
                        learning_rate=config.learning_rate,
                        num_steps=config.num_steps,
                        loss_floor=config.loss_floor,
                        weight_decay=config.weight_decay,
                        batch_size=config.batch_size,
                        ends=config.ends,
                    )
            except BaseException:
                _copy_into(parameters, original)
                raise
        details: dict[str, Any] = {
            "training": report.model_dump(),
            "targets": [target.model_dump() for target in targets],
        }
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            stored_bytes=num_bytes(parameters),
            num_changed_parameters=sum(parameter.numel() for parameter in parameters.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=details,
        )
        return _in_force(model, local, saved, parameters, original)

    def load(self, model: Model, folder: Path) -> WeightEdit:
        """The model with the weights that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The edit was made on other weights.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        parameters = _chosen_parameters(local, FtConfig.model_validate(saved.config))
        check_base(saved, parameters, local)
        original = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        fits = tensors.keys() == parameters.keys() and all(
            tensors[name].shape == parameter.shape for name, parameter in parameters.items()
        )
        if not fits:
            raise ModelError(
                f"the tensors of the edit saved at {str(folder)!r} are not those its settings name.",
                ", ".join(parameters),
                "apply the edits again and save them.",
            )
        _copy_into(parameters, tensors)
        return _in_force(model, local, saved, parameters, original)


def _chosen_parameters(local: HfModel, config: FtConfig) -> dict[str, torch.nn.Parameter]:
    return {
        name: parameter
        for layer in config.layers
        for part in config.modules
        for name, parameter in local.layer_parameters(layer, part).items()
    }


def _copy_into(parameters: Mapping[str, torch.nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _in_force(
    model: Model,
    local: HfModel,
    saved: SavedEdit,
    parameters: Mapping[str, torch.nn.Parameter],
    original: Mapping[str, torch.Tensor],
) -> WeightEdit:
    return WeightEdit(
        model,
        local,
        saved,
        base_tensors=original,
        edit_tensors=lambda: {name: parameter.detach() for name, parameter in parameters.items()},
        undo=lambda: _copy_into(parameters, original),
    )
