"""MC-MKE's image edits (IE): what an image shows is another entity, and a fact about it follows (consistency).

One edit is spread over six files of JSON lines, joined by ``ie_edit_input_idx``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of
from reground.benchmarks.published.joined import Joined, Numbered, read_joined
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Edit, Probe, Text

__all__ = ["McmkeLoader"]

_EDITS = "final_ie_edit_input.jsonl"


class _Image(Numbered):
    key: ClassVar[str] = "ie_edit_input_idx"

    number: int = Field(validation_alias="ie_edit_input_idx")


class _Input(_Image):
    targets: ClassVar[frozenset[str]] = frozenset({"new_e_ent"})

    relation: Text
    e_ent: Text
    new_e_ent: Text
    new_e_ent_alias: tuple[Text, ...] = ()
    ie_question: Text
    images: Annotated[tuple[Text, ...], Field(min_length=1)]


class _Reliability(_Image):
    image: Text


class _TextGenerality(_Image):
    image: Text
    ie_question_paraphrases: tuple[Text, ...]


class _ImageGenerality(_Image):
    generality_images: tuple[Text, ...]


class _Kept(RawRecord):
    image: Text
    ie_question: Text
    orig_loc_ent: Text
    orig_loc_ent_alias: tuple[Text, ...] = ()


class _Locality(_Image):
    locality_test_dict: dict[str, _Kept]


class _Consistency(_Image):
    consistency_iro_image: Text
    consistency_iro_input_cloze: Text
    consistency_iro_output: Text
    consistency_iro_output_alias: tuple[Text, ...] = ()


_FILES: dict[str, type[Numbered]] = {
    "final_ie_edit_reliability_test.jsonl": _Reliability,
    "final_ie_test_text_generality.jsonl": _TextGenerality,
    "final_ie_test_image_generality.jsonl": _ImageGenerality,
    "final_ie_locality_test.jsonl": _Locality,
    "final_ie_test_consistency.jsonl": _Consistency,
}


class McmkeLoader:
    """The six files of ``edit_inputs/ie_edit``: their folder, or the file of edits with the others beside it."""

    checksums: ClassVar[dict[str, str]] = {
        _EDITS: "72b2f0e51347b9c405124739ca566984c502a73c03d40fb068571af954a38c79",
        "final_ie_edit_reliability_test.jsonl": "1e279d6c52d702de775a25f6c9e114826f9a942291d03d710f73ea13a5921116",
        "final_ie_locality_test.jsonl": "4dc4dd77c025801f879c53f437d1125a9f79f797019ea8e6b9b61108cc381c51",
        "final_ie_test_consistency.jsonl": "6bd90ca029478a1a0ab44a2afc3843c110119182677cca4b1fc303e05f13fec2",
        "final_ie_test_image_generality.jsonl": "2101e8e139e4939298378c1ad44807875fbd82e121c494963b47b8c09c36b581",
        "final_ie_test_text_generality.jsonl": "c1af2785427489149a8ca3d2e10fe8efbce36038bf14b457b5bb83602ee0e85f",
    }
    known_defects = (
        "locality asks about the images of other edits of the same set, which matters to sequential editing.",
        "the first rewording of a question is the question itself; it is left to the exact probe.",
        "image paths are absolute paths of the authors' machine; --image-root maps them.",
        "one entity is edited to several targets, each with its own record.",
        "aliases are taken as published; among them are short codes ('fr', 'us') that other words can hold.",
        "the SRO and IRO edits of the set are formats of their own: mcmke-sro and mcmke-iro.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        for whole in read_joined(reading, path / _EDITS if path.is_dir() else path, _Input, _FILES):
            yield Item(_edit(whole, reading), whole, tuple(whole.places))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit = Asking(item.edit), item.edit
        whole: Joined[_Input] = item.record
        yield asking.expects("reliability", "exact", edit.question, edit.image)
        if (worded := whole.part(_TextGenerality)) is not None:
            for question in dict.fromkeys(worded.ie_question_paraphrases):
                if question != edit.question:
                    image = asking.image(worded.image)
                    yield asking.expects("generality", "text_rephrase", question, image)
        if (pictured := whole.part(_ImageGenerality)) is not None:
            for address in dict.fromkeys(pictured.generality_images):
                yield asking.expects("generality", "image_rephrase", edit.question, asking.image(address))
        if (kept := whole.part(_Locality)) is not None:
            told: set[tuple[str, str]] = set()
            for other in kept.locality_test_dict.values():
                if (other.image, other.ie_question) not in told:
                    told.add((other.image, other.ie_question))
                    truth = answer_of(other.orig_loc_ent, other.orig_loc_ent_alias)
                    yield asking.keeps("other_subject", "near", other.ie_question, asking.image(other.image), truth)
        if (follows := whole.part(_Consistency)) is not None:
            answer = answer_of(follows.consistency_iro_output, follows.consistency_iro_output_alias)
            yield asking.expects(
                "portability",
                "hop1",
                follows.consistency_iro_input_cloze,
                asking.image(follows.consistency_iro_image),
                answer=answer,
                intermediates=(edit.new_answer,),
            )


def _edit(whole: Joined[_Input], reading: Reading) -> Edit:
    record, tested = whole.record, whole.part(_Reliability)
    return Edit(
        subject=record.e_ent,
        relation="entity",
        modality="visual",
        question=record.ie_question,
        image=reading.image(tested.image if tested is not None else record.images[0]),
        new_answer=answer_of(record.new_e_ent, record.new_e_ent_alias),
        prior_answer=answer_of(record.e_ent),
        statement=change_of(record.ie_question, record.new_e_ent, is_visual=True),
        source=f"MC-MKE image edit {record.number}",
        split="test",
    )
