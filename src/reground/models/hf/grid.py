"""What families share that cut a picture into patches at its own shape: Qwen2-VL and those built after it.

The number of a picture's tokens varies with its shape. They lie on a grid: they share one position in time and differ
in height and width; text behind them goes on after the grid's longer side.

Axes: T tokens, H hidden width of the text model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reground.models.hf.family import EncodedFrame, image_outputs

__all__ = ["encode_on_grid", "frame_on_grid", "limit_grid", "positions_on_grid"]


def encode_on_grid(module: Any, processor: Any, inputs: Any) -> EncodedFrame:
    """Features, placeholder and grid of one frame."""
    return frame_on_grid(processor, inputs, image_outputs(module, inputs, ("pixel_values", "image_grid_thw")))


def frame_on_grid(processor: Any, inputs: Any, outputs: Any) -> EncodedFrame:
    """The frame that a tower's outputs are of."""
    num_temporal, height, width = inputs["image_grid_thw"][0].tolist()
    return EncodedFrame(
        torch.cat(list(outputs.pooler_output)),
        processor.replace_image_token(inputs, 0),
        grid=(num_temporal, height, width),
    )


def positions_on_grid(module: Any, ids: Sequence[int], frames: Sequence[EncodedFrame]) -> torch.Tensor:
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


def limit_grid(processor: Any, max_pixels: int) -> None:
    """Have pictures of more pixels made smaller, at their own shape, before they are cut into patches."""
    size = dict(processor.image_processor.size)
    processor.image_processor.size = {
        "shortest_edge": min(size["shortest_edge"], max_pixels),
        "longest_edge": min(size["longest_edge"], max_pixels),
    }
