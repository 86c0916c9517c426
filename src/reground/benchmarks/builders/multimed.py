"""From filtered and paraphrased items to our records, by the recipe of MultiMedBench.

One edit an item: the model must come to give the right option. Its probes: the question itself, its paraphrase, one
question of Natural Questions and one of VQAv2. This locality is far, as in the paper; medical sets may add near one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from reground.benchmarks.builders.items import Item
from reground.benchmarks.builders.locality import Unrelated, pick_images, pick_texts
from reground.benchmarks.builders.paraphrase import Paraphrase
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe, Record, Text

__all__ = ["Chosen", "make_records"]


class Chosen(Record):
    """An item that the filter kept.

    Attributes:
        item: The item.
        filtered_by: The model that did not answer it rightly.
        said: Index of the option it gave instead; None if it gave none.
        paraphrase: Its question in other words.
    """

    item: Item
    filtered_by: Text
    said: int | None
    paraphrase: Paraphrase


def make_records(
    chosen: Sequence[Chosen],
    texts: Sequence[Unrelated],
    images: Sequence[Unrelated],
    folder: Path,
    *,
    seed: int,
    near: Mapping[str, Sequence[Unrelated]],
) -> tuple[list[Edit], list[Probe]]:
    """The edits, one for each item, and their probes; the same items, pools and seed give the same records.

    Args:
        chosen: The items, in order.
        texts: Questions without an image to sample from.
        images: Questions with an image to sample from.
        folder: Where the records will be, from which their image paths count.
        seed: Of the samples.
        near: Medical questions with an image to sample from, by the set they are from; each set adds a probe.
    """
    edits: list[Edit] = []
    probes: list[Probe] = []
    sampled = zip(pick_texts(texts, len(chosen), seed), pick_images(images, len(chosen), seed), strict=True)
    kept_near = {name: pick_images(pool, len(chosen), seed, name) for name, pool in near.items()}
    for place, (choice, (text, image)) in enumerate(zip(chosen, sampled, strict=True)):
        edit = _edit(choice, folder)
        edits.append(edit)
        probes += _probes(edit, choice.paraphrase.text, text, image, folder)
        for name, picked in kept_near.items():
            probes.append(_image_locality(edit, name, "near", picked[place], folder))
    return edits, probes


def _edit(choice: Chosen, folder: Path) -> Edit:
    item = choice.item
    right = item.options[item.answer]
    return Edit(
        subject=item.subject,
        relation=item.tier,
        modality="visual",
        question=item.question,
        image=_image(item.images, folder),
        new_answer=Answer(text=right),
        prior_answer=None if choice.said is None else Answer(text=item.options[choice.said]),
        statement=f"To the question {item.question!r} about this image, the right answer is {right}.",
        options=item.options,
        source=f"{item.source}; missed by {choice.filtered_by}; paraphrase by {choice.paraphrase.by}",
    )


def _probes(edit: Edit, paraphrase: str, text: Unrelated, image: Unrelated, folder: Path) -> Iterable[Probe]:
    new = Expectation(kind="answer", answer=edit.new_answer)
    for kind, level, question in (
        ("reliability", "exact", edit.question),
        ("generality", "text_rephrase", paraphrase),
    ):
        yield Probe.model_validate(
            {
                "edit_id": edit.id,
                "kind": kind,
                "level": level,
                "question": question,
                "image": edit.image,
                "expectation": new,
                "options": edit.options,
            }
        )
    yield Probe(
        edit_id=edit.id,
        kind="text_locality",
        level="natural_questions",
        distance="far",
        question=text.question,
        expectation=_unchanged(text),
    )
    yield _image_locality(edit, "vqav2", "far", image, folder)


def _image_locality(edit: Edit, level: str, distance: Literal["near", "far"], image: Unrelated, folder: Path) -> Probe:
    return Probe(
        edit_id=edit.id,
        kind="image_locality",
        level=level,
        distance=distance,
        question=image.question,
        image=_image((image.image,) if image.image is not None else (), folder),
        expectation=_unchanged(image),
    )


def _unchanged(unrelated: Unrelated) -> Expectation:
    first, *others = unrelated.answers
    return Expectation(kind="unchanged", answer=Answer(text=first, aliases=tuple(others)))


def _image(paths: Sequence[str], folder: Path) -> ImageRef:
    """Paths from where the records are, so that a moved tree keeps its ids."""
    return ImageRef(frames=tuple(Path(os.path.relpath(path, folder.absolute())).as_posix() for path in paths))
