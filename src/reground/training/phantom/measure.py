"""What a built-in model can do, measured the way users meet it: loaded from its folder, answering greedily.

Every skill is asked on images no training stage has drawn. Skills with a note use subjects of the ``test`` split, which
no training sample ever showed beside a note, and the held-out wordings and formats.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reground.edits.records import Answer, ImageRef
from reground.evaluation.matching import matches
from reground.models.base import Model, Query
from reground.phantom import easyvqa
from reground.phantom.language import Wording
from reground.training.phantom.samples import FreshImages, Sample, Setting, draw, easyvqa_sample

__all__ = ["ask", "easyvqa_test", "measure", "skill_samples"]

#: skill -> (kind of sample, hops, is_thinking)
_SKILLS: dict[str, tuple[str, tuple[int, ...], bool]] = {
    "percept": ("percept", (), True),
    "modality of a device's image": ("device_modality", (), True),
    "change between two frames": ("change", (), True),
    "condition or device, one hop": ("image_one_hop", (), True),
    "image, 2 hops": ("image_multi_hop", (2,), True),
    "image, 3 hops": ("image_multi_hop", (3,), True),
    "image, 4 and 5 hops": ("image_multi_hop", (4, 5), True),
    "facts in text": ("text_path", (), True),
    "shapes": ("shapes", (), True),
    "small facts": ("trivia", (), True),
    "reads a fact nobody knows": ("fresh_reading", (), True),
    "note that fits the image": ("note_fits", (), True),
    "note that does not": ("note_differs", (), True),
    "note on a fact in text": ("note_on_text", (), True),
    "note on something not asked": ("note_unasked", (), True),
    "condition or device, no thinking": ("image_one_hop", (), False),
    "facts in text, no thinking": ("text_path", (), False),
}


def skill_samples(skill: str, wording: Wording, count: int, seed: int) -> list[Sample]:
    """The questions a skill is measured on."""
    kind, hops, is_thinking = _SKILLS[skill]
    setting = Setting(FreshImages(), wording=wording, noted=("test",), styles=False)
    rng = random.Random(f"measure/{skill}/{wording}/{seed}")
    samples: list[Sample] = []
    while len(samples) < count:
        sample = draw(kind, setting, rng)
        if not hops or sample.num_hops in hops:
            samples.append(sample if is_thinking else replace(sample, chain="", is_thinking=False))
    return samples


def ask(model: Model, samples: Sequence[Sample], *, blank: bool = False) -> list[tuple[bool, bool]]:
    """``(is the answer right, is the trace well-formed)`` for each sample.

    Args:
        model: The model to ask.
        samples: What to ask.
        blank: Show an empty grey field in place of every image.
    """
    queries = [
        Query(
            question=s.question,
            image=ImageRef(frames=("phantom:blank",) * len(s.images) if blank else s.images) if s.images else None,
            note=s.note,
            options=s.options,
            is_thinking=s.is_thinking,
        )
        for s in samples
    ]
    outputs = model.generate(queries, max_new_tokens=128)
    verdicts = []
    for sample, (output,) in zip(samples, outputs, strict=True):
        trace = output.trace(model.delimiters, is_thinking=sample.is_thinking)
        is_answered = trace.answer is not None
        is_right = is_answered and matches(trace.answer or "", Answer(text=sample.answer), options=sample.options)
        verdicts.append((is_right, is_answered))
    return verdicts


def easyvqa_test(limit: int | None = None) -> list[Sample]:
    """The official easy-VQA test questions, or the first ``limit``."""
    return [easyvqa_sample("test", *triple) for triple in easyvqa.questions("test")[:limit]]


def measure(model: Model, *, count: int = 400, seed: int = 7, easyvqa_limit: int | None = None) -> dict[str, Any]:
    """Every skill on ``count`` questions per wording, blanked images, and easy-VQA's test part."""
    rows: list[dict[str, Any]] = []

    def add(skill: str, wording: str, samples: Sequence[Sample], *, blank: bool = False) -> None:
        verdicts = ask(model, samples, blank=blank)
        rows.append(
            {
                "skill": skill,
                "wording": wording,
                "answer": sum(right for right, _ in verdicts) / len(verdicts),
                "well_formed": sum(formed for _, formed in verdicts) / len(verdicts),
                "n": len(verdicts),
            }
        )

    for skill in _SKILLS:
        for wording in ("seen", "held_out"):
            add(skill, wording.replace("_", "-"), skill_samples(skill, wording, count, seed))
    for skill in ("condition or device, one hop", "image, 2 hops", "percept"):
        add(f"{skill}, image blanked", "seen", skill_samples(skill, "seen", count, seed), blank=True)
    add("easy-VQA, official test questions", "published", easyvqa_test(easyvqa_limit))
    return {"seed": seed, "num_parameters": model.info.num_parameters, "skills": rows}
