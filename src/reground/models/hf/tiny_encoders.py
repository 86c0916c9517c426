"""Tiny encoders with random weights, built from a config: of texts, and of texts and images in one space."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

from reground.models.hf.tiny_parts import IMAGE_SIZE, PATCH_SIZE, build_tokenizer

__all__ = ["build_tiny_dual_encoder", "build_tiny_text_encoder"]


def build_tiny_dual_encoder(folder: Path, family: Literal["clip", "siglip"], *, seed: int = 0) -> Path:
    """Write a complete CLIP or SigLIP checkpoint with random weights; the caller's random state is left alone."""
    tokenizer = build_tokenizer()
    layers: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {
        **layers,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32,
        "projection_dim": 24,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**layers, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "projection_dim": 24}
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: Any
        processor: Any
        if family == "clip":
            module = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
            processor = CLIPProcessor(CLIPImageProcessorPil(size=size, crop_size=size), tokenizer)
        else:
            module = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
            processor = SiglipProcessor(SiglipImageProcessorPil(size=size), tokenizer)
    module.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_tiny_text_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a complete BERT-style encoder with random weights, as sentence-transformers can load it."""
    tokenizer = build_tokenizer()
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = 64
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
