"""MultiMedBench's own records: medical questions with lettered options about one image or several frames.

The target is the option's letter, as in the paper; the option's text counts as the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AliasChoices, Field, StringConstraints, model_validator

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of, file_name, files_in
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Edit, ImageRef, Probe, Text

__all__ = ["MultiMedBenchLoader"]

_FILES = ("filtered_data.json",)
#: The file begins with so many understanding questions; reasoning questions follow (released evaluation scripts).
_NUM_UNDERSTANDING = 1355
_Letter = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z]$")]


class _MedRecord(RawRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"label_ans"})

    id: int | Text | None = None
    question: Text
    rephrased: Text = Field(validation_alias=AliasChoices("rephase_question", "rephrase_question"))
    options: Annotated[dict[_Letter, Text], Field(min_length=2)]
    label_ans: _Letter
    images: tuple[Text, ...] = ()
    t_loc_q: Text
    t_loc_ans: Text
    m_loc_img: Text
    m_loc_q: Text
    m_loc_ans: Text

    @model_validator(mode="after")
    def _letters_fit(self) -> Self:
        letters = [letter.upper() for letter in self.options]
        if sorted(letters) != [chr(ord("A") + index) for index in range(len(letters))]:
            raise ValueError("options are lettered A, B, C, ... without a gap")
        if self.label_ans.upper() not in letters:
            raise ValueError("label_ans is the letter of one of the options")
        return self

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.options[letter] for letter in sorted(self.options, key=str.upper))

    @property
    def right(self) -> str:
        return self.choices[ord(self.label_ans.upper()) - ord("A")]


@dataclass(frozen=True)
class _Placed:
    """A record and the image of its locality question; an edit without an image cannot tell where images are."""

    record: _MedRecord
    unrelated: ImageRef


class MultiMedBenchLoader:
    """``filtered_data.json``, or its folder. A record without images is a textual edit."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "no real file was read: the records are not released, and the layout is that of the released scripts.",
        f"the tier is told by the place in the file only: the first {_NUM_UNDERSTANDING:,} records are understanding, "
        "the rest reasoning; in a part of the file it is wrong.",
        "targets are letters with the options in the prompt: one guess in about four is right.",
        "the items are those one medical model got wrong; another model may know them already.",
        "locality is general-domain only, and there is neither image generality nor portability.",
        "medical images and those of VQAv2 lie in two folders; --image-root is one folder with both.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            for place, record in reading.records(file, _MedRecord, counts=True):
                name = place.index if record.id is None else record.id
                image = reading.image(*record.images) if record.images else None
                letter = record.label_ans.upper()
                edit = Edit(
                    subject=file_name(record.images[0]) if record.images else f"question {name}",
                    relation="understanding" if place.index < _NUM_UNDERSTANDING else "reasoning",
                    modality="textual" if image is None else "visual",
                    question=record.question,
                    image=image,
                    new_answer=answer_of(letter, (record.right,)),
                    statement=change_of(record.question, f"{letter}: {record.right}", is_visual=image is not None),
                    options=record.choices,
                    source=f"MultiMedBench {file.name}, record {place.index} ({name})",
                    split="test",
                )
                yield Item(edit, _Placed(record, reading.image(record.m_loc_img)), (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        record: _MedRecord = item.record.record
        yield asking.expects("reliability", "exact", edit.question, edit.image)
        yield asking.expects("generality", "text_rephrase", record.rephrased, edit.image)
        yield asking.keeps("natural_questions", "far", record.t_loc_q, None, answer_of(record.t_loc_ans))
        yield asking.keeps("vqav2", "far", record.m_loc_q, item.record.unrelated, answer_of(record.m_loc_ans))
