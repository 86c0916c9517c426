"""Small encoders and cards for tests of the library: quick, exact, and without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reground.edits.images import open_image
from reground.edits.records import Answer, ImageRef
from reground.library.card import EditCard, Provenance
from reground.library.encoders import Encoders, NgramEncoder

__all__ = ["MeanColour", "drug_card", "quick_encoders", "seen_card"]


class MeanColour:
    """An image as the direction of its mean colour."""

    spec = "mean-colour"
    num_dimensions = 3

    def __init__(self) -> None:
        self.num_encoded = 0

    def encode(self, images: Sequence[ImageRef]) -> NDArray[np.float32]:
        self.num_encoded += len(images)
        means = np.array([np.asarray(open_image(image)[0], dtype=np.float32).mean((0, 1)) for image in images])
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def quick_encoders() -> Encoders:
    return Encoders(NgramEncoder(), MeanColour())


def drug_card(
    condition: str, drug: str = "tarvexin", *, question: str | None = None, supersedes: tuple[str, ...] = ()
) -> EditCard:
    return EditCard(
        statement=f"The first drug for {condition} is now {drug}.",
        question=question or f"What is the first drug for {condition}?",
        new_answer=Answer(text=drug),
        modality="textual",
        subject=condition,
        relation="drug",
        provenance=Provenance(who="a pharmacist", source="guideline 7", supersedes=supersedes),
    )


def seen_card(image: str, condition: str = "velmora syndrome", question: str = "Which condition is shown?") -> EditCard:
    return EditCard(
        statement=f"This must now be read as {condition}.",
        question=question,
        new_answer=Answer(text=condition),
        modality="visual",
        image=ImageRef(frames=(image,)),
        percept="a ring in the kidney",
    )
