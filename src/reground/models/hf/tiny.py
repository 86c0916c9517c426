"""Tiny checkpoints with random weights, built from a config: for tests of methods and model families.

Nothing is downloaded. The weights know nothing, but everything around them is real: a sub-word tokenizer, a
chat template, an image processor, a vision tower and a text model, saved as any checkpoint is.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from reground.models.hf.tiny_encoders import build_tiny_dual_encoder, build_tiny_text_encoder

__all__ = [
    "TINY_FAMILIES",
    "TinyFamily",
    "build_tiny_checkpoint",
    "build_tiny_dual_encoder",
    "build_tiny_text_encoder",
]

TinyFamily = Literal[
    "idefics3",
    "llava",
    "qwen2_vl",
    "gemma3",
    "glm4v",
    "internvl",
    "llava_next",
    "llava_onevision",
    "mllama",
    "paligemma",
    "qwen2_5_vl",
    "qwen3_vl",
    "smolvlm",
]

#: Families a tiny checkpoint can be built for.
TINY_FAMILIES: tuple[TinyFamily, ...] = get_args(TinyFamily)

#: Those that cut a picture into patches at its own shape; the others bring it to one size, or to tiles of one size.
_ON_GRID = ("glm4v", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def build_tiny_checkpoint(
    folder: Path, family: TinyFamily = "idefics3", *, hidden_size: int = 48, seed: int = 0
) -> Path:
    """Write a complete checkpoint of about 0.1M random parameters; the caller's random state is left alone.

    Args:
        folder: Where to write; made if absent.
        family: Which architecture.
        hidden_size: Width of the text model; a multiple of 8.
        seed: Seed of the weights.

    Returns:
        ``folder``, ready for ``load_hf_model``.
    """
    builders = importlib.import_module(f"{__name__}_{'grid' if family in _ON_GRID else 'square'}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, processor = getattr(builders, f"build_{family}")(hidden_size)
    tokenizer: Any = processor.tokenizer
    module.generation_config.eos_token_id = tokenizer.eos_token_id
    module.generation_config.pad_token_id = tokenizer.pad_token_id
    module.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
