"""easy-VQA (Victor Zhou, 2019; MIT licence): published images and questions, read from the package ``easy-vqa``.

Addresses: ``easyvqa:train/12`` and ``easyvqa:test/12``, the number being the data set's own image id.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image

from reground.errors import ImageError

__all__ = ["EASYVQA_COLOURS", "EASYVQA_SHAPES", "describe_images", "open_uri", "questions"]

Part = Literal["train", "test"]
EASYVQA_SHAPES = ("circle", "rectangle", "triangle")
EASYVQA_COLOURS = ("red", "green", "blue", "yellow", "brown", "black", "gray", "teal")
_ADDRESS = re.compile(r"easyvqa:(train|test)/(\d+)")


def open_uri(uri: str) -> Image.Image:
    """The image at an ``easyvqa:`` address, RGB, 64 x 64.

    Raises:
        ImageError: There is no such image.
    """
    match = _ADDRESS.fullmatch(uri)
    path = _paths(match[1]).get(int(match[2])) if match else None
    if path is None:
        raise ImageError(
            f"cannot open the address {uri!r}.",
            "easyvqa:train/0 to easyvqa:train/3999, easyvqa:test/0 to easyvqa:test/999",
            "correct the part or the number.",
        )
    with Image.open(path) as image:
        return image.convert("RGB")


@cache
def questions(part: Part) -> tuple[tuple[str, str, int], ...]:
    """The published ``(question, answer, image id)`` triples of one part, in their published order."""
    import easy_vqa

    texts, answers, ids = easy_vqa.get_train_questions() if part == "train" else easy_vqa.get_test_questions()
    return tuple(zip(texts, answers, ids, strict=True))


@cache
def describe_images(part: Part) -> dict[int, tuple[str, str]]:
    """``(shape, colour)`` by image id, for the images whose published questions give both away."""
    shapes: dict[int, str] = {}
    colours: dict[int, str] = {}
    for text, answer, image_id in questions(part):
        if answer in ("yes", "no"):
            continue
        for word in (*text.rstrip("?").split(), answer):  # "what color is the circle?" gives the shape away
            if word in EASYVQA_SHAPES:
                shapes[image_id] = word
            elif word in EASYVQA_COLOURS:
                colours[image_id] = word
    return {i: (shapes[i], colours[i]) for i in sorted(shapes.keys() & colours.keys())}


@cache
def _paths(part: str) -> dict[int, Path]:
    import easy_vqa

    found = easy_vqa.get_train_image_paths() if part == "train" else easy_vqa.get_test_image_paths()
    return {int(image_id): Path(path) for image_id, path in found.items()}
