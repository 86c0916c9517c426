"""The seam between the adapter and one family of vision-language models.

A family says where things are in its module tree and how one frame becomes features. Everything else
(prompts, batches, decoding, scores, the image cache) is the same for all families and lives in ``adapter``.

Axes: T image tokens of one frame, H hidden width of the text model.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor

from reground.errors import CapabilityError

__all__ = ["FAMILIES", "EncodedFrame", "Family", "family_of", "processed_image"]

#: Config class of a checkpoint -> where its family is described. A new family is one file and one line here.
FAMILIES: dict[str, str] = {
    "Idefics3Config": "reground.models.hf.idefics3:FAMILY",
    "LlavaConfig": "reground.models.hf.llava:FAMILY",
    "Qwen2VLConfig": "reground.models.hf.qwen2_vl:FAMILY",
    "Qwen2_5_VLConfig": "reground.models.hf.qwen2_vl:FAMILY_2_5",
}


@dataclass(frozen=True)
class EncodedFrame:
    """One frame as the text model receives it.

    Attributes:
        features_TH: What replaces the embeddings of the frame's image tokens, in order.
        placeholder: Text that stands for the frame in the prompt; it holds exactly T image tokens.
        grid: Patches of the frame in time, height and width, for families whose positions depend on them.
    """

    features_TH: torch.Tensor
    placeholder: str
    grid: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Family:
    """Where a family of models keeps its parts. Paths are dotted and start at the loaded module.

    Attributes:
        name: The family's published name.
        text_layers: The list of text layers.
        mlp: The MLP of a text layer, from that layer.
        vision: The modules an image passes through before the text model; while these are unchanged, cached
            features hold.
        encode: Features and placeholder of one frame, from the module, the processor and the picture.
        vision_layers: The list of layers of the vision tower; None where it has none.
        num_vision_layers: From the config, how many of these the model reads, from the first on; None: all.
        projector: What stands between tower and text model; None where it is no module of its own.
        positions: From the module, the tokens of a row and its frames, the position of each token on each axis
            (a row of the result for an axis); None: one axis, counted from 0.
        load_processor: The checkpoint's own processor, from its folder or name.
    """

    name: str
    text_layers: str
    mlp: str
    vision: tuple[str, ...]
    encode: Callable[[Any, Any, Image.Image], EncodedFrame]
    vision_layers: str | None = None
    num_vision_layers: Callable[[Any], int] | None = None
    projector: str | None = None
    positions: Callable[[Any, Sequence[int], Sequence[EncodedFrame]], torch.Tensor] | None = None
    load_processor: Callable[[str], Any] = AutoProcessor.from_pretrained


def family_of(config: Any, source: str) -> Family:
    """The family that a checkpoint's config belongs to.

    Args:
        config: A ``transformers`` config.
        source: Where it came from, for the message.

    Raises:
        CapabilityError: No family is described for this class of config.
    """
    class_name = type(config).__name__
    if class_name not in FAMILIES:
        known = ", ".join(sorted(name.removesuffix("Config") for name in FAMILIES))
        raise CapabilityError(
            f"{source!r} is a {class_name.removesuffix('Config')} checkpoint; that family is not described.",
            f"families {known}",
            "see docs/adding-a-model.md: a family is one small file and one line in models/hf/family.py.",
        )
    module, _, attribute = FAMILIES[class_name].partition(":")
    family: Family = getattr(importlib.import_module(module), attribute)
    return family


def processed_image(processor: Any, image: Image.Image, **options: Any) -> Any:
    """What the checkpoint's own image processor makes of one picture, as tensors, a batch of one."""
    return processor.image_processor(images=[[image]], return_tensors="pt", **options)
