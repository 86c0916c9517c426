"""Idefics3: SigLIP tower, pixel shuffle connector, Llama text model."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from reground.models.hf.family import EncodedFrame, Family, processed_image

__all__ = ["FAMILY"]


def _encode(module: Any, processor: Any, image: Image.Image) -> EncodedFrame:
    inputs = processed_image(processor, image, return_row_col_info=True)
    device = module.get_input_embeddings().weight.device
    outputs = module.get_image_features(
        inputs["pixel_values"].to(device), inputs["pixel_attention_mask"].to(device), return_dict=True
    )
    # A picture that was split comes back as several tiles; their tokens follow each other in the prompt.
    features_TH = torch.cat(list(outputs.pooler_output), dim=0)
    rows_and_columns = {"rows": inputs["rows"], "cols": inputs["cols"]}
    return EncodedFrame(features_TH, processor.replace_image_token(rows_and_columns, 0))


FAMILY = Family(
    name="idefics3",
    text_layers="model.text_model.layers",
    mlp="mlp",
    vision=("model.vision_model", "model.connector"),
    encode=_encode,
    vision_layers="model.vision_model.encoder.layers",
    projector="model.connector",
)
