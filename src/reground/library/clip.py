"""Encoders that are one side of a CLIP-class checkpoint: CLIP, SigLIP and what transformers loads like them.

Axes: N texts or images, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reground.edits.images import open_image
from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.library.phantom_tower import mean_direction, unit_length

__all__ = ["ClipImages", "ClipTexts", "open_clip_images", "open_clip_texts"]

_BATCH = 32


class ClipImages:
    """The image side."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def num_dimensions(self) -> int:
        return _num_dimensions(self.spec)

    def encode(self, images: Sequence[ImageRef]) -> NDArray[np.float32]:
        import torch

        module, processor = _checkpoint(self.spec)
        frames = [open_image(image) for image in images]
        flat = [frame for of_image in frames for frame in of_image]
        parts = []
        with torch.no_grad():
            for start in range(0, len(flat), _BATCH):
                inputs = processor.image_processor(images=flat[start : start + _BATCH], return_tensors="pt")
                parts.append(_pooled(module.get_image_features(**inputs)).float().numpy())
        return mean_direction(np.concatenate(parts), [len(of_image) for of_image in frames])


class ClipTexts:
    """The text side."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def num_dimensions(self) -> int:
        return _num_dimensions(self.spec)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        module, processor = _checkpoint(self.spec)
        if not texts:
            return np.zeros((0, self.num_dimensions), dtype=np.float32)
        # SigLIP was trained on texts padded to the full length, and is no use with others.
        length = module.config.text_config.max_position_embeddings
        padding = "max_length" if "siglip" in module.config.model_type else True
        inputs = processor.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt"
        )
        with torch.no_grad():
            return unit_length(_pooled(module.get_text_features(**inputs)).float().numpy())


def open_clip_images(spec: str) -> ClipImages:
    """The image side of the checkpoint after ``clip:``."""
    return ClipImages(spec)


def open_clip_texts(spec: str) -> ClipTexts:
    """The text side of the checkpoint after ``clip:``."""
    return ClipTexts(spec)


def _pooled(features: Any) -> Any:
    """One vector a row; transformers wraps it since version 5."""
    return getattr(features, "pooler_output", features)


def _num_dimensions(spec: str) -> int:
    config = _checkpoint(spec)[0].config
    return int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)


@cache
def _checkpoint(spec: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoProcessor

    source = spec.removeprefix("clip:")
    try:
        module = AutoModel.from_pretrained(source).eval()
        processor = AutoProcessor.from_pretrained(source)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the encoder {spec!r} cannot be opened: {said}",
            "clip:FOLDER or clip:ORG/NAME with a CLIP or SigLIP checkpoint",
            "check the folder or the name.",
        ) from error
    if not hasattr(module, "get_image_features") or not hasattr(module, "get_text_features"):
        raise InputError(
            f"the encoder {spec!r} is a {type(module).__name__}, which has no image and text side in one space.",
            "a CLIP or SigLIP checkpoint",
            "name another checkpoint.",
        )
    return module, processor
