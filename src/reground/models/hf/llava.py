"""LLaVA: CLIP-like tower, two-layer projector, Llama-like text model."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from reground.models.hf.family import EncodedFrame, Family, processed_image

__all__ = ["FAMILY"]


def _encode(module: Any, processor: Any, image: Image.Image) -> EncodedFrame:
    inputs = processed_image(processor, image)
    pixels = inputs["pixel_values"].to(module.get_input_embeddings().weight.device, module.dtype)
    outputs = module.get_image_features(pixels, return_dict=True)
    features_TH = torch.cat(list(outputs.pooler_output), dim=0)
    return EncodedFrame(features_TH, processor.replace_image_token({"pixel_values": inputs["pixel_values"]}, 0))


def _num_vision_layers(config: Any) -> int:
    """LLaVA takes the features before the tower's end: what lies behind them has no say."""
    chosen = config.vision_feature_layer
    indices: list[int] = [chosen] if isinstance(chosen, int) else list(chosen)
    # Hidden state 0 is what enters the first layer, so state i needs i layers.
    num_states: int = config.vision_config.num_hidden_layers + 1
    return max(index % num_states for index in indices)


FAMILY = Family(
    name="llava",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=_encode,
    vision_layers="model.vision_tower.encoder.layers",
    num_vision_layers=_num_vision_layers,
    projector="model.multi_modal_projector",
)
