"""Tiny models of families that cut a picture into patches at its own shape."""

from __future__ import annotations

from typing import Any

from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from reground.models.hf.glm4v import GlmProcessor
from reground.models.hf.qwen2_vl import QwenProcessor
from reground.models.hf.qwen3_vl import Qwen3Processor
from reground.models.hf.tiny_parts import (
    AROUND_IMAGE,
    CHAT_TEMPLATE,
    IMAGE_SIZE,
    PATCH_SIZE,
    build_tokenizer,
    text_settings,
    token_id,
)

__all__ = ["build_glm4v", "build_qwen2_5_vl", "build_qwen2_vl", "build_qwen3_vl"]

_MERGE_SIZE = 2
_NUM_PIXELS = IMAGE_SIZE**2
_TEMPLATE = CHAT_TEMPLATE.replace("<image>", f"{AROUND_IMAGE}<image>{AROUND_IMAGE}")
#: The prompt ends inside the chain, as that of a Thinking checkpoint does.
_THINKING_TEMPLATE = f"{_TEMPLATE}{{% if add_generation_prompt %}}{{{{ '<think>' }}}}{{% endif %}}"


def _images(kind: type[Any] = Qwen2VLImageProcessorPil, num_pixels: int = _NUM_PIXELS) -> Any:
    return kind(
        size={"shortest_edge": num_pixels, "longest_edge": 4 * num_pixels},
        patch_size=PATCH_SIZE,
        merge_size=_MERGE_SIZE,
    )


def _rope(hidden_size: int, **settings: Any) -> dict[str, Any]:
    # Half the width of a head, shared out among time, height and width.
    half_head = hidden_size // 8
    sections = [half_head - 2 * (half_head // 3), half_head // 3, half_head // 3]
    return {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": sections, **settings}


def _tokens(tokenizer: Any) -> dict[str, Any]:
    around_image = token_id(tokenizer, AROUND_IMAGE)
    return {
        "image_token_id": tokenizer.image_token_id,
        "video_token_id": tokenizer.video_token_id,
        "vision_start_token_id": around_image,
        "vision_end_token_id": around_image,
        "tie_word_embeddings": False,
    }


def build_qwen2_vl(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer()
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": hidden_size,
            "mlp_ratio": 2,
            "num_heads": 2,
            "patch_size": PATCH_SIZE,
            "spatial_merge_size": _MERGE_SIZE,
            "initializer_range": 0.2,
        },
        text_config={**text_settings(tokenizer, hidden_size), "rope_parameters": _rope(hidden_size)},
        **_tokens(tokenizer),
    )
    processor = QwenProcessor(_images(), tokenizer, chat_template=_TEMPLATE)
    return Qwen2VLForConditionalGeneration(config), processor


def build_qwen2_5_vl(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor: another tower, with windows; the rest as in Qwen2-VL."""
    tokenizer = build_tokenizer()
    config = Qwen2_5_VLConfig(
        vision_config={
            **_deep_tower(hidden_size),
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        text_config={**text_settings(tokenizer, hidden_size), "rope_parameters": _rope(hidden_size)},
        **_tokens(tokenizer),
    )
    processor = QwenProcessor(_images(), tokenizer, chat_template=_TEMPLATE)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def build_qwen3_vl(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor of a Thinking checkpoint: features of the first tower layer added behind a text layer."""
    tokenizer = build_tokenizer()
    config = Qwen3VLConfig(
        vision_config={
            **_deep_tower(hidden_size),
            "num_position_embeddings": (IMAGE_SIZE // PATCH_SIZE) ** 2,
            "deepstack_visual_indexes": [0],
        },
        text_config={
            **text_settings(tokenizer, hidden_size),
            "head_dim": hidden_size // 4,
            "rope_parameters": _rope(hidden_size, mrope_interleaved=True),
        },
        **_tokens(tokenizer),
    )
    processor = Qwen3Processor(_images(), tokenizer, chat_template=_THINKING_TEMPLATE)
    return Qwen3VLForConditionalGeneration(config), processor


def build_glm4v(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor; half of each head is turned by position."""
    tokenizer = build_tokenizer(further=("<|begin_of_video|>", "<|end_of_video|>", "<|user|>", "<|begin_of_box|>"))
    around_image = token_id(tokenizer, AROUND_IMAGE)
    eighth = hidden_size // 16
    config = Glm4vConfig(
        vision_config={**_deep_tower(hidden_size), "image_size": IMAGE_SIZE},
        text_config={
            **text_settings(tokenizer, hidden_size),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [eighth - 2 * (eighth // 3), eighth // 3, eighth // 3],
            },
        },
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        image_start_token_id=around_image,
        image_end_token_id=around_image,
        video_start_token_id=token_id(tokenizer, "<|begin_of_video|>"),
        video_end_token_id=token_id(tokenizer, "<|end_of_video|>"),
        tie_word_embeddings=False,
    )
    # A picture counts as two frames of a film there.
    processor = GlmProcessor(_images(Glm4vImageProcessorPil, 2 * _NUM_PIXELS), tokenizer, chat_template=_TEMPLATE)
    return Glm4vForConditionalGeneration(config), processor


def _deep_tower(hidden_size: int) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": hidden_size,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": _MERGE_SIZE,
        "initializer_range": 0.2,
    }
