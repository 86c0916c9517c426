"""The tokenizer and processor of the built-in models."""

import random

import pytest
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from reground.phantom.names import invent_name
from reground.phantom.world import phantom_world
from reground.training.phantom.samples import Sample
from reground.training.phantom.vocabulary import build_processor, completion_text, prompt_text, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(vocab_size=900, num_texts=1500)


@pytest.fixture(scope="module")
def processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    return build_processor(tokenizer)


def test_any_text_can_be_spelled(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in ("żółć 肺炎 🩻", "tab\tand \x07", "qzxjvwk"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids).strip() == text.lower()


def test_a_name_has_the_same_tokens_wherever_it_stands(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = random.Random(0)
    for _ in range(50):
        name = invent_name("drug", rng)
        alone = tokenizer(name, add_special_tokens=False)["input_ids"]
        for text in (f"<answer>{name}</answer>", f"the drug is {name}.", name.capitalize()):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert any(ids[i : i + len(alone)] == alone for i in range(len(ids))), text


def test_no_name_of_the_world_is_a_word_of_the_vocabulary(tokenizer: PreTrainedTokenizerFast) -> None:
    world = phantom_world()
    for name in (*world.devices, *world.objects("condition"), *world.objects("drug"), *world.objects("river")):
        assert len(tokenizer(name, add_special_tokens=False)["input_ids"]) >= 2, name


def test_learning_the_vocabulary_repeats(tokenizer: PreTrainedTokenizerFast) -> None:
    assert train_tokenizer(vocab_size=900, num_texts=1500).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("num_images", [0, 1, 2])
@pytest.mark.parametrize("is_thinking", [True, False])
def test_training_prompts_are_what_the_processor_makes(
    processor: Idefics3Processor, num_images: int, is_thinking: bool
) -> None:
    """Trained on one prompt and asked with another, a model would be measured on something it never saw."""
    sample = Sample(
        "t",
        "what is this?",
        "it is.",
        "x",
        ("phantom:blank",) * num_images,
        note="memo: hello.",
        options=("one", "two"),
        is_thinking=is_thinking,
    )
    text = "memo: hello.\nwhat is this?\nA. one\nB. two"
    content = [{"type": "image"}] * num_images + [{"type": "text", "text": text}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, enable_thinking=is_thinking
    )
    images = [Image.new("RGB", (64, 64), (9, 9, 9))] * num_images
    made = processor(text=[prompt], images=[images] if images else None, add_special_tokens=False)
    trained = processor.tokenizer(prompt_text(sample), add_special_tokens=False)["input_ids"]
    assert list(made["input_ids"][0]) == trained


def test_a_completion_is_chain_and_answer_or_the_answer_alone() -> None:
    thinking = Sample("t", "q", "a means b.", "b")
    assert completion_text(thinking) == "<think>a means b.</think><answer>b</answer><end_of_utterance>"
    silent = Sample("t", "q", "", "b", is_thinking=False)
    assert completion_text(silent) == "<answer>b</answer><end_of_utterance>"
