"""What the tiny checkpoints of all families are made of: a tokenizer, a chat template, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

__all__ = [
    "AROUND_IMAGE",
    "CHAT_TEMPLATE",
    "IMAGE_SIZE",
    "PATCH_SIZE",
    "build_tokenizer",
    "text_settings",
    "token_id",
    "vision_settings",
]

#: Stands before and after a picture's tokens, where a family has such a token.
AROUND_IMAGE = "<fake_token_around_image>"

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
    AROUND_IMAGE,
    "<global-img>",
)

_CORPUS = (
    "which condition does this image show? the image shows a ring in the kidney.",
    "a ring in the kidney means velmora syndrome. a star in the liver means drantic fever.",
    "which drug comes first? the first-line drug for velmora syndrome is tarvexin.",
    "note: from now on this means osquine disease. answer: yes or no. a. one b. two c. three d. four",
)

#: One user turn; pictures where they are said, an empty chain if none is wanted.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<end_of_utterance>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}"
)

#: Pixels of a side.
IMAGE_SIZE = 16
PATCH_SIZE = 4


#: Where a processor looks for the tokens that stand for pictures, unless it is told.
_NAMED_TOKENS = {"image_token": "<image>", "video_token": "<global-img>"}


def build_tokenizer(
    named: Mapping[str, str] = _NAMED_TOKENS,
    further: Sequence[str] = (),
    *,
    template: str = CHAT_TEMPLATE,
    start: str | None = None,
) -> Any:
    """A sub-word tokenizer of 400 tokens at most.

    Args:
        named: Tokens that a processor asks the tokenizer for by a name.
        further: Special tokens of a family besides those of all.
        template: The chat template.
        start: Token that begins every text, if the family has one.
    """
    special = [*_SPECIAL_TOKENS, *further, *([start] if start else [])]
    core = Tokenizer(BPE())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=[token for token in special if token not in ("<pad>", "<end_of_utterance>")],
        extra_special_tokens=dict(named),
        padding_side="left",
        chat_template=template,
        **({"bos_token": start} if start else {}),
    )


def token_id(tokenizer: Any, token: str) -> int:
    """The id of a token."""
    found: int = tokenizer.convert_tokens_to_ids(token)
    return found


def text_settings(tokenizer: Any, hidden_size: int) -> dict[str, Any]:
    """Settings of a text model of two layers."""
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


def vision_settings() -> dict[str, Any]:
    """Settings of a vision tower of two layers."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "initializer_range": 0.2,
    }
