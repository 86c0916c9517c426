"""Idefics3: SigLIP tower, pixel shuffle connector, Llama text model."""

from __future__ import annotations

from functools import partial

from reground.models.hf.family import Family, processed_image, stock_encode

__all__ = ["FAMILY"]

FAMILY = Family(
    name="idefics3",
    text_layers="model.text_model.layers",
    mlp="mlp",
    vision=("model.vision_model", "model.connector"),
    process=partial(processed_image, return_row_col_info=True),
    encode=stock_encode("pixel_values", "pixel_attention_mask"),
    vision_layers="model.vision_model.encoder.layers",
    projector="model.connector",
)
