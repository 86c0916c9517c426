"""FGVEdit: one thing in an image is edited, and what is asked beside it is about the same image.

A fine-grained question of generality is about the edited thing; one of locality is about another thing in the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import AliasChoices, Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of, file_name, files_in, split_of
from reground.benchmarks.published.mmedit import plain_question
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Edit, Probe, Text

__all__ = ["FgveditLoader"]

_FILES = ("train_data.json", "test_data.json")


class _FineRecord(RawRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"alt"})

    src: Text
    rephrase: Text = Field(validation_alias=AliasChoices("rephrase", "rephrase_prompt"))
    alt: Text
    image: Text
    loc: Text
    loc_ans: Text
    fg_gen_q: Text
    fg_gen_a: Text
    fg_loc_q: Text
    fg_loc_a: Text


class FgveditLoader:
    """``train_data.json`` and ``test_data.json``, one of them or their folder."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "no real file was read: the layout is that of the authors' loader and README.",
        "prior answers are not read: the loader does not use any.",
        "a fine-grained question of generality is taken as portability over one hop, unless its answer is the target: "
        "then it is a rewording.",
        "there is no second image, so image generality is not tested.",
        "the loader passes over records with an empty target; here they are reported.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            for place, record in reading.records(file, _FineRecord, counts=True):
                edit = Edit(
                    subject=file_name(record.image),
                    relation="visual question",
                    modality="visual",
                    question=record.src,
                    image=reading.image(record.image),
                    new_answer=answer_of(record.alt),
                    statement=change_of(record.src, record.alt, is_visual=True),
                    source=f"FGVEdit {file.name}, record {place.index}",
                    split=split_of(file),
                )
                yield Item(edit, record, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        record: _FineRecord = item.record
        yield asking.expects("reliability", "exact", edit.question, edit.image)
        yield asking.expects("generality", "text_rephrase", record.rephrase, edit.image)
        if record.fg_gen_a.casefold() == record.alt.casefold():
            yield asking.expects("generality", "text_rephrase", record.fg_gen_q, edit.image)
        else:
            yield asking.expects(
                "portability",
                "hop1",
                record.fg_gen_q,
                edit.image,
                answer=answer_of(record.fg_gen_a),
                intermediates=(edit.new_answer,),
            )
        yield asking.keeps("natural_questions", "far", plain_question(record.loc), None, answer_of(record.loc_ans))
        yield asking.keeps("same_image", "near", record.fg_loc_q, edit.image, answer_of(record.fg_loc_a))
