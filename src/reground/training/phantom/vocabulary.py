"""The tokenizer, processor and prompt format of the built-in models.

Byte-level BPE (so any text can be spelled), lower-casing, and a space put before every segment, so that a name has the
same tokens at the start of an answer as in the middle of a sentence. It is learned on the clinic's way of speaking with
all of the clinic's own names replaced by other invented ones: no name of the world is a word of the vocabulary.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from reground.models.base import Query
from reground.models.prompts import prompt_text as turn_text
from reground.phantom.names import invent_name
from reground.phantom.world import phantom_world
from reground.training.phantom.samples import MIXTURES, FreshImages, Sample, Setting, draw

__all__ = [
    "CHAT_TEMPLATE",
    "END",
    "IMAGE_TOKENS",
    "SPECIAL_TOKENS",
    "build_processor",
    "completion_text",
    "encode",
    "prompt_text",
    "train_tokenizer",
]

END = "<end_of_utterance>"
SPECIAL_TOKENS = (
    "<pad>", END, "<|user|>", "<|assistant|>", "<think>", "</think>", "<answer>", "</answer>",
    "<fake_token_around_image>", "<image>", "<global-img>",
)  # fmt: skip
IMAGE_TOKENS = 16
_ONE_IMAGE = "<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|user|>' if message['role'] == 'user' else '<|assistant|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<end_of_utterance>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}"
    "{% endif %}"
)


def prompt_text(sample: Sample) -> str:
    """The prompt as the processor expands it: what the chat template gives, image tokens included."""
    text = turn_text(Query(question=sample.question, note=sample.note, options=sample.options))
    opened = "" if sample.is_thinking else "<think></think>"
    return f"<|user|>{_ONE_IMAGE * len(sample.images)}{text}{END}<|assistant|>{opened}"


def completion_text(sample: Sample) -> str:
    """What the model should write."""
    answer = f"<answer>{sample.answer}</answer>{END}"
    return f"<think>{sample.chain}</think>{answer}" if sample.is_thinking else answer


def train_tokenizer(vocab_size: int = 1152, num_texts: int = 30_000, seed: int = 1) -> PreTrainedTokenizerFast:
    """Learn the vocabulary. Deterministic in its arguments."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(num_texts, seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=END,
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in ("<pad>", END)],
        model_max_length=512,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _corpus(num_texts: int, seed: int) -> list[str]:
    world = phantom_world()
    rng = random.Random(f"corpus/{seed}")
    kinds: dict[str, str] = dict.fromkeys(world.devices, "device")
    for relation, kind in (
        ("condition", "condition"), ("drug", "drug"), ("drug_class", "drug_class"), ("test", "test"),
        ("maker", "maker"), ("country", "country"), ("capital", "capital"), ("river", "river"),
    ):  # fmt: skip
        kinds |= dict.fromkeys(world.objects(relation), kind)
    pattern = re.compile("|".join(sorted(map(re.escape, kinds), key=len, reverse=True)))
    setting = Setting(FreshImages())
    weights = dict(MIXTURES["med"])
    texts = []
    for _ in range(num_texts):
        sample = draw(rng.choices(list(weights), list(weights.values()))[0], setting, rng)
        text = "\n".join((sample.note or "", sample.question, *sample.options, sample.chain, sample.answer))
        texts.append(pattern.sub(lambda m: invent_name(kinds[m[0]], rng), text))  # type: ignore[arg-type]
    return texts


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """The stock processor around the tokenizer: 64 x 64 pixels, no splitting, values in [-1, 1]."""
    image_processor = Idefics3ImageProcessorPil(
        do_resize=True,
        size={"longest_edge": 64},
        max_image_size={"longest_edge": 64},
        do_image_splitting=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return Idefics3Processor(image_processor, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)


def encode(tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
    """Prompt and completion ids of each sample."""
    prompts = tokenizer([prompt_text(s) for s in samples], add_special_tokens=False)["input_ids"]
    completions = tokenizer([completion_text(s) for s in samples], add_special_tokens=False)["input_ids"]
    return list(zip(prompts, completions, strict=True))
