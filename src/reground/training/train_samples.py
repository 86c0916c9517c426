"""Samples of the built-in world that are about its train split and name no subject of another."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from reground.phantom.world import phantom_world
from reground.training.phantom.samples import FreshImages, Sample, Setting, draw

__all__ = ["TRAIN_KINDS", "names_other_than", "train_samples"]

#: Kinds of samples, as the built-in models were trained on, by corpus. Trivia is left out, and beside notes too: it has
#: no split, and locality is scored on it.
TRAIN_KINDS: dict[str, dict[str, int]] = {
    "phantom-med": {
        "percept": 9, "device_modality": 3, "change": 5, "image_one_hop": 16, "image_multi_hop": 13, "text_path": 13,
        "shapes": 3, "easyvqa": 5, "fresh_reading": 5, "note_on_image": 18, "note_on_text": 5,
    },
    "phantom-general": {
        "percept": 5, "image_one_hop": 2, "image_multi_hop": 1, "text_path": 2, "shapes": 16, "easyvqa": 34,
        "fresh_reading": 10, "note_on_image": 13, "note_on_text": 3,
    },
}  # fmt: skip


def train_samples(name: str) -> Iterator[Sample]:
    """Samples without end, always the same, none of which names a subject outside the ``train`` split.

    Args:
        name: The built-in model whose mixture of kinds they follow.
    """
    kinds = TRAIN_KINDS[name]
    setting = Setting(FreshImages(), known=("train",))
    names_other = names_other_than(("train",))
    rng = random.Random(f"key statistics/{name}/1")
    while True:
        (kind,) = rng.choices(tuple(kinds), tuple(kinds.values()))
        sample = draw(kind, setting, rng)
        texts = (sample.question, sample.note or "", *sample.options, sample.chain, sample.answer)
        if not names_other(texts):
            yield sample


@cache
def names_other_than(splits: tuple[str, ...]) -> Callable[[Sequence[str]], bool]:
    """From texts to whether one of them names a subject outside the given splits of the built-in world."""
    kept_apart = [subject for subject, split in phantom_world().splits.items() if split not in splits]
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, kept_apart))})\b")
    return lambda texts: any(pattern.search(text) for text in texts)
