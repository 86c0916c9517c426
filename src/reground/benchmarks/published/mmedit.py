"""MMEdit's record, which most multimodal sets extend, and the two sets of MMEdit: E-VQA and E-IC.

One record is a question about an image, what the model said, what it is to say, a second wording, a second image, and
a question of either kind that has nothing to do with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import AliasChoices, Field

from reground.benchmarks.published.base import (
    Asking,
    Item,
    answer_of,
    change_of,
    file_name,
    files_in,
    split_of,
)
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Edit, Probe, Text

__all__ = ["MmeditLoader", "MmeditRecord", "base_probes", "plain_question"]

_TASK = re.compile(r"^nq question:\s*", re.IGNORECASE)
_FILES = ("vqa_train.json", "vqa_eval.json", "caption_train_edit.json", "caption_eval_edit.json")


class MmeditRecord(RawRecord):
    """The eleven keys of MMEdit.

    Attributes:
        src, rephrase: The question in two wordings.
        pred: What the model said before; in VLKEB the name of what the image shows.
        alt: What is to be said from now on.
        image, image_rephrase: The image, and another of the same content.
        loc, loc_ans: An unrelated question in text, and its answer.
        m_loc, m_loc_q, m_loc_a: An unrelated image, a question about it, and its answer.
    """

    targets: ClassVar[frozenset[str]] = frozenset({"alt"})

    src: Text
    rephrase: Text = Field(validation_alias=AliasChoices("rephrase", "rephrase_prompt"))
    pred: Text
    alt: Text
    image: Text
    image_rephrase: Text
    loc: Text
    loc_ans: Text
    m_loc: Text
    m_loc_q: Text
    m_loc_a: Text


def plain_question(text: str) -> str:
    """A question without the task tag that Natural Questions are stored with."""
    return _TASK.sub("", text) or text


def base_probes(asking: Asking, record: MmeditRecord, *, far_image: str | None) -> Iterator[Probe]:
    """What the eleven keys ask.

    Args:
        asking: Makes the probes.
        record: What the edit was read from.
        far_image: Level of the image locality if it is far from every edit; None if it is a question of the same kind
            about another subject, and so near.
    """
    edit = asking.edit
    other = asking.image(record.image_rephrase)
    yield asking.expects("reliability", "exact", edit.question, edit.image)
    yield asking.expects("generality", "text_rephrase", record.rephrase, edit.image)
    yield asking.expects("generality", "image_rephrase", edit.question, other)
    yield asking.expects("generality", "both", record.rephrase, other)
    yield asking.keeps("natural_questions", "far", plain_question(record.loc), None, answer_of(record.loc_ans))
    unrelated, truth = asking.image(record.m_loc), answer_of(record.m_loc_a)
    if far_image is None:
        yield asking.keeps("other_subject", "near", record.m_loc_q, unrelated, truth)
    else:
        yield asking.keeps(far_image, "far", record.m_loc_q, unrelated, truth)


class MmeditLoader:
    """E-VQA (``vqa_*.json``) and E-IC (``caption_*_edit.json``), a file or a folder of them."""

    checksums: ClassVar[dict[str, str]] = {
        "vqa_eval.json": "7299743ebe2854b240c6fe6f252fdb0c2ae3993ba2e5b23f07c6fee54ed1bcc0",
        "caption_eval_edit.json": "7c2215a419b82249c957abd12b850ef3c962d2de0d68f092c073f10bb63c2e83",
    }
    known_defects = (
        "E-VQA corrects what a model got wrong, so its targets are mostly what the image shows: few edits go against "
        "the image.",
        "289 of the 2,093 targets of E-VQA's evaluation file are yes or no, many others are numbers or colours, so a "
        "guess is often right.",
        "prior answers are those of one model (BLIP-2); another model may have said something else.",
        "4 records of E-VQA's evaluation file have a target that equals the prior answer.",
        "images for image generality were made by a diffusion model from the question or caption.",
        "some unrelated images are the image of another edit of the same file, which matters to sequential editing.",
        "E-IC asks for a free caption and gives one reference: an exact match is hardly to be had.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            is_caption, split = "caption" in file.stem.lower(), split_of(file)
            source = f"MMEdit {'E-IC' if is_caption else 'E-VQA'} {file.name}"
            for place, record in reading.records(file, MmeditRecord, counts=True):
                edit = Edit(
                    subject=file_name(record.image),
                    relation="caption" if is_caption else "visual question",
                    modality="visual",
                    question=record.src,
                    image=reading.image(record.image),
                    new_answer=answer_of(record.alt),
                    prior_answer=answer_of(record.pred),
                    statement=change_of(record.src, record.alt, is_visual=True),
                    source=f"{source}, record {place.index}",
                    split=split,
                )
                yield Item(edit, record, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        yield from base_probes(Asking(item.edit), item.record, far_image="ok_vqa")
