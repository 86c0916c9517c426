"""What a text layer puts out: taken from a pass, or added to.

Axes: B rows of a batch, T tokens, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from reground.models.hf.adapter import HfModel

__all__ = ["hidden_of", "layer_output", "with_hidden"]


def hidden_of(output: Any) -> torch.Tensor:
    """The hidden states (BTH) in what a layer returned, whether alone or first among others."""
    hidden_BTH: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return hidden_BTH


def with_hidden(output: Any, hidden_BTH: torch.Tensor) -> Any:
    """What a layer returned with other hidden states in it."""
    return hidden_BTH if isinstance(output, torch.Tensor) else (hidden_BTH, *output[1:])


@torch.no_grad()
def layer_output(
    local: HfModel, batch: Mapping[str, torch.Tensor], layer: int, prompt_BT: torch.Tensor
) -> torch.Tensor:
    """Output (BTH) of a text layer for a whole batch.

    Args:
        local: The model.
        batch: What ``HfModel.training_batch`` or ``prompt_batch`` returned.
        layer: Negative counts from the last.
        prompt_BT: True on the prompts' own tokens.

    Raises:
        InputError: There is no such layer.
    """
    found: list[torch.Tensor] = []
    module = local.text_layers[local.layer_index(layer)]
    handle = module.register_forward_hook(lambda _, __, output: found.append(hidden_of(output)))
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    try:
        with local.passing(prompt_BT):
            local.module(**inputs, use_cache=False, logits_to_keep=1, return_dict=True)
    finally:
        handle.remove()
    return found[0]
