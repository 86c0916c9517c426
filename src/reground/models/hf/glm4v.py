"""GLM-4.1V-Thinking: tower and positions as in Qwen2-VL, GLM text model whose turns end where the next begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers import Glm4vProcessor

from reground.models.hf import qwen2_vl
from reground.models.hf.grid import limit_grid
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "GlmProcessor"]

GlmProcessor = image_only(Glm4vProcessor)


def _limit_pixels(processor: Any, max_pixels: int) -> None:
    """The processor counts the pixels of a film; a picture is one of ``temporal_patch_size`` frames."""
    limit_grid(processor, max_pixels * processor.image_processor.temporal_patch_size)


FAMILY = replace(
    qwen2_vl.FAMILY,
    name="glm4v",
    load_processor=GlmProcessor.from_pretrained,
    end_tokens=("<|user|>",),
    limit_pixels=_limit_pixels,
    # What the model puts around the part of its answer that counts.
    dropped_tokens=("<|begin_of_box|>", "<|end_of_box|>"),
)
