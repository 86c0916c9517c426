"""Qwen2-VL and Qwen2.5-VL: tower with a merger at its end, Qwen2 text model with positions on three axes."""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen2VLProcessor

from reground.models.hf.family import Family
from reground.models.hf.grid import encode_on_grid, limit_grid, positions_on_grid
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "FAMILY_2_5", "QwenProcessor"]

QwenProcessor = image_only(Qwen2VLProcessor)

FAMILY = Family(
    name="qwen2_vl",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.visual",),
    encode=encode_on_grid,
    vision_layers="model.visual.blocks",
    projector="model.visual.merger",
    positions=positions_on_grid,
    load_processor=QwenProcessor.from_pretrained,
    limit_pixels=limit_grid,
)
FAMILY_2_5 = replace(FAMILY, name="qwen2_5_vl")
