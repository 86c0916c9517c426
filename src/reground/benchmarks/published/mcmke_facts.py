"""MC-MKE's fact edits: SRO, a fact about an entity told in text, and IRO, the same fact about what an image shows.

Either comes in one file of edits and several of tests, all JSON lines, joined by the number of the edit. An SRO edit is
checked for consistency by asking about an image of its entity, an IRO edit by asking about the entity by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of
from reground.benchmarks.published.formats import MCMKE_TEXT_EDITS
from reground.benchmarks.published.joined import Joined, Numbered, read_joined
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Answer, Edit, ImageRef, Probe, Text

__all__ = ["McmkeImageFactLoader", "McmkeTextFactLoader"]

_IMAGE_EDITS = "final_iro_edits_inputs.cloze.alias.explore3.locality.jsonl"

_SHARED_DEFECTS = (
    "the beginning of each file was read, no whole file; counts are the paper's.",
    "aliases are taken as published; among them are short codes ('fr', 'us') and headings of an encyclopaedia.",
    "locality asks about other edits of the same set, which matters to sequential editing.",
    "many targets are of another kind than the answer they replace: a language becomes a country.",
    "the first rewording of a question is the question itself; it is left to the exact probe.",
)


class _Fact(Numbered):
    """What both kinds of edit say: the old fact and its new end."""

    targets: ClassVar[frozenset[str]] = frozenset({"new_o"})

    s: Text
    r: Text
    o: Text
    new_o: Text
    new_o_alias: tuple[Text, ...] = ()


class _Kept(RawRecord):
    """A question of locality, and what is so."""

    orig_loc_output_ent: Text
    orig_loc_output_ent_alias: tuple[Text, ...] = ()

    @property
    def truth(self) -> Answer:
        return answer_of(self.orig_loc_output_ent, self.orig_loc_output_ent_alias)


class _TextPart(Numbered):
    key: ClassVar[str] = "sro_edit_input_idx"

    number: int = Field(validation_alias="sro_edit_input_idx")


class _TextFact(_TextPart, _Fact):
    question: Text
    para_question: Text | None = None


class _TextWordings(_TextPart):
    sro_question_paraphrases: tuple[Text, ...]


class _TextKept(_Kept):
    sro_question: Text


class _TextLocality(_TextPart):
    locality_test_dict: dict[str, _TextKept]


class _TextConsistency(_TextPart):
    consistency_data_image: Text
    consistency_data_irocloze: Text
    consistency_new_o: Text
    consistency_new_o_alias: tuple[Text, ...] = ()


_TEXT_FILES: dict[str, type[Numbered]] = {
    "final_sro_text_generality_test.jsonl": _TextWordings,
    "final_sro_test_locality.jsonl": _TextLocality,
    "final_sro_consistency.jsonl": _TextConsistency,
}


@dataclass(frozen=True)
class _Pictured:
    """An edit of a fact told in text, and the image its consistency is asked about."""

    whole: Joined[_TextFact]
    image: ImageRef | None


class McmkeTextFactLoader:
    """The files of ``edit_inputs/sro_edit``: their folder, or the file of edits with the others beside it."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        *_SHARED_DEFECTS,
        "a rewording in the file of edits (para_question) may begin with line breaks; they are taken off.",
        "the file of reliability tests asks the edit's own sentence to be completed; it is not read.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        main = path / MCMKE_TEXT_EDITS if path.is_dir() else path
        for whole in read_joined(reading, main, _TextFact, _TEXT_FILES):
            fact, follows = whole.record, whole.part(_TextConsistency)
            edit = Edit(
                subject=fact.s,
                relation=fact.r,
                modality="textual",
                question=fact.question,
                new_answer=answer_of(fact.new_o, fact.new_o_alias),
                prior_answer=answer_of(fact.o),
                statement=change_of(fact.question, fact.new_o, is_visual=False),
                source=f"MC-MKE SRO edit {fact.number}",
                split="test",
            )
            image = reading.image(follows.consistency_data_image) if follows is not None else None
            yield Item(edit, _Pictured(whole, image), tuple(whole.places))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        whole: Joined[_TextFact] = item.record.whole
        yield asking.expects("reliability", "exact", edit.question, None)
        worded = whole.part(_TextWordings)
        wordings = (whole.record.para_question, *(worded.sro_question_paraphrases if worded is not None else ()))
        for question in dict.fromkeys(wordings):
            if question is not None and question != edit.question:
                yield asking.expects("generality", "text_rephrase", question, None)
        if (kept := whole.part(_TextLocality)) is not None:
            for other in {one.sro_question: one for one in kept.locality_test_dict.values()}.values():
                yield asking.keeps("other_subject", "near", other.sro_question, None, other.truth)
        if (follows := whole.part(_TextConsistency)) is not None:
            yield asking.expects(
                "portability",
                "hop1.last",
                follows.consistency_data_irocloze,
                item.record.image,
                answer=answer_of(follows.consistency_new_o, follows.consistency_new_o_alias),
                intermediates=(answer_of(edit.subject),),
            )


