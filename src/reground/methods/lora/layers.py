"""A low-rank adapter put into a module tree, and taken out again without a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict

from reground.errors import InputError, ModelError
from reground.methods.completion_training import LowestChange
from reground.methods.lora.config import LoraConfig, ModuleChoice
from reground.methods.weight_edit import num_bytes
from reground.models.hf.adapter import HfModel

__all__ = ["AttachedAdapter", "ContinuedAdapter"]

_ADAPTER_NAME = "reground"


class AttachedAdapter:
    """An adapter in a model's text layers, from construction until ``undo``.

    The base weights are not touched. peft replaces each adapted layer by one that holds it; ``undo`` puts
    the held layers back and removes whatever else the injection left on the module.

    Args:
        model: Where the adapter goes. A failure on the way leaves it as it was.
        config: Where, and how large.

    Raises:
        InputError: The model carries an adapter already, or a chosen module is not linear.
    """

    trains_vision = False

    def __init__(self, model: HfModel, config: LoraConfig) -> None:
        self._module = model.module
        if hasattr(self._module, "peft_config"):
            raise InputError(
                f"a low-rank adapter was to be put on {model.info.name!r}, which carries one already.",
                "a model without an adapter, or with one that the same method trained last",
                "apply all edits in one call, or restore the first edited model before.",
            )
        layers = range(len(model.text_layers)) if config.layers is None else config.layers
        self.lowest: LowestChange | None = LowestChange(min(map(model.layer_index, layers)))
        paths = dict.fromkeys(path for layer in layers for path in _paths(model, layer, config.modules))
        self._originals = {path: self._module.get_submodule(path) for path in paths}
        for path, layer in self._originals.items():
            if not isinstance(layer, torch.nn.Linear):
                raise InputError(
                    f"an adapter was to be put on {path!r}, which is a {type(layer).__name__}.",
                    "linear layers",
                    "correct the method's `modules`, e.g. self_attn.q_proj.",
                )
        self._requires_grad = [(parameter, parameter.requires_grad) for parameter in self._module.parameters()]
        self._is_training = [(part, part.training) for part in self._module.modules()]
        self._attributes = set(vars(self._module))
        settings = PeftLoraConfig(
            r=config.rank,
            lora_alpha=2 * config.rank if config.alpha is None else config.alpha,
            lora_dropout=0.0,
            bias="none",
            target_modules=list(paths),
        )
        try:
            inject_adapter_in_model(settings, self._module, adapter_name=_ADAPTER_NAME)
        except BaseException:
            self.undo()
            raise
        self._module.train(self._is_training[0][1])

    @property
    def base_tensors(self) -> dict[str, torch.Tensor]:
        """The weights the adapter stands on."""
        return {
            f"{path}.{name}": tensor
            for path, layer in self._originals.items()
            for name, tensor in layer.named_parameters()
        }

    @property
    def copied_bytes(self) -> int:
        """What its values take."""
        return num_bytes(self.parameters)

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """What is trained."""
        return {name: parameter for name, parameter in self._module.named_parameters() if ".lora_" in name}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The adapter as peft saves it."""
        state: dict[str, torch.Tensor] = get_peft_model_state_dict(
            self._module, adapter_name=_ADAPTER_NAME, save_embedding_layers=False
        )
        return state

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the adapter to saved values.

        Raises:
            ModelError: They do not fit this adapter.
        """
        expected = {name: tensor.shape for name, tensor in self.tensors().items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise ModelError(
                "the tensors of a saved adapter do not fit the model it is loaded into.",
                ", ".join(f"{name} {tuple(shape)}" for name, shape in expected.items()),
                "load the model the adapter was trained on.",
            )
        set_peft_model_state_dict(self._module, dict(tensors), adapter_name=_ADAPTER_NAME)

    def settle(self) -> None:
        """After training: the adapter asks for no gradients."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(False)

    def undo(self) -> None:
        """Put the module tree back as it was found, flags included."""
        for path, layer in self._originals.items():
            parent, _, leaf = path.rpartition(".")
            setattr(self._module.get_submodule(parent), leaf, layer)
        for name in set(vars(self._module)) - self._attributes:
            delattr(self._module, name)
        for parameter, flag in self._requires_grad:
            parameter.requires_grad_(flag)
        for part, flag in self._is_training:
            part.training = flag


class ContinuedAdapter:
    """The adapter of an edit in force while it is trained further, until ``undo`` sets it back to what it was.

    Args:
        adapter: The adapter.
    """

    trains_vision = False

    def __init__(self, adapter: AttachedAdapter) -> None:
        self._adapter = adapter
        self.lowest = adapter.lowest
        self._values = {name: parameter.detach().clone() for name, parameter in adapter.parameters.items()}
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    @property
    def adapter(self) -> AttachedAdapter:
        """The adapter that is trained."""
        return self._adapter

    @property
    def base_tensors(self) -> dict[str, torch.Tensor]:
        """The weights the adapter stands on, and its values before this edit."""
        return {**self._adapter.base_tensors, **self._values}

    @property
    def copied_bytes(self) -> int:
        """What its values before this edit take."""
        return num_bytes(self._values)

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """What is trained."""
        return self._adapter.parameters

    def tensors(self) -> dict[str, torch.Tensor]:
        """The adapter as peft saves it."""
        return self._adapter.tensors()

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the adapter to saved values.

        Raises:
            ModelError: They do not fit this adapter.
        """
        self._adapter.fill(tensors)

    def settle(self) -> None:
        """After training: the adapter asks for no gradients."""
        self._adapter.settle()

    def undo(self) -> None:
        """Put the values back that it had before this edit."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self._values[name])
        self.settle()


def _paths(model: HfModel, layer: int, modules: ModuleChoice | Sequence[str]) -> list[str]:
    """Paths of the chosen parts of a text layer; for a preset, of its linear parts in order."""
    if not isinstance(modules, str):
        return [model.layer_path(layer, part) for part in modules]
    whole, mlp = model.layer_path(layer), model.layer_path(layer, "mlp")
    linear = [
        f"{whole}.{name}"
        for name, part in model.module.get_submodule(whole).named_modules()
        if isinstance(part, torch.nn.Linear)
    ]
    return [path for path in linear if modules == "all" or path.startswith(f"{mlp}.") == (modules == "mlp")]
