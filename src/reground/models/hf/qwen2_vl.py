"""Qwen2-VL and Qwen2.5-VL: tower with a merger at its end, Qwen2 text model with positions on three axes.

A picture is cut into patches at its own shape, so the number of its tokens varies. Its tokens lie on a grid: they
share one position in time and differ in height and width; text behind it goes on after the grid's longer side.

Axes: T tokens, H hidden width of the text model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import Qwen2VLProcessor

from reground.models.hf.family import EncodedFrame, Family, processed_image

__all__ = ["FAMILY", "FAMILY_2_5", "ImageOnlyProcessor"]


class ImageOnlyProcessor(Qwen2VLProcessor):  # type: ignore[misc]
    """The stock processor without its video part, which needs torchvision; ours asks about images alone."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that are loaded and saved."""
        return [name for name in super().get_attributes() if name != "video_processor"]


# What is saved is named after the class; a checkpoint must not depend on this package.
ImageOnlyProcessor.__name__ = "Qwen2VLProcessor"


def _encode(module: Any, processor: Any, image: Image.Image) -> EncodedFrame:
    inputs = processed_image(processor, image)
    device = module.get_input_embeddings().weight.device
    grid = inputs["image_grid_thw"]
    outputs = module.get_image_features(inputs["pixel_values"].to(device), grid.to(device), return_dict=True)
    features_TH = torch.cat(list(outputs.pooler_output), dim=0)
    num_temporal, height, width = grid[0].tolist()
    return EncodedFrame(
        features_TH,
        processor.replace_image_token({"image_grid_thw": grid}, 0),
        grid=(num_temporal, height, width),
    )


def _positions(module: Any, ids: Sequence[int], frames: Sequence[EncodedFrame]) -> torch.Tensor:
    """Positions (3T) in time, height and width, as the model itself counts them."""
    ids_T = torch.tensor(ids)
    if not frames:
        return torch.arange(len(ids)).expand(3, -1)
    positions_3BT, _ = module.model.get_rope_index(
        ids_T[None],
        mm_token_type_ids=(ids_T == module.config.image_token_id).int()[None],
        image_grid_thw=torch.tensor([frame.grid for frame in frames]),
    )
    positions_3T: torch.Tensor = positions_3BT[:, 0]
    return positions_3T


def _family(name: str) -> Family:
    return Family(
        name=name,
        text_layers="model.language_model.layers",
        mlp="mlp",
        vision=("model.visual",),
        encode=_encode,
        vision_layers="model.visual.blocks",
        projector="model.visual.merger",
        positions=_positions,
        load_processor=ImageOnlyProcessor.from_pretrained,
    )


FAMILY = _family("qwen2_vl")
FAMILY_2_5 = _family("qwen2_5_vl")
