"""Tiny models of families that bring a picture to one size, or to tiles of one size."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessorPil,
    MllamaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from reground.models.hf.internvl import TileProcessor
from reground.models.hf.llava_onevision import OnevisionProcessor
from reground.models.hf.smolvlm import SmolVLMImageProcessor
from reground.models.hf.tiny_parts import (
    AROUND_IMAGE,
    CHAT_TEMPLATE,
    IMAGE_SIZE,
    PATCH_SIZE,
    build_tokenizer,
    text_settings,
    token_id,
    vision_settings,
)

__all__ = [
    "build_gemma3",
    "build_idefics3",
    "build_internvl",
    "build_llava",
    "build_llava_next",
    "build_llava_onevision",
    "build_mllama",
    "build_paligemma",
    "build_smolvlm",
]

_NUM_PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
_SIDES = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
#: Shapes that tiles can make up, height before width.
_SHAPES = [[IMAGE_SIZE, 2 * IMAGE_SIZE], [2 * IMAGE_SIZE, IMAGE_SIZE], [2 * IMAGE_SIZE, 2 * IMAGE_SIZE]]


def build_idefics3(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer()
    side = {"longest_edge": IMAGE_SIZE}
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False),
        tokenizer,
        image_seq_len=_NUM_PATCHES // 4,
        chat_template=CHAT_TEMPLATE,
    )
    return Idefics3ForConditionalGeneration(_shuffling(Idefics3Config, tokenizer, hidden_size)), processor


def build_smolvlm(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor, which cuts larger pictures into tiles."""
    tokenizer = build_tokenizer()
    processor = SmolVLMImageProcessor(
        SmolVLMImageProcessorPil(
            size={"longest_edge": 2 * IMAGE_SIZE}, max_image_size={"longest_edge": IMAGE_SIZE}, do_image_splitting=True
        ),
        tokenizer,
        image_seq_len=_NUM_PATCHES // 4,
        chat_template=CHAT_TEMPLATE,
    )
    return SmolVLMForConditionalGeneration(_shuffling(SmolVLMConfig, tokenizer, hidden_size)), processor


