"""InternVL in its ``transformers`` port: tiles, pixel shuffle, and a text model that may know how to write a chain."""

from __future__ import annotations

from typing import Any

from transformers import InternVLProcessor

from reground.models.hf.family import Family, stock_encode
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "TileProcessor"]

TileProcessor = image_only(InternVLProcessor)


def _limit_tiles(processor: Any, max_pixels: int) -> None:
    """A picture is cut into tiles of one size, so the limit is on their number; one tile there always is."""
    images = processor.image_processor
    tile = images.size["height"] * images.size["width"]
    images.max_patches = max(1, min(images.max_patches, max_pixels // tile))
    images.min_patches = min(images.min_patches, images.max_patches)


FAMILY = Family(
    name="internvl",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=stock_encode("pixel_values"),
    vision_layers="model.vision_tower.encoder.layer",
    projector="model.multi_modal_projector",
    load_processor=TileProcessor.from_pretrained,
    limit_pixels=_limit_tiles,
    opens_chain=True,
)