class _ImagePart(Numbered):
    key: ClassVar[str] = "iro_edit_input_idx"

    number: int = Field(validation_alias="iro_edit_input_idx")


class _ImageFact(_ImagePart, _Fact):
    iro_question: Text
    images: Annotated[tuple[Text, ...], Field(min_length=1)]


class _ImageReliability(_ImagePart):
    image: Text


class _ImageWordings(_ImagePart):
    image: Text
    iro_question_paraphrases: tuple[Text, ...]


class _OtherImages(_ImagePart):
    generality_images: tuple[Text, ...]


class _ImageKept(_Kept):
    image: Text
    iro_question: Text


class _ImageLocality(_ImagePart):
    locality_test_dict: dict[str, _ImageKept]


class _ImageConsistency(_ImagePart):
    consistency_sro_cloze: Text
    new_o: Text
    new_o_alias: tuple[Text, ...] = ()


_IMAGE_FILES: dict[str, type[Numbered]] = {
    "final_iro_test_reliability.jsonl": _ImageReliability,
    "final_iro_text_generality.jsonl": _ImageWordings,
    "final_iro_image_generality.jsonl": _OtherImages,
    "final_iro_test_locality.jsonl": _ImageLocality,
    "final_iro_consistency.jsonl": _ImageConsistency,
}


class McmkeImageFactLoader:
    """The files of ``edit_inputs/iro_edit``: their folder, or the file of edits with the others beside it."""

    checksums: ClassVar[dict[str, str]] = {}
    known_defects = (
        *_SHARED_DEFECTS,
        "image paths are absolute paths of the authors' machine; --image-root maps them.",
        "consistency names the entity in the question, so that it passes through the entity says little.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        main = path / _IMAGE_EDITS if path.is_dir() else path
        for whole in read_joined(reading, main, _ImageFact, _IMAGE_FILES):
            fact, tested = whole.record, whole.part(_ImageReliability)
            edit = Edit(
                subject=fact.s,
                relation=fact.r,
                modality="visual",
                question=fact.iro_question,
                image=reading.image(tested.image if tested is not None else fact.images[0]),
                new_answer=answer_of(fact.new_o, fact.new_o_alias),
                prior_answer=answer_of(fact.o),
                statement=change_of(fact.iro_question, fact.new_o, is_visual=True),
                source=f"MC-MKE IRO edit {fact.number}",
                split="test",
            )
            yield Item(edit, whole, tuple(whole.places))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        whole: Joined[_ImageFact] = item.record
        yield asking.expects("reliability", "exact", edit.question, edit.image)
        if (worded := whole.part(_ImageWordings)) is not None:
            for question in dict.fromkeys(worded.iro_question_paraphrases):
                if question != edit.question:
                    yield asking.expects("generality", "text_rephrase", question, asking.image(worded.image))
        if (pictured := whole.part(_OtherImages)) is not None:
            for address in dict.fromkeys(pictured.generality_images):
                yield asking.expects("generality", "image_rephrase", edit.question, asking.image(address))
        if (kept := whole.part(_ImageLocality)) is not None:
            others = {(one.image, one.iro_question): one for one in kept.locality_test_dict.values()}
            for other in others.values():
                yield asking.keeps("other_subject", "near", other.iro_question, asking.image(other.image), other.truth)
        if (follows := whole.part(_ImageConsistency)) is not None:
            yield asking.expects(
                "portability",
                "hop1.last",
                follows.consistency_sro_cloze,
                None,
                answer=answer_of(follows.new_o, follows.new_o_alias),
                intermediates=(answer_of(edit.subject),),
            )
