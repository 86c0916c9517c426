"""LLaVA-OneVision: tiles as in LLaVA-Next where a prompt has one picture; where it has several, each is seen whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from transformers import LlavaOnevisionProcessor

from reground.models.hf import llava
from reground.models.hf.family import EncodedFrame, image_outputs
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "OnevisionProcessor"]

OnevisionProcessor = image_only(LlavaOnevisionProcessor)


def _process(processor: Any, image: Image.Image, num_frames: int) -> Any:
    # One of several is prepared in another way than one alone, so it is shown in as large a company.
    inputs = processor.image_processor(images=[[image] * num_frames], return_tensors="pt")
    # Copied, so that what was made of the company is let go.
    inputs["pixel_values"] = inputs["pixel_values"][:1].clone()
    inputs["image_sizes"] = inputs["image_sizes"][:1]
    return inputs


def _encode(module: Any, processor: Any, inputs: Any) -> EncodedFrame:
    outputs = image_outputs(module, inputs, ("pixel_values", "image_sizes", "batch_num_images"))
    return EncodedFrame(torch.cat(list(outputs.pooler_output)), processor.replace_image_token(inputs, 0))


FAMILY = replace(
    llava.FAMILY,
    name="llava_onevision",
    process=_process,
    encode=_encode,
    load_processor=OnevisionProcessor.from_pretrained,
)
