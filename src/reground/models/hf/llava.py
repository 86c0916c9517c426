"""LLaVA: CLIP-like tower, two-layer projector, Llama-like text model."""

from __future__ import annotations

from reground.models.hf.family import Family, num_layers_read, stock_encode

__all__ = ["FAMILY"]

FAMILY = Family(
    name="llava",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=stock_encode("pixel_values"),
    vision_layers="model.vision_tower.encoder.layers",
    num_vision_layers=num_layers_read,
    projector="model.multi_modal_projector",
)
