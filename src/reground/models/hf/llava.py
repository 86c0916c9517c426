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


FAMILY = Family(
    name="llava",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=_encode,
)
