"""VLKEB: what an image shows is named otherwise, and the new name is followed over one to four facts.

``pred`` is what the image shows and ``alt`` another name of the same kind, so every edit goes against the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from reground.benchmarks.published.base import (
    Asking,
    Item,
    answer_of,
    change_of,
    files_in,
    split_of,
)
from reground.benchmarks.published.mmedit import MmeditRecord, base_probes
from reground.benchmarks.published.reading import Reading
from reground.edits.records import Edit, Probe, Text

__all__ = ["Hop", "Question", "SecondFact", "VlkebLoader", "VlkebRecord", "entity_name", "named_edit"]

_FILES = ("train.json", "eval.json", "eval_edit_onehop.json", "eval_multihop.json")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Question(_Part):
    """A portability question and its answer."""

    question: Text = Field(validation_alias=AliasChoices("Question", "question"))
    answer: Text = Field(validation_alias=AliasChoices("Answer", "answer"))


class Hop(_Part):
    """One entry of ``port_new`` in ``eval_multihop.json``: so many facts lie between the new name and the answer."""

    port_type: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]?-hop$")]
    asked: Question = Field(validation_alias=AliasChoices("Q&A", "QA", "q&a"))

    @property
    def level(self) -> str:
        return f"hop{self.port_type.removesuffix('-hop')}"


class SecondFact(_Part):
    """One entry of ``port_new`` in ``eval_edit_onehop.json``: a fact about the new name, and the chain through both."""

    port_edit_q: Text
    port_edit_a: Text
    port_q: Text
    port_a: Text


class VlkebRecord(MmeditRecord):
    """MMEdit's keys and, in two of the files, the portability questions."""

    port_new: tuple[Hop | SecondFact, ...] = ()


def entity_name(label: str) -> str:
    """The name an image folder's label stands for: ``Denton,_Texas`` is Denton, Texas."""
    return " ".join(label.replace("_", " ").split()) or label


def named_edit(record: MmeditRecord, reading: Reading, source: str, split: str) -> Edit:
    """The edit that gives what an image shows another name."""
    prior = entity_name(record.pred)
    return Edit(
        subject=prior,
        relation="entity",
        modality="visual",
        question=record.src,
        image=reading.image(record.image),
        new_answer=answer_of(record.alt),
        prior_answer=answer_of(prior),
        statement=change_of(record.src, record.alt, is_visual=True),
        source=source,
        split=split,
    )


class VlkebLoader:
    """VLKEB's files: training, evaluation, one to four hops, and one hop with a second edit; one or a folder of them.

    The second edit of ``eval_edit_onehop.json`` is textual and stands in the split ``test_second``.
    """

    checksums: ClassVar[dict[str, str]] = {
        "eval_edit_onehop.json": "f32256e7c317d5a18c9fe480f3d373050303e93aeaedeef9c9b4afb5c024a670",
    }
    known_defects = (
        "a question often names a part of the target: 'Which New Jersey city is shown?' for Long Branch, New Jersey "
        "(`benchmarks validate` lists them).",
        "1,173 of the 3,174 evaluation edits, and 454 of the 1,278 with one hop, are of an entity that is trained on "
        "with the same target (counted by image folder on the published train.json): a trained editor can know them "
        "by heart; `benchmarks split` takes them out.",
        "1,100 images of image locality are in the training and in the evaluation file.",
        "portability questions come without the entities between and without aliases: only the new name is known to "
        "lie on the way.",
        "a target has one spelling, e.g. 'Mark Berger (sound engineer)'.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            split = split_of(file)
            for place, record in reading.records(file, VlkebRecord, counts=True):
                source = f"VLKEB {file.name}, record {place.index}"
                yield Item(named_edit(record, reading, source, split), record, (place,))
                for number, part in enumerate(record.port_new):
                    if isinstance(part, SecondFact):
                        second = _second_edit(record, part, f"{source}, second edit {number}", f"{split}_second")
                        yield Item(second, part, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, record = Asking(item.edit), item.record
        if isinstance(record, SecondFact):
            yield asking.expects("reliability", "exact", item.edit.question, None)
            return
        yield from base_probes(asking, record, far_image=None)
        for part in record.port_new:
            yield _portability(asking, part)


def _second_edit(record: VlkebRecord, part: SecondFact, source: str, split: str) -> Edit:
    return Edit(
        subject=record.alt,
        relation="fact",
        modality="textual",
        question=part.port_edit_q,
        new_answer=answer_of(part.port_edit_a),
        statement=change_of(part.port_edit_q, part.port_edit_a, is_visual=False),
        source=source,
        split=split,
    )


def _portability(asking: Asking, part: Hop | SecondFact) -> Probe:
    if isinstance(part, Hop):
        level, question, answer = part.level, part.asked.question, part.asked.answer
    else:
        level, question, answer = "hop1", part.port_q, part.port_a
    edit = asking.edit
    passed = (edit.new_answer,)
    return asking.expects("portability", level, question, edit.image, answer=answer_of(answer), intermediates=passed)
