"""The edit card: one edit as a library keeps it, with who says so, when and why."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Self

from pydantic import model_validator

from reground.edits.images import image_bytes, is_file_address
from reground.edits.names import as_name, normalised
from reground.edits.records import Answer, Edit, ImageRef, Modality, Record, Text, content_id

__all__ = [
    "PICTURE_FOLDER",
    "EditCard",
    "Picture",
    "Provenance",
    "card_id",
    "card_of",
    "contradict",
    "fact_key",
    "name_of",
    "question_key",
    "stored_form",
]

#: Where a library keeps the bytes of images that came as files, as an export writes them.
PICTURE_FOLDER = "images"

_STORED = re.compile(rf"{PICTURE_FOLDER}/(?P<digest>[0-9a-f]{{64}})\.[a-z0-9]{{1,5}}")
_PNG = b"\x89PNG"
_DATA_KIND = re.compile(r"data:image/([a-z0-9]{1,5})", re.IGNORECASE)


class Provenance(Record):
    """Where a card comes from.

    Attributes:
        who: Who entered it.
        when: When it was entered; None until a library takes it in, which writes the time.
        source: What it rests on: a guideline, a ticket, a benchmark.
        supersedes: Ids of the cards it takes the place of; they are withdrawn as it enters.
    """

    who: Text = "unspecified"
    when: datetime | None = None
    source: Text = "unspecified"
    supersedes: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _when_has_a_zone(self) -> Self:
        if self.when is not None and self.when.tzinfo is None:
            raise ValueError("a time with its offset from UTC, e.g. 2026-01-31T12:00:00Z")
        return self


class EditCard(Record):
    """One edit as a library keeps it and as a context editor states it.

    Attributes:
        statement: The change in one sentence.
        question: A question whose answer changes.
        new_answer: What holds from now on.
        prior_answer: What held before, where it is known.
        modality: ``visual`` if the subject is given by an image, else ``textual``.
        image: The image of a visual card.
        percept: What the unedited model itself says it sees in the image.
        belief: What the unedited model itself answered to the question, where it was asked.
        subject: What the fact is about, if it has a name.
        relation: Which fact about it.
        provenance: Who, when, on what grounds, in place of what.
    """

    statement: Text
    question: Text
    new_answer: Answer
    prior_answer: Answer | None = None
    modality: Modality
    image: ImageRef | None = None
    percept: Text | None = None
    belief: Answer | None = None
    subject: Text | None = None
    relation: Text | None = None
    provenance: Provenance = Provenance()

    @model_validator(mode="after")
    def _fields_fit_modality(self) -> Self:
        if (self.modality == "visual") != (self.image is not None):
            raise ValueError("a visual card carries an image; a textual card carries none")
        if self.percept is not None and self.image is None:
            raise ValueError("a percept says what is seen in the card's image; a textual card has none")
        return self


class Picture(Record):
    """One frame whose bytes a library keeps: its name in the stored card, and the bytes as they came."""

    name: str
    content: bytes


def card_of(
    edit: Edit, *, percept: str | None = None, belief: str | None = None, provenance: Provenance | None = None
) -> EditCard:
    """The card of an edit.

    Args:
        edit: The edit.
        percept: What the unedited model says it sees in its image.
        belief: What it answers to the edit's question.
        provenance: Where it comes from; the edit's own source if None.
    """
    return EditCard(
        statement=edit.statement,
        question=edit.question,
        new_answer=edit.new_answer,
        prior_answer=edit.prior_answer,
        modality=edit.modality,
        image=edit.image,
        percept=percept,
        belief=None if belief is None else Answer(text=belief),
        subject=edit.subject,
        relation=edit.relation,
        provenance=provenance or Provenance(source=edit.source),
    )


def card_id(card: EditCard) -> str:
    """An id that depends on what the card says and on what its image shows.

    Provenance, percept and belief are no part of it: the same fact entered twice, by two people or for two models, is
    one card.

    Raises:
        ImageError: The image is missing, or its address malformed.
    """
    content = card.model_dump(mode="json", exclude={"provenance", "percept", "belief", "image"})
    return content_id("c", {**content, "image": _frame_keys(card.image)})


def stored_form(card: EditCard) -> tuple[EditCard, tuple[Picture, ...]]:
    """The card with its image files named by their content, and those files.

    Rendered images stay addresses. A card in stored form stays as it is, and its pictures are read again if they are
    there.

    Raises:
        ImageError: An image file is missing or cannot be opened.
    """
    if card.image is None:
        return card, ()
    pictures: list[Picture] = []
    frames = []
    for address in card.image.frames:
        if not _holds_bytes(address):
            frames.append(address)
            continue
        content = image_bytes(address, card.image.folder)
        name = f"{PICTURE_FOLDER}/{hashlib.sha256(content).hexdigest()}.{_suffix(address, content)}"
        frames.append(name)
        pictures.append(Picture(name=name, content=content))
    return card.model_copy(update={"image": ImageRef(frames=tuple(frames))}), tuple(pictures)


def question_key(card: EditCard) -> str:
    """Equal for cards that ask the same of the same image."""
    return _short(normalised(card.question), *_frame_keys(card.image))


def fact_key(card: EditCard) -> str | None:
    """Equal for cards about the same fact of the same subject; None where the card does not name both."""
    if card.subject is None or card.relation is None:
        return None
    return _short(card.modality, normalised(card.subject), normalised(card.relation))


def name_of(card: EditCard) -> str:
    """What a card is called where it is read: the percept of a visual card, the subject of a textual one; or nothing.

    Longer ones than ``names_in`` looks for are no names.
    """
    return as_name(card.subject if card.image is None else card.percept)


def contradict(one: EditCard, other: EditCard) -> bool:
    """Whether two cards on the same question or fact cannot both hold: no spelling of their answers is shared."""
    spellings = [{normalised(text) for text in card.new_answer.spellings} for card in (one, other)]
    return not spellings[0] & spellings[1]


def _short(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _frame_keys(image: ImageRef | None) -> list[str]:
    if image is None:
        return []
    return [_frame_key(address, image.folder) for address in image.frames]


def _frame_key(address: str, folder: str | None) -> str:
    stored = _STORED.fullmatch(address)
    if stored is not None and folder is None:
        return stored["digest"]
    return hashlib.sha256(image_bytes(address, folder)).hexdigest() if _holds_bytes(address) else address


def _holds_bytes(address: str) -> bool:
    return is_file_address(address) or address[:5].lower() == "data:"


def _suffix(address: str, content: bytes) -> str:
    """How the kept file's name ends; what was written anew is PNG whatever the address says."""
    if content.startswith(_PNG):
        return "png"
    kind = _DATA_KIND.match(address)
    found = kind[1] if kind else PurePosixPath(address).suffix.removeprefix(".")
    return found.lower() if re.fullmatch(r"[A-Za-z0-9]{1,5}", found) else "img"
