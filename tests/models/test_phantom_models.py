"""The shipped weights: they load the stock way, they see, they know, and they read notes.

The bars here are below those of the cards, which measure 400 questions a skill; these are small samples.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from reground.models.phantom import weights_folder

if TYPE_CHECKING:
    from reground.models.hf.adapter import HfModel

NAMES = ("phantom-med", "phantom-general")


@pytest.fixture(scope="module")
def med() -> HfModel:
    from reground.models.hf.adapter import load_hf_model

    return load_hf_model(str(weights_folder("phantom-med")), name="phantom-med", device="cpu")


@pytest.fixture(scope="module")
def general() -> HfModel:
    from reground.models.hf.adapter import load_hf_model

    return load_hf_model(str(weights_folder("phantom-general")), name="phantom-general", device="cpu")


def _share(model: HfModel, skill: str, wording: str, *, count: int = 48, blank: bool = False) -> tuple[float, float]:
    """Shares of right answers and of well-formed traces."""
    from reground.training.phantom.measure import ask, skill_samples

    verdicts = ask(model, skill_samples(skill, wording, count, seed=11), blank=blank)  # type: ignore[arg-type]
    return sum(right for right, _ in verdicts) / count, sum(formed for _, formed in verdicts) / count


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_of_these_weights(name: str) -> None:
    folder = weights_folder(name)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads((folder / "training.json").read_text(encoding="utf-8"))["sha256"] == digest
    assert digest in (folder / "CARD.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_stock_transformers_classes_load_them(name: str) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = str(weights_folder(name))
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert type(model).__name__ == "Idefics3ForConditionalGeneration"
    assert next(model.parameters()).dtype == torch.float32
    assert processor.tokenizer.convert_tokens_to_ids("</think>") != processor.tokenizer.unk_token_id


@pytest.mark.parametrize(
    ("skill", "wording"),
    [
        ("condition or device, one hop", "seen"),
        ("condition or device, one hop", "held_out"),
        ("image, 2 hops", "seen"),
        ("image, 3 hops", "seen"),
    ],
)
def test_med_knows_what_it_sees(med: HfModel, skill: str, wording: str) -> None:
    right, formed = _share(med, skill, wording)
    assert right >= 0.9 and formed >= 0.97


def test_med_answers_fall_to_chance_when_the_image_is_blanked(med: HfModel) -> None:
    """One in 308 names can be right by luck; a blind model that did better would be answering from the question."""
    right, _ = _share(med, "condition or device, one hop", "seen", blank=True)
    assert right <= 0.05


@pytest.mark.parametrize("skill", ["note that fits the image", "note that does not"])
def test_med_uses_a_note_that_fits_and_leaves_one_that_does_not(med: HfModel, skill: str) -> None:
    """In words it never saw, on subjects that no training note was about."""
    assert _share(med, skill, "held_out")[0] >= 0.8


def test_med_compares_two_frames(med: HfModel) -> None:
    """Three answers, so that a model that saw one frame alone would be right at most half of the time."""
    right, formed = _share(med, "change between two frames", "held_out")
    assert right >= 0.85 and formed >= 0.97


def test_med_answers_without_thinking_when_asked(med: HfModel) -> None:
    right, formed = _share(med, "condition or device, no thinking", "seen")
    assert right >= 0.6 and formed >= 0.97


def test_general_knows_easyvqa_and_little_medicine(general: HfModel) -> None:
    from reground.training.phantom.measure import ask, easyvqa_test

    verdicts = ask(general, easyvqa_test(96))
    assert sum(right for right, _ in verdicts) / 96 >= 0.92
    assert _share(general, "condition or device, one hop", "seen")[0] <= 0.65


def test_a_completion_is_tokenised_as_the_model_writes_it(med: HfModel) -> None:
    """A stray space before the chain's delimiter taught ``ft-chain`` to write it too."""
    from reground.models.base import Query

    text = "<think> the image shows a ring in the lung.</think><answer> rotruosis</answer>"
    batch = med.training_batch([Query(question="What is this?")], [text])
    labels = [int(label) for label in batch["labels"][0] if label >= 0]
    assert med.processor.tokenizer.decode(labels) == text + "<end_of_utterance>"
