"""EVOKE (MMEVOKE): news and new entities, injected as a text about an image and asked about with another image.

The texts are in one file and the questions in another, joined by the place of the text in its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of, file_name
from reground.benchmarks.published.reading import Place, RawRecord, Reading
from reground.edits.records import Edit, ImageRef, Probe, Text

__all__ = ["EvokeLoader"]

_TEXTS = "evoke_injection_data.json"
_QUESTIONS = "evoke_evaluation_data.jsonl"
_INSTRUCTION = re.compile(r"\s*Answer the question using a single word or phrase\.\s*$", re.IGNORECASE)
_IMAGE_MARK = re.compile(r"\s*<image>\s*", re.IGNORECASE)
_NUMBERED_FILE = re.compile(r"(_\d+)?\.\w+$")


def _unquoted(value: object) -> object:
    """A text without the instruction at its end and the quotation marks around it."""
    if not isinstance(value, str):
        return value
    bare = _INSTRUCTION.sub("", value).strip()
    return bare[1:-1] if len(bare) > 2 and bare[0] == bare[-1] and bare[0] in "'\"" else bare


_Bare = Annotated[Text, BeforeValidator(_unquoted)]


class _Asked(RawRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"answer"})

    question_id: int
    image: Text
    text: _Bare
    answer: _Bare
    type: Text
    cnn_wiki_type: Text
    ground_truth: tuple[int, ...] = ()

    @property
    def place_of_text(self) -> int:
        """Index of the text in its file: stated in the files for retrieval, else one less than the question's id."""
        return self.ground_truth[0] if self.ground_truth else self.question_id - 1


class _Turn(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    value: Text


class _Injected(RawRecord):
    image: Text
    conversations: Annotated[tuple[_Turn, ...], Field(min_length=2)]

    @property
    def request(self) -> str:
        return _IMAGE_MARK.sub(" ", self.conversations[0].value).strip() or self.conversations[0].value

    @property
    def knowledge(self) -> str:
        return self.conversations[1].value


@dataclass(frozen=True)
class _Tested:
    """A question, and whether the text it belongs to was read."""

    asked: _Asked
    image: ImageRef
    is_injected: bool


class EvokeLoader:
    """The file of questions with the file of texts beside it, or the folder of both.

    Without the texts an edit is the question itself with the image it is asked about.
    """

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "the beginning of a released file with the questions was read, no whole file; the file of texts is read by the "
        "layout of the released scripts.",
        "a question is published with another image than its text; asking it with the image of the text as well is an "
        "addition.",
        "some questions and answers stand in quotation marks, which are taken off, as is the instruction to answer "
        "with a word or phrase.",
        "there is neither locality nor a rewording nor portability.",
        "some questions do not need their image ('Which form is required for animals to enter the US ...').",
        "an answer has one spelling; the authors count an answer that contains it.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        file = path / _QUESTIONS if path.is_dir() else path
        texts = {place.index: (place, text) for place, text in reading.optional(file.parent / _TEXTS, _Injected)}
        is_whole = not reading.errors
        for place, asked in reading.records(file, _Asked, counts=True):
            place_of_text, text = texts.get(asked.place_of_text, (None, None))
            if texts and text is None:
                if is_whole:
                    problem = f"no text stands at the place {asked.place_of_text} of {_TEXTS}"
                    reading.refuse(place, "question_id", problem, "the place of a text, counted from 0, plus 1")
                continue
            image = reading.image(asked.image)
            edit = _edit(asked, text, image if text is None else reading.image(text.image), f"EVOKE {file.name}", place)
            places = (place,) if place_of_text is None else (place, place_of_text)
            yield Item(edit, _Tested(asked, image, text is not None), places)

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, tested = Asking(item.edit), item.record
        question, answer = tested.asked.text, answer_of(tested.asked.answer)
        yield asking.expects("reliability", "exact", question, item.edit.image, answer=answer)
        if tested.is_injected:
            yield asking.expects("generality", "image_rephrase", question, tested.image, answer=answer)


def _edit(asked: _Asked, text: _Injected | None, image: ImageRef, source: str, place: Place) -> Edit:
    name = file_name(asked.image)
    subject = _NUMBERED_FILE.sub("", name).replace("_", " ").strip() or name
    if text is None:
        question, answer = asked.text, asked.answer
        statement = change_of(question, answer, is_visual=True)
    else:
        question, answer, statement = text.request, text.knowledge, text.knowledge
    return Edit(
        subject=subject,
        relation=asked.type,
        modality="visual",
        question=question,
        image=image,
        new_answer=answer_of(answer),
        statement=statement,
        source=f"{source}, record {place.index} ({asked.cnn_wiki_type})",
        split="test",
    )
