"""MEND: one step along a gradient that a trained network has made into an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import completion_targets, edit_query
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.identity import ArtifactReader
from reground.methods.mend.config import MendConfig, MendFitConfig
from reground.methods.mend.layers import Factors, edited_layers, gradient_factors
from reground.methods.mend.transform import MendTransform
from reground.methods.originals import Originals
from reground.methods.training_step import seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    copy_into,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model
from reground.models.hf.adapter import HfModel
from reground.models.hf.checkpoint import is_finite
from reground.models.hf.tiles import in_tiles

__all__ = ["MendEditor"]

#: Key in the details of a saved edit: settings of the training, which say what was edited.
_FIT = "fit"


class MendEditor:
    """Takes from chosen weights what the trained network makes of the edits' gradients; keeps a copy of just those.

    Source:
        Mitchell et al., 2022, "Fast Model Editing at Scale". Differs: see ``mend.layers`` and ``mend.fit``.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights", "float_weights"})

    def __init__(self, name: str, config: MendConfig) -> None:
        self._name = name
        self._config = config
        self._artifacts = ArtifactReader(name, config.artifact)

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WeightEdit:
        """The model with its weights updated for ``edits``; an error on the way leaves it as it was.

        The gradients of all edits are those of the model as it is handed over, and their updates are added up: the
        order of the edits does not matter. Nothing is drawn at random, so ``seed`` has nothing to act on.

        Raises:
            CapabilityError: No access to weights.
            InputError: No edits.
            ArtifactError: The method has not been trained for this model.
            ModelError: An updated weight is not finite.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        artifact, tensors = self._artifacts.read(local)
        fit = MendFitConfig.model_validate(artifact.config)
        layers = edited_layers(local, fit.layers, fit.modules)
        with seeded(seed, local.device):
            transform = MendTransform(layers, rank=fit.rank, step_size=fit.step_size)
        transform.fill(tensors)
        with measured_on(local) as meter, in_tiles(local.mlps):
            targets = completion_targets(
                model, edits, fit.target, max_chain_tokens=fit.max_new_tokens, method_name=self.name
            )
            gradients = [
                gradient_factors(local, layers, edit_query(edit), target.text, ends=fit.ends)
                for edit, target in zip(edits, targets, strict=True)
            ]
            parameters = _weights(layers)
            original = Originals(parameters)
            try:
                for path, layer in layers.items():
                    _take_from(layer.weight, transform, path, gradients)
            except BaseException:
                copy_into(parameters, original)
                raise
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(parameters),
            num_changed_parameters=sum(parameter.numel() for parameter in parameters.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details={
                _FIT: fit.model_dump(mode="json"),
                "artifact": artifact.request,
                "targets": [target.model_dump() for target in targets],
            },
        )
        return _in_force(model, local, saved, parameters, original)

    def load(self, model: Model, folder: Path) -> WeightEdit:
        """The model with the weights that were saved to ``folder``; the artifact is not needed any more.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The edit was made on other weights.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        fit = MendFitConfig.model_validate(saved.details[_FIT])
        parameters = _weights(edited_layers(local, fit.layers, fit.modules))
        check_base(saved, parameters, local)
        if {name: value.shape for name, value in tensors.items()} != {
            name: parameter.shape for name, parameter in parameters.items()
        }:
            raise ModelError(
                f"the tensors of the edit saved at {str(folder)!r} are not those its settings name.",
                ", ".join(parameters),
                "apply the edits again and save them.",
            )
        original = Originals(parameters)
        copy_into(parameters, tensors)
        return _in_force(model, local, saved, parameters, original)


def _weights(layers: Mapping[str, torch.nn.Linear]) -> dict[str, torch.Tensor]:
    return {f"{path}.weight": layer.weight for path, layer in layers.items()}


@torch.no_grad()
def _take_from(
    weight_OI: torch.Tensor, transform: MendTransform, path: str, gradients: Sequence[Mapping[str, Factors]]
) -> None:
    """Take its update from a weight in place; the difference is rounded once, to the weight's number format.

    Raises:
        ModelError: What is left is not finite.
    """
    weight_OI -= transform.update(path, gradients)
    if not is_finite(weight_OI):
        raise ModelError(
            f"the update of {path!r} is not finite.",
            "gradients and updates that are finite numbers",
            "load the model in float32, or train the method again with a lower learning_rate.",
        )


def _in_force(
    model: Model,
    local: HfModel,
    saved: SavedEdit,
    parameters: Mapping[str, torch.Tensor],
    original: Mapping[str, torch.Tensor],
) -> WeightEdit:
    return WeightEdit(
        model,
        local,
        saved,
        base_tensors=original,
        edit_tensors=lambda: {name: parameter.detach() for name, parameter in parameters.items()},
        undo=lambda: copy_into(parameters, original),
    )
