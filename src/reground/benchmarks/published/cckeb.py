"""CCKEB: VLKEB's edit of what an image shows, a textual edit about the new name, and a question that needs both.

The textual edit is a companion of the visual one: it is put in force before it, in the same step. It also stands as an
edit of its own in the split ``test_second``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of, files_in, split_of
from reground.benchmarks.published.mmedit import MmeditRecord, base_probes, plain_question
from reground.benchmarks.published.reading import Reading
from reground.benchmarks.published.vlkeb import Question, named_edit
from reground.edits.records import Edit, Probe, Text

__all__ = ["CckebLoader"]

_FILES = ("CCKEB_train.json", "CCKEB_eval.json")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Answers = Annotated[tuple[Text, ...], BeforeValidator(_as_list), Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Composed(_Part):
    """A question whose answer needs both edits."""

    port_type: Literal["comp"]
    asked: Question = Field(validation_alias=AliasChoices("Q&A", "QA", "q&a"))


class _TextualEdit(_Part):
    """A fact about the new name; an answer is a text or a list of texts, the first of which is the answer."""

    src: Text
    rephrase: Text = Field(validation_alias=AliasChoices("rephrase", "rephrase_prompt"))
    pred: _Answers
    alt: _Answers
    loc: Text
    loc_ans: Text
    port_new: tuple[_Composed, ...] = ()


class _CckebRecord(MmeditRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"alt", "textual_edit.alt"})

    port_new: tuple[_Composed, ...] = ()
    textual_edit: _TextualEdit


class CckebLoader:
    """``CCKEB_train.json`` and ``CCKEB_eval.json``, one of them or their folder."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        "no real file was read: the layout is that of the authors' loader and of the scripts that wrote the files.",
        "the visual edits are VLKEB's and have its defects: questions that name a part of the target, and entities "
        "that are trained on with the same target.",
        "a composed question stands under the visual edit, the textual one under both; each is asked once.",
        "the decomposed questions (src_q, rephrase_q, m_loc_q_q, Query), which one method is given, are not read.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for file in files_in(path, _FILES):
            split = split_of(file)
            for place, record in reading.records(file, _CckebRecord, counts=True):
                source = f"CCKEB {file.name}, record {place.index}"
                textual = _textual_edit(record, f"{source}, textual edit", f"{split}_second")
                yield Item(named_edit(record, reading, source, split), record, (place,), companions=(textual,))
                yield Item(textual, record.textual_edit, (place,))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, record = Asking(item.edit), item.record
        if isinstance(record, _TextualEdit):
            yield from _textual_probes(asking, record)
            return
        yield from base_probes(asking, record, far_image=None)
        yield from _composed_probes(asking, (*record.port_new, *record.textual_edit.port_new))


def _textual_edit(record: _CckebRecord, source: str, split: str) -> Edit:
    fact = record.textual_edit
    return Edit(
        subject=record.alt,
        relation="fact",
        modality="textual",
        question=fact.src,
        new_answer=answer_of(fact.alt[0], fact.alt[1:]),
        prior_answer=answer_of(fact.pred[0], fact.pred[1:]),
        statement=change_of(fact.src, fact.alt[0], is_visual=False),
        source=source,
        split=split,
    )


def _textual_probes(asking: Asking, fact: _TextualEdit) -> Iterator[Probe]:
    yield asking.expects("reliability", "exact", fact.src, None)
    yield asking.expects("generality", "text_rephrase", fact.rephrase, None)
    yield asking.keeps("natural_questions", "far", plain_question(fact.loc), None, answer_of(fact.loc_ans))


def _composed_probes(asking: Asking, parts: Iterable[_Composed]) -> Iterator[Probe]:
    for asked in {part.asked.question: part.asked for part in parts}.values():
        yield asking.expects(
            "portability",
            "hop1.composed",
            asked.question,
            asking.edit.image,
            answer=answer_of(asked.answer),
            intermediates=(asking.edit.new_answer,),
        )