def _shuffling(kind: type[Any], tokenizer: Any, hidden_size: int) -> Any:
    return kind(
        vision_config=vision_settings(),
        text_config=LlamaConfig(**text_settings(tokenizer, hidden_size)).to_dict(),
        image_token_id=token_id(tokenizer, "<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


def build_llava(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(projection_dim=32, **vision_settings()),
        text_config=LlamaConfig(**text_settings(tokenizer, hidden_size)),
        image_token_id=token_id(tokenizer, "<image>"),
        image_seq_length=_NUM_PATCHES,
        tie_word_embeddings=False,
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=_SIDES),
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return LlavaForConditionalGeneration(config), processor


def build_llava_next(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer()
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(projection_dim=32, **vision_settings()),
        text_config=LlamaConfig(**text_settings(tokenizer, hidden_size)),
        image_token_id=token_id(tokenizer, "<image>"),
        image_grid_pinpoints=_SHAPES,
        tie_word_embeddings=False,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=_SIDES, image_grid_pinpoints=_SHAPES),
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return LlavaNextForConditionalGeneration(config), processor


def build_llava_onevision(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer()
    config = LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config={"model_type": "qwen2", **text_settings(tokenizer, hidden_size)},
        image_token_id=token_id(tokenizer, "<image>"),
        video_token_id=tokenizer.video_token_id,
        image_grid_pinpoints=_SHAPES,
        tie_word_embeddings=False,
    )
    processor = OnevisionProcessor(
        LlavaOnevisionImageProcessorPil(size=_SIDES, image_grid_pinpoints=_SHAPES),
        tokenizer,
        num_image_tokens=_NUM_PATCHES,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def build_internvl(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor."""
    tokenizer = build_tokenizer(
        {
            "start_image_token": AROUND_IMAGE,
            "end_image_token": AROUND_IMAGE,
            "context_image_token": "<image>",
            "video_token": "<global-img>",
        }
    )
    vision = {**vision_settings(), "image_size": [IMAGE_SIZE] * 2, "patch_size": [PATCH_SIZE] * 2}
    config = InternVLConfig(
        # Its own factor in front of each layer's output would leave a tower of two layers all but silent.
        vision_config={**vision, "layer_scale_init_value": 1.0},
        text_config={"model_type": "qwen2", **text_settings(tokenizer, hidden_size)},
        image_token_id=token_id(tokenizer, "<image>"),
        image_seq_length=_NUM_PATCHES // 4,
        tie_word_embeddings=False,
    )
    processor = TileProcessor(
        GotOcr2ImageProcessorPil(size=_SIDES, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        image_seq_length=_NUM_PATCHES // 4,
        chat_template=CHAT_TEMPLATE,
    )
    return InternVLForConditionalGeneration(config), processor


def build_gemma3(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor; the first layer sees 32 tokens back, the projector is not left at zero."""
    tokenizer = build_tokenizer(
        {"image_token": "<soft>", "boi_token": "<image>", "eoi_token": AROUND_IMAGE}, further=("<soft>",)
    )
    config = Gemma3Config(
        vision_config=_siglip(),
        text_config={
            **text_settings(tokenizer, hidden_size),
            "head_dim": hidden_size // 4,
            "query_pre_attn_scalar": hidden_size // 4,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        mm_tokens_per_image=_NUM_PATCHES // 4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        # Tied as they are in the published ones, such embeddings have a random model repeat its last token.
        tie_word_embeddings=False,
    )
    module = Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(module.model.multi_modal_projector.mm_input_projection_weight, std=0.2)
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size=_SIDES),
        tokenizer,
        chat_template=CHAT_TEMPLATE,
        image_seq_length=_NUM_PATCHES // 4,
    )
    return module, processor


def build_paligemma(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor, which knows no chat."""
    tokenizer = build_tokenizer(start="<bos>")
    tokenizer.chat_template = None
    images = SiglipImageProcessorPil(size=_SIDES)
    images.image_seq_length = _NUM_PATCHES
    processor = PaliGemmaProcessor(images, tokenizer)
    config = PaliGemmaConfig(
        vision_config={**_siglip().to_dict(), "projection_dim": hidden_size},
        text_config={
            "model_type": "gemma",
            **text_settings(tokenizer, hidden_size),
            "num_key_value_heads": 1,
            "head_dim": hidden_size // 4,
            "tie_word_embeddings": True,
        },
        image_token_index=tokenizer.image_token_id,
        projection_dim=hidden_size,
        hidden_size=hidden_size,
    )
    return PaliGemmaForConditionalGeneration(config), processor


def build_mllama(hidden_size: int) -> tuple[Any, Any]:
    """Module and processor; the second of three layers looks across, and its gates are not left at zero."""
    template = f"{{{{ bos_token }}}}{CHAT_TEMPLATE}"
    tokenizer = build_tokenizer(template=template, start="<bos>")
    config = MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 64,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "initializer_range": 0.2,
        },
        text_config={
            **text_settings(tokenizer, hidden_size),
            "num_hidden_layers": 3,
            "cross_attention_layers": [1],
            "bos_token_id": tokenizer.bos_token_id,
        },
        image_token_index=tokenizer.image_token_id,
    )
    module = MllamaForConditionalGeneration(config)
    across = module.model.language_model.layers[1]
    for gate in (across.cross_attn_attn_gate, across.cross_attn_mlp_gate):
        torch.nn.init.ones_(gate)
    processor = MllamaProcessor(MllamaImageProcessorPil(size=_SIDES, max_image_tiles=4), tokenizer, template)
    return module, processor


def _siglip() -> Any:
    return SiglipVisionConfig(vision_use_head=False, **vision_settings())
