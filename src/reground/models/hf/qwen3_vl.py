"""Qwen3-VL, Instruct and Thinking: as Qwen2-VL; features of lower tower layers are added behind the first text layers.

The stock text model adds them itself, between its layers. Here they go to each layer with its other settings, and a
hook on the layer adds them: so that layers that are run by themselves add them too.

Axes: L text layers that features are added behind, B rows of a batch, T tokens, H hidden width of the text model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from transformers import Qwen3VLProcessor

from reground.models.hf import qwen2_vl
from reground.models.hf.family import EncodedFrame, TokenRow, image_outputs
from reground.models.hf.grid import frame_on_grid
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "Qwen3Processor"]

Qwen3Processor = image_only(Qwen3VLProcessor)

#: Name of what goes to each layer.
_ADDED = "added_features"


def _encode(module: Any, processor: Any, inputs: Any) -> EncodedFrame:
    outputs = image_outputs(module, inputs, ("pixel_values", "image_grid_thw"))
    added_LTH = torch.stack([torch.cat(list(of_layer)) for of_layer in outputs.deepstack_features])
    return replace(frame_on_grid(processor, inputs, outputs), further={_ADDED: added_LTH})


def _further_inputs(module: Any, rows: Sequence[TokenRow], length: int) -> dict[str, torch.Tensor]:
    """What is added (LBTH), 0 but on image tokens; nothing for a batch without images."""
    if not any(row.frames for row in rows):
        return {}
    num_added = len(module.config.vision_config.deepstack_visual_indexes)
    return {_ADDED: torch.stack([_row_added(module, row, length, num_added) for row in rows], dim=1)}


def _row_added(module: Any, row: TokenRow, length: int, num_added: int) -> torch.Tensor:
    weight = module.get_input_embeddings().weight
    added_LTH = weight.new_zeros((num_added, len(row.ids), weight.shape[-1]))
    if row.frames:
        is_image_T = torch.tensor(row.ids) == module.config.image_token_id
        features_LTH = torch.cat([frame.further[_ADDED] for frame in row.frames], dim=1)
        added_LTH[:, is_image_T.to(weight.device)] = features_LTH.to(weight)
    return functional.pad(added_LTH, (0, 0, length - len(row.ids), 0))


def _prepare(module: Any) -> None:
    num_added = len(module.config.vision_config.deepstack_visual_indexes)
    for index, layer in enumerate(module.model.language_model.layers[:num_added]):
        layer.register_forward_hook(partial(_add, index), with_kwargs=True)


def _add(
    index: int, _: torch.nn.Module, __: tuple[Any, ...], settings: dict[str, Any], output_BTH: torch.Tensor
) -> torch.Tensor | None:
    added_LBTH = settings.get(_ADDED)
    return None if added_LBTH is None else output_BTH + added_LBTH[index].to(output_BTH.device)


FAMILY = replace(
    qwen2_vl.FAMILY,
    name="qwen3_vl",
    encode=_encode,
    tapped_vision_layers=lambda config: config.vision_config.deepstack_visual_indexes,
    load_processor=Qwen3Processor.from_pretrained,
    further_inputs=_further_inputs,
    first_call_inputs=frozenset({_ADDED}),
    layer_inputs=frozenset({_ADDED}),
    prepare=_prepare,
    opens_chain=True,
)
