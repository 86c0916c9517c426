"""A policy's adapter, in force for the length of a call and for nothing else.

The adapter is added by hooks, layer by layer, so that the model's own weights are never touched and large models need
no second copy of theirs.

Axes: B rows of a batch, T tokens, I width of a layer's input, O width of its output, R rank.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from reground.errors import ArtifactError
from reground.models.hf.adapter import HfModel
from reground.training.policy_card import ADAPTER_FILE, CARD_FILE, PolicyCard
from reground.training.policy_model import base_digest

__all__ = ["Policy", "load_policy"]

_PREFIX = "base_model.model."
_CONFIG_FILE = "adapter_config.json"
_FILES = (CARD_FILE, ADAPTER_FILE, _CONFIG_FILE)
_Stamp = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Policy:
    """An adapter that can be put in force on one model.

    Attributes:
        model: The model.
        card: What is known of it.
        layers: By path of a linear layer, A (RI) and B (OR).
        scale: By which B A x is multiplied.
        stamp: What its files and the weights it stands on were when it was read.
    """

    model: HfModel
    card: PolicyCard
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]]
    scale: float
    stamp: _Stamp

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """The adapter is added to its layers inside the block, and gone after it."""
        handles = [
            self.model.module.get_submodule(path).register_forward_hook(self._adding(*pair))
            for path, pair in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def is_of(self, model: HfModel, folder: Path) -> bool:
        """Whether it is what ``folder`` holds for ``model``: neither files nor weights were changed since."""
        return self.model is model and self.stamp == _stamp(model, folder, sorted(self.layers))

    def _adding(self, a_RI: torch.Tensor, b_OR: torch.Tensor) -> Callable[..., torch.Tensor]:
        def add(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output_BTO: torch.Tensor) -> torch.Tensor:
            hidden_BTR = functional.linear(inputs[0].to(a_RI.dtype), a_RI)
            added_BTO = functional.linear(hidden_BTR, b_OR) * self.scale
            return output_BTO + added_BTO.to(output_BTO.dtype)

        return add


def load_policy(model: HfModel, folder: Path, card: PolicyCard) -> Policy:
    """The adapter in ``folder``, for ``model``.

    Raises:
        ArtifactError: It was trained for other weights, or its files are damaged.
    """
    layers, scale = _read(folder)
    stamp = _stamp(model, folder, sorted(layers))
    fitting = {path for path, (a_RI, b_OR) in layers.items() if _shape(model, path) == (b_OR.shape[0], a_RI.shape[1])}
    if set(layers) != fitting or base_digest(model, sorted(layers)) != card.base:
        raise ArtifactError(
            f"the policy at {str(folder)!r} was to be used with {model.info.name!r} (revision {model.info.revision}, "
            f"{model.info.dtype}), whose weights are not those it was trained for.",
            f"{card.model!r} as it was then, without edits in its weights",
            f"load that model, or run `reground train sft RECIPE` for {model.info.name!r} and set artifact=DIR.",
        )
    placed = {
        path: tuple(tensor.to(model.module.get_submodule(path).weight.device) for tensor in pair)
        for path, pair in layers.items()
    }
    return Policy(model, card, placed, scale, stamp)  # type: ignore[arg-type]


def _stamp(model: HfModel, folder: Path, paths: Sequence[str]) -> _Stamp:
    """Size and time of the adapter's files, and where each weight it stands on lies and how often it was written to."""
    files = [(path.stat().st_size, path.stat().st_mtime_ns) for name in _FILES if (path := folder / name).is_file()]
    weights = [weight for path in paths if (weight := _weight(model, path)) is not None]
    return str(folder), *files, *((weight.data_ptr(), weight._version) for weight in weights)


def _weight(model: HfModel, path: str) -> torch.Tensor | None:
    try:
        return getattr(model.module.get_submodule(path), "weight", None)
    except AttributeError:
        return None


def _shape(model: HfModel, path: str) -> tuple[int, ...] | None:
    weight = _weight(model, path)
    return None if weight is None else tuple(weight.shape)


def _read(folder: Path) -> tuple[dict[str, tuple[torch.Tensor, torch.Tensor]], float]:
    try:
        settings: dict[str, Any] = json.loads((folder / _CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / ADAPTER_FILE)
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
        paths = sorted({name.removeprefix(_PREFIX).rpartition(".lora_")[0] for name in tensors})
        layers = {
            path: (tensors[f"{_PREFIX}{path}.lora_A.weight"], tensors[f"{_PREFIX}{path}.lora_B.weight"])
            for path in paths
        }
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtifactError(
            f"the adapter of the policy at {str(folder)!r} cannot be read: {error}",
            "a low-rank adapter of linear layers, as peft saves it",
            "copy the folder again, or train the policy anew.",
        ) from error
    return layers, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
