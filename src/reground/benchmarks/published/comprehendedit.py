"""ComprehendEdit: eight kinds of visual question from five sets, corrected where two models were wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AliasChoices, BeforeValidator, Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of, file_name, files_in, split_of
from reground.benchmarks.published.mmedit import plain_question
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Edit, Probe, Text

__all__ = ["ComprehendEditLoader"]

_FILES = ("ComprehendEdit_train.json", "ComprehendEdit_test.json")


def _as_text(value: object) -> object:
    """A number as text: counts are answers too. True and false are no numbers here."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Written = Annotated[Text, BeforeValidator(_as_text)]


class _Question(RawRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"answer"})

    pid: _Written
    image: Text
    question: Text
    rephrase: Text = Field(validation_alias=AliasChoices("rephrase", "rephrase_prompt"))
    answer: _Written
    source: Text
    category: Text = Field(validation_alias=AliasChoices("Category", "category"))
    locality_prompt: Text
    locality_ground_truth: _Written
    multimodal_locality_image: Text
    multimodal_locality_prompt: Text
    multimodal_locality_ground_truth: _Written


class ComprehendEditLoader:
    """``ComprehendEdit_train.json`` and ``ComprehendEdit_test.json``, one of them or their folder."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "no real file was read: the layout is that of the authors' loader.",
        "that loader sets the true answer of text locality to the question itself; here it is the answer given in "
        "locality_ground_truth.",
        "targets are what the image shows, so few edits go against the image; there is no second image.",
        "in the README's table of tasks by split, the row labels do not agree with the totals.",
        "the nearest and farthest questions of each test record (img_topk and others, and "
        "ComprehendEdit_ori_right.json), which the set's own two measures need, are not read.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            for place, record in reading.records(file, _Question, counts=True):
                edit = Edit(
                    subject=file_name(record.image),
                    relation=record.category,
                    modality="visual",
                    question=record.question,
                    image=reading.image(record.image),
                    new_answer=answer_of(record.answer),
                    statement=change_of(record.question, record.answer, is_visual=True),
                    source=f"ComprehendEdit {file.name}, record {place.index} ({record.source}, {record.pid})",
                    split=split_of(file),
                )
                yield Item(edit, record, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        record: _Question = item.record
        yield asking.expects("reliability", "exact", edit.question, edit.image)
        yield asking.expects("generality", "text_rephrase", record.rephrase, edit.image)
        told = answer_of(record.locality_ground_truth)
        yield asking.keeps("unrelated_text", "far", plain_question(record.locality_prompt), None, told)
        yield asking.keeps(
            "unrelated_image",
            "far",
            record.multimodal_locality_prompt,
            asking.image(record.multimodal_locality_image),
            answer_of(record.multimodal_locality_ground_truth),
        )
