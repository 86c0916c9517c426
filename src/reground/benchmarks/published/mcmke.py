"""MC-MKE's image edits (IE): what an image shows is another entity, and a fact about it follows (consistency).

One edit is spread over six files of JSON lines, joined by ``ie_edit_input_idx``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from reground.benchmarks.published.base import Asking, Item, answer_of, change_of
from reground.benchmarks.published.reading import Place, RawRecord, Reading
from reground.edits.records import Edit, ImageRef, Probe, Text

__all__ = ["McmkeLoader"]

_EDITS = "final_ie_edit_input.jsonl"


class _Input(RawRecord):
    targets: ClassVar[frozenset[str]] = frozenset({"new_e_ent"})

    ie_edit_input_idx: int
    relation: Text
    e_ent: Text
    new_e_ent: Text
    new_e_ent_alias: tuple[Text, ...] = ()
    ie_question: Text
    images: Annotated[tuple[Text, ...], Field(min_length=1)]


class _Joined(RawRecord):
    ie_edit_input_idx: int


class _Reliability(_Joined):
    image: Text


class _TextGenerality(_Joined):
    image: Text
    ie_question_paraphrases: tuple[Text, ...]


class _ImageGenerality(_Joined):
    generality_images: tuple[Text, ...]


class _Kept(RawRecord):
    image: Text
    ie_question: Text
    orig_loc_ent: Text
    orig_loc_ent_alias: tuple[Text, ...] = ()


class _Locality(_Joined):
    locality_test_dict: dict[str, _Kept]


class _Consistency(_Joined):
    consistency_iro_image: Text
    consistency_iro_input_cloze: Text
    consistency_iro_output: Text
    consistency_iro_output_alias: tuple[Text, ...] = ()


_FILES: dict[str, type[_Joined]] = {
    "final_ie_edit_reliability_test.jsonl": _Reliability,
    "final_ie_test_text_generality.jsonl": _TextGenerality,
    "final_ie_test_image_generality.jsonl": _ImageGenerality,
    "final_ie_locality_test.jsonl": _Locality,
    "final_ie_test_consistency.jsonl": _Consistency,
}
_J = TypeVar("_J", bound=_Joined)


class _Whole:
    """One edit with what the other files say of it; a file that is missing says nothing."""

    def __init__(self, record: _Input, parts: dict[type[_Joined], _Joined]) -> None:
        self.record = record
        self._parts = parts

    def part(self, kind: type[_J]) -> _J | None:
        found = self._parts.get(kind)
        return found if isinstance(found, kind) else None


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
        "the SRO and IRO edits of the set are not read yet.",
    )

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        folder = path if path.is_dir() else path.parent
        main = folder / _EDITS if path.is_dir() else path
        joined: dict[int, dict[type[_Joined], _Joined]] = {}
        places: dict[int, list[Place]] = {}
        edits: dict[int, tuple[Place, _Input]] = {}
        for place, record in reading.records(main, _Input, counts=True):
            if record.ie_edit_input_idx in edits:
                _refuse_twice(reading, place)
            else:
                edits[record.ie_edit_input_idx] = place, record
        refused = {error.line for error in reading.errors}
        for name, kind in _FILES.items():
            for place, part in reading.optional(folder / name, kind):
                key = part.ie_edit_input_idx
                if kind in joined.get(key, {}):
                    _refuse_twice(reading, place)
                elif key in edits:
                    joined.setdefault(key, {})[kind] = part
                    places.setdefault(key, []).append(place)
                elif not refused:  # a refused edit takes its tests with it; naming each would bury the cause
                    reading.refuse(place, "ie_edit_input_idx", f"no edit has the number {key}", "that of an edit")
        for key, (place, record) in edits.items():
            whole = _Whole(record, joined.get(key, {}))
            yield Item(_edit(whole, reading), whole, (place, *places.get(key, ())))

    def probes(self, item: Item) -> Iterator[Probe]:
        asking, edit, whole = Asking(item.edit), item.edit, item.record
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

    def shown(self, image: ImageRef) -> str | None:
        return None


def _edit(whole: _Whole, reading: Reading) -> Edit:
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
        source=f"MC-MKE image edit {record.ie_edit_input_idx}",
        split="test",
    )


def _refuse_twice(reading: Reading, place: Place) -> None:
    reading.refuse(place, "ie_edit_input_idx", "the number was given before", "each edit once a file")
