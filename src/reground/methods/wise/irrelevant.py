"""Prompts that no edit is about: what the router learns to leave to the main memory."""

from __future__ import annotations

import random
from pathlib import Path

from pydantic import ValidationError

from reground.edits.records import ImageRef
from reground.errors import InputError
from reground.models.base import Query
from reground.training.phantom.samples import FreshImages, Setting, draw

__all__ = ["PHANTOM_TRAIN", "irrelevant_queries"]

#: The default source: questions about subjects of the phantom world's train split, of images that no benchmark shows.
PHANTOM_TRAIN = "phantom-train"

_KINDS = ("percept", "image_one_hop", "text_path", "image_multi_hop", "device_modality", "easyvqa", "shapes")


def irrelevant_queries(source: str, count: int, seed: int) -> list[Query]:
    """``count`` prompts to train the routing margin on, and for nothing else.

    Args:
        source: ``phantom-train``, or the path of a JSONL file with a ``Query`` in each line.
        count: How many.
        seed: Decides which.

    Raises:
        InputError: The file cannot be read, or holds fewer.
    """
    stream = random.Random(f"wise/irrelevant/{seed}")
    if source != PHANTOM_TRAIN:
        queries = _read(source)
        if len(queries) < count:
            raise InputError(
                f"{count} irrelevant prompts were to be drawn from {source!r}, which holds {len(queries)}.",
                f"a file of at least {count} lines",
                "add prompts, or lower num_irrelevant.",
            )
        return stream.sample(queries, count)
    setting = Setting(images=FreshImages(), known=("train",), noted=("train",), styles=False)
    samples = [draw(_KINDS[number % len(_KINDS)], setting, stream) for number in range(count)]
    return [
        Query(question=sample.question, image=ImageRef(frames=sample.images) if sample.images else None)
        for sample in samples
    ]


def _read(source: str) -> list[Query]:
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
        return [Query.model_validate_json(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(
            f"irrelevant prompts cannot be read from {source!r}: {str(error).splitlines()[0]}",
            f'{PHANTOM_TRAIN!r}, or a JSONL file with a query in each line, e.g. {{"question": "what is this?"}}',
            "correct the method's `irrelevant`.",
        ) from error
