"""The weights that fine-tuning trains, and the copy that undoes it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from reground.errors import InputError, ModelError
from reground.methods.completion_training import LowestChange
from reground.methods.ft.config import FtConfig
from reground.methods.originals import Originals
from reground.methods.weight_edit import copy_into
from reground.models.hf.adapter import HfModel

__all__ = ["ChosenWeights"]


class ChosenWeights:
    """Chosen weights of a model, from construction until ``undo``; only these are copied.

    Args:
        model: Where they are.
        config: Which they are.

    Raises:
        CapabilityError: The family does not say where that part of the model is.
        InputError: Layers or modules that the model does not have, or that hold no weights.
    """

    def __init__(self, model: HfModel, config: FtConfig) -> None:
        self._model = model
        self.trains_vision = config.part != "text"
        self.parameters = _chosen(model, config)
        self.lowest = _lowest(model, config)
        if not self.parameters:
            raise InputError(
                f"the modules {', '.join(config.modules or ())} of {model.info.name!r} were to be trained.",
                "modules that hold weights",
                "correct the method's `modules`, e.g. mlp.",
            )
        self.base_tensors = Originals(self.parameters)

    @property
    def copied_bytes(self) -> int:
        """What the copies take of memory."""
        return self.base_tensors.num_bytes_in_memory

    def settle(self) -> None:
        """After training: let no features of the tower as it was be used."""
        if self.trains_vision:
            self._model.invalidate_images()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What has to be kept: the trained weights."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the weights to saved values.

        Raises:
            ModelError: They are others than the settings name.
        """
        expected = {name: parameter.shape for name, parameter in self.parameters.items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise ModelError(
                "the tensors of a saved edit are not those its settings name.",
                ", ".join(self.parameters),
                "apply the edits again and save them.",
            )
        copy_into(self.parameters, tensors)

    def undo(self) -> None:
        """Put the original values back, bit for bit."""
        copy_into(self.parameters, self.base_tensors)
        self.settle()


def _lowest(model: HfModel, config: FtConfig) -> LowestChange | None:
    if config.part != "text" or config.layers is None or config.modules is None:
        return None
    is_mlp = all(part.partition(".")[0] == "mlp" for part in config.modules)
    part = config.modules[0] if len(config.modules) == 1 else "mlp"
    return LowestChange(min(map(model.layer_index, config.layers)), part if is_mlp else "")


def _chosen(model: HfModel, config: FtConfig) -> dict[str, torch.nn.Parameter]:
    if config.layers is None or config.modules is None:
        return model.projector_parameters()
    parameters = model.layer_parameters if config.part == "text" else model.vision_layer_parameters
    return {
        name: parameter
        for layer in config.layers
        for part in config.modules
        for name, parameter in parameters(layer, part).items()
    }
