"""LLaVA-Next (LLaVA-1.6): LLaVA with a picture seen whole and in tiles, whose rows end in a learned feature."""

from __future__ import annotations

from dataclasses import replace

from reground.models.hf import llava
from reground.models.hf.family import stock_encode

__all__ = ["FAMILY"]

FAMILY = replace(llava.FAMILY, name="llava_next", encode=stock_encode("pixel_values", "image_sizes"))
