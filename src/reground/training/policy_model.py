"""What the two trainings of a policy share: which weights an adapter stands on, and where it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from reground.models.hf.adapter import HfModel

__all__ = ["adapted_paths", "base_digest"]


def adapted_paths(model: HfModel) -> list[str]:
    """Paths of the linear layers of the text model: all of them get an adapter."""
    return [
        f"{whole}.{name}"
        for whole in (model.layer_path(layer) for layer in range(len(model.text_layers)))
        for name, part in model.module.get_submodule(whole).named_modules()
        if isinstance(part, torch.nn.Linear)
    ]


def base_digest(model: HfModel, paths: Sequence[str]) -> str:
    """SHA-256 over the weights of some layers as they stand, by path."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        weight = model.module.get_submodule(path).weight.detach().contiguous().cpu()
        digest.update(f"{path}:{weight.dtype}:{tuple(weight.shape)}:".encode())
        digest.update(weight.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
