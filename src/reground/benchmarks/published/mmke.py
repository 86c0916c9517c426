"""MMKE-Bench: a text about an entity, a visual meaning or a user's own thing is the edit, and short questions test it.

An edit's new answer is the whole text. What is asked are the questions about single facts in it, with the image and in
text, and the same with another image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from reground.benchmarks.published.base import Asking, Item, answer_of, file_name, files_in, split_of
from reground.benchmarks.published.mmedit import MmeditRecord, plain_question
from reground.benchmarks.published.reading import Reading
from reground.benchmarks.published.vlkeb import Hop
from reground.edits.records import Edit, Probe, Text

__all__ = ["MmkeLoader"]

_KINDS = ("entity", "visual", "user")
_FILES = ("train.json", "eval.json", *(f"{kind}/{name}.json" for kind in _KINDS for name in ("train", "eval")))


def _answer(name: str, *, number: int) -> Text | None:
    spellings = AliasChoices(f"{name}_ans_{number}", f"{name}_{number}_ans")
    found: Text | None = Field(default=None, validation_alias=spellings)
    return found


class _Knowledge(MmeditRecord):
    pred: str = ""
    knowledge_type: Text
    rel: Text | None = None
    rel_ans: Text | None = None
    rel_1: Text | None = None
    rel_ans_1: Text | None = _answer("rel", number=1)
    rel_2: Text | None = None
    rel_ans_2: Text | None = _answer("rel", number=2)
    m_rel: Text | None = None
    m_rel_ans: Text | None = None
    m_rel_1: Text | None = None
    m_rel_ans_1: Text | None = _answer("m_rel", number=1)
    m_rel_2: Text | None = None
    m_rel_ans_2: Text | None = _answer("m_rel", number=2)
    image_rephrase_question: Text | None = None
    one_hop_img: Text | None = None
    port_new: tuple[Hop, ...] = ()

    @model_validator(mode="after")
    def _questions_are_answered(self) -> Self:
        pairs = (
            (self.rel, self.rel_ans),
            (self.rel_1, self.rel_ans_1),
            (self.rel_2, self.rel_ans_2),
            (self.m_rel, self.m_rel_ans),
            (self.m_rel_1, self.m_rel_ans_1),
            (self.m_rel_2, self.m_rel_ans_2),
        )
        if any((question is None) != (answer is None) for question, answer in pairs):
            raise ValueError(
                "each of rel, rel_1, rel_2, m_rel, m_rel_1, m_rel_2 comes with its answer, or neither does"
            )
        if not self.about_image:
            raise ValueError("a question about the image with its answer: m_rel, or m_rel_1 and m_rel_2")
        return self

    @property
    def about_image(self) -> tuple[tuple[str, str], ...]:
        """Questions that are asked with the image, and their answers."""
        return _answered(
            (self.m_rel, self.m_rel_ans), (self.m_rel_1, self.m_rel_ans_1), (self.m_rel_2, self.m_rel_ans_2)
        )

    @property
    def in_text(self) -> tuple[tuple[str, str], ...]:
        """Questions that are asked without an image, and their answers."""
        return _answered((self.rel, self.rel_ans), (self.rel_1, self.rel_ans_1), (self.rel_2, self.rel_ans_2))

    @property
    def about_other_image(self) -> tuple[tuple[str, str], ...]:
        """Questions that are asked with the second image: its own if it has one, else those of the first."""
        if self.image_rephrase_question is None or self.m_rel_ans is None:
            return self.about_image
        return ((self.image_rephrase_question, self.m_rel_ans),)


def _answered(*pairs: tuple[str | None, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((question, answer) for question, answer in pairs if question is not None and answer is not None)


class MmkeLoader:
    """``train.json`` and ``eval.json`` of ``entity/``, ``visual/`` and ``user/``: a file, a folder, or all of them."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "no real file was read: the layout is that of the authors' loader.",
        "targets are texts of a paragraph; src and rephrase ask for the whole text and are not asked, since no answer "
        "would match it.",
        "how many images there are is stated as 8,363 in the paper and as 7,229 in the README.",
        "portability questions come without the entities between: only the text is known to lie on the way.",
        "the subject of an edit is told by the name of its image only.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            for place, record in reading.records(file, _Knowledge, counts=True):
                edit = Edit(
                    subject=file_name(record.image),
                    relation=record.knowledge_type,
                    modality="visual",
                    question=record.src,
                    image=reading.image(record.image),
                    new_answer=answer_of(record.alt),
                    prior_answer=answer_of(record.pred) if record.pred.strip() else None,
                    statement=record.alt,
                    source=f"MMKE-Bench {file.parent.name}/{file.name}, record {place.index}",
                    split=split_of(file),
                )
                yield Item(edit, record, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        record: _Knowledge = item.record
        for question, answer in record.about_image:
            yield asking.expects("reliability", "exact", question, edit.image, answer=answer_of(answer))
        for question, answer in record.in_text:
            yield asking.expects("reliability", "exact", question, None, answer=answer_of(answer))
        other = asking.image(record.image_rephrase)
        for question, answer in record.about_other_image:
            yield asking.expects("generality", "image_rephrase", question, other, answer=answer_of(answer))
        yield asking.keeps("unrelated_text", "far", plain_question(record.loc), None, answer_of(record.loc_ans))
        unrelated = asking.image(record.m_loc)
        yield asking.keeps("other_subject", "near", record.m_loc_q, unrelated, answer_of(record.m_loc_a))
        image = edit.image if record.one_hop_img is None else asking.image(record.one_hop_img)
        for part in record.port_new:
            yield asking.expects(
                "portability",
                part.level,
                part.asked.question,
                image,
                answer=answer_of(part.asked.answer),
                intermediates=(edit.new_answer,),
            )
