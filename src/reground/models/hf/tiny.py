"""Tiny checkpoints with random weights, built from a config: for tests of methods and model families.

Nothing is downloaded. The weights know nothing, but everything around them is real: a sub-word tokenizer, a
chat template, an image processor, a vision tower and a text model, saved as any checkpoint is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

from reground.models.hf.qwen2_vl import ImageOnlyProcessor

__all__ = [
    "TINY_FAMILIES",
    "TinyFamily",
    "build_tiny_checkpoint",
    "build_tiny_dual_encoder",
    "build_tiny_text_encoder",
]

TinyFamily = Literal["idefics3", "llava", "qwen2_vl"]

#: Families a tiny checkpoint can be built for.
TINY_FAMILIES: tuple[TinyFamily, ...] = ("idefics3", "llava", "qwen2_vl")

_AROUND_IMAGE = "<fake_token_around_image>"
_SPECIAL_TOKENS = (
    "<pad>",
    "<end_of_utterance>",
    "<user>",
    "<assistant>",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<image>",
    _AROUND_IMAGE,
    "<global-img>",
)

_CORPUS = (
    "which condition does this image show? the image shows a ring in the kidney.",
    "a ring in the kidney means velmora syndrome. a star in the liver means drantic fever.",
    "which drug comes first? the first-line drug for velmora syndrome is tarvexin.",
    "note: from now on this means osquine disease. answer: yes or no. a. one b. two c. three d. four",
)

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<end_of_utterance>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}"
)

_IMAGE_SIZE = 16
_PATCH_SIZE = 4


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
    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, processor = _BUILDERS[family](tokenizer, hidden_size)
    module.generation_config.eos_token_id = tokenizer.eos_token_id
    module.generation_config.pad_token_id = tokenizer.pad_token_id
    module.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_tiny_dual_encoder(folder: Path, family: Literal["clip", "siglip"], *, seed: int = 0) -> Path:
    """Write a complete CLIP or SigLIP checkpoint with random weights; the caller's random state is left alone."""
    tokenizer = _tokenizer()
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
    vision = {**layers, "image_size": _IMAGE_SIZE, "patch_size": _PATCH_SIZE, "projection_dim": 24}
    size = {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}
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
    tokenizer = _tokenizer()
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


def _tokenizer() -> Any:
    core = Tokenizer(BPE())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=list(_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=[token for token in _SPECIAL_TOKENS if token not in ("<pad>", "<end_of_utterance>")],
        # Where a processor looks for the tokens that stand for pictures, unless it is told.
        extra_special_tokens={"image_token": "<image>", "video_token": "<global-img>"},
        padding_side="left",
        chat_template=_CHAT_TEMPLATE,
    )


def _text_settings(tokenizer: Any, hidden_size: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        # Wide enough that random weights tell prompts and images apart.
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _vision_settings() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": _IMAGE_SIZE,
        "patch_size": _PATCH_SIZE,
        "initializer_range": 0.2,
    }


def _idefics3(tokenizer: Any, hidden_size: int) -> tuple[Any, Any]:
    scale = 2
    config = Idefics3Config(
        vision_config=_vision_settings(),
        text_config=LlamaConfig(**_text_settings(tokenizer, hidden_size)).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=scale,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    side = {"longest_edge": _IMAGE_SIZE}
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False),
        tokenizer,
        image_seq_len=(_IMAGE_SIZE // _PATCH_SIZE) ** 2 // scale**2,
        chat_template=_CHAT_TEMPLATE,
    )
    return Idefics3ForConditionalGeneration(config), processor


def _llava(tokenizer: Any, hidden_size: int) -> tuple[Any, Any]:
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(projection_dim=32, **_vision_settings()),
        text_config=LlamaConfig(**_text_settings(tokenizer, hidden_size)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(_IMAGE_SIZE // _PATCH_SIZE) ** 2,
        tie_word_embeddings=False,
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": _IMAGE_SIZE}, crop_size={"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}
        ),
        tokenizer,
        patch_size=_PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen2_vl(tokenizer: Any, hidden_size: int) -> tuple[Any, Any]:
    merge_size = 2
    # Half the width of a head, shared out among time, height and width.
    half_head = hidden_size // 8
    around_image = tokenizer.convert_tokens_to_ids(_AROUND_IMAGE)
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": hidden_size,
            "mlp_ratio": 2,
            "num_heads": 2,
            "patch_size": _PATCH_SIZE,
            "spatial_merge_size": merge_size,
            "initializer_range": 0.2,
        },
        text_config={
            **_text_settings(tokenizer, hidden_size),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [half_head - 2 * (half_head // 3), half_head // 3, half_head // 3],
            },
        },
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=around_image,
        vision_end_token_id=around_image,
        tie_word_embeddings=False,
    )
    num_pixels = _IMAGE_SIZE**2
    template = _CHAT_TEMPLATE.replace("<image>", f"{_AROUND_IMAGE}<image>{_AROUND_IMAGE}")
    processor = ImageOnlyProcessor(
        Qwen2VLImageProcessorPil(
            size={"shortest_edge": num_pixels, "longest_edge": 4 * num_pixels},
            patch_size=_PATCH_SIZE,
            merge_size=merge_size,
        ),
        tokenizer,
        chat_template=template,
    )
    return Qwen2VLForConditionalGeneration(config), processor


_BUILDERS: dict[TinyFamily, Callable[[Any, int], tuple[Any, Any]]] = {
    "idefics3": _idefics3,
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
}
