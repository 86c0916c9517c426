"""What the two trainings of a policy share: which weights an adapter stands on, and where it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from reground.models.hf.adapter import HfModel

__all__ = ["adapted_paths", "base_digest", "left_as_found", "new_adapter"]


def adapted_paths(model: HfModel) -> list[str]:
    """Paths of the linear layers of the text model: all of them get an adapter."""
    return [
        f"{whole}.{name}"
        for whole in (model.layer_path(layer) for layer in range(len(model.text_layers)))
        for name, part in model.module.get_submodule(whole).named_modules()
        if isinstance(part, torch.nn.Linear)
    ]


def new_adapter(paths: Sequence[str], rank: int, alpha: float) -> Any:
    """Settings of a low-rank adapter on some layers, as peft takes them."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(paths))


def base_digest(model: HfModel, paths: Sequence[str]) -> str:
    """SHA-256 over the weights of some layers as they stand, by path."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        weight = model.module.get_submodule(path).weight.detach().contiguous().cpu()
        digest.update(f"{path}:{weight.dtype}:{tuple(weight.shape)}:".encode())
        digest.update(weight.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def left_as_found(model: HfModel) -> Iterator[None]:
    """After the block the model's module tree, flags and attributes are what they were, whatever was trained in it.

    peft puts layers of its own in the place of the model's, and trl a forward call of its own on the module.
    """
    module = model.module
    children = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)}
    attributes = {name: dict(vars(part)) for name, part in module.named_modules()}
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        yield
    finally:
        for path, layer in children.items():
            parent, _, leaf = path.rpartition(".")
            setattr(module.get_submodule(parent), leaf, layer)
        for name, part in module.named_modules():
            for added in vars(part).keys() - attributes[name].keys():
                delattr(part, added)
            vars(part).update(attributes[name])
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
