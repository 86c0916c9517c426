"""General-domain questions that an edit must leave alone: Natural Questions for text, VQAv2 for images."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from reground.benchmarks.builders.items import read_json, read_json_lines
from reground.edits.records import Record, Text, is_blank
from reground.errors import InputError

__all__ = ["Unrelated", "pick_images", "pick_texts", "read_natural_questions", "read_vqav2", "vqav2_files"]

_VQAV2 = ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json")


class Unrelated(Record):
    """A question with its answers, the first one first, and its image if it has one."""

    question: Text
    answers: tuple[Text, ...]
    image: Text | None = None


def read_natural_questions(path: Path) -> tuple[Unrelated, ...]:
    """The questions of a file: ``{"questions": [...], "answers": [...]}``, or JSONL with ``question`` and ``answer``.

    Entries without a question or an answer are left out.

    Raises:
        InputError: The file cannot be read, or holds no question.

    Source:
        Kwiatkowski et al., 2019; the first layout is MMEdit's, the second NQ-Open's.
    """
    if path.suffix == ".jsonl":
        pairs = [
            (row.get("question"), row.get("answer")) for _, row in read_json_lines(path) if isinstance(row, Mapping)
        ]
    else:
        value = read_json(path)
        if not isinstance(value, Mapping) or not all(isinstance(value.get(k), list) for k in ("questions", "answers")):
            raise _no_questions(path, 'an object with the lists "questions" and "answers", or a .jsonl file')
        pairs = list(zip(value["questions"], value["answers"], strict=False))
    found = tuple(
        Unrelated(question=question.strip(), answers=answers)
        for question, given in pairs
        if _is_said(question) and (answers := _answers(given))
    )
    if not found:
        raise _no_questions(path, "questions with answers")
    return found


def read_vqav2(folder: Path) -> tuple[Unrelated, ...]:
    """The questions of VQAv2's validation part; images are looked for when some are picked.

    Layout: the two JSON files as published, images in ``val2014/``.

    Raises:
        InputError: A file is missing, cannot be read, or holds no question.

    Source:
        Goyal et al., 2017, hosted at visualqa.org.
    """
    questions, annotations = (
        _listed(path, key) for path, key in zip(vqav2_files(folder), ("questions", "annotations"), strict=True)
    )
    answer_of = {str(entry.get("question_id")): entry.get("multiple_choice_answer") for entry in annotations}
    found = []
    for entry in questions:
        answer, question, image = (
            answer_of.get(str(entry.get("question_id"))),
            entry.get("question"),
            entry.get("image_id"),
        )
        if _is_said(answer) and _is_said(question) and isinstance(image, int):
            path = folder / "val2014" / f"COCO_val2014_{image:012d}.jpg"
            found.append(Unrelated(question=question, answers=(answer,), image=str(path.absolute())))
    if not found:
        raise _no_questions(folder, "questions with answers")
    return tuple(found)


def vqav2_files(folder: Path) -> tuple[Path, ...]:
    """The files that ``read_vqav2`` reads."""
    return tuple(folder / name for name in _VQAV2)


def pick_texts(pool: Sequence[Unrelated], num_picked: int, seed: int) -> list[Unrelated]:
    """So many questions, none twice before all were taken once."""
    shuffled = random.Random(f"text/{seed}").sample(pool, len(pool))
    return [shuffled[position % len(pool)] for position in range(num_picked)]


def pick_images(pool: Sequence[Unrelated], num_picked: int, seed: int, name: str = "vqav2") -> list[Unrelated]:
    """As ``pick_texts``, of the questions whose image is there.

    Args:
        pool: The questions.
        num_picked: How many to pick.
        seed: Of the sample.
        name: The set they are from.

    Raises:
        InputError: No image is.
    """
    there: list[Unrelated] = []
    for unrelated in random.Random(f"image/{seed}").sample(pool, len(pool)):
        if len(there) == num_picked:
            break
        if unrelated.image is not None and Path(unrelated.image).is_file():
            there.append(unrelated)
    if num_picked and not there:
        raise InputError(
            f"none of the images of {name} is there, e.g. {pool[0].image!r}.",
            "the images in the folder the set is published with, e.g. val2014/ of COCO for vqav2",
            "download them and unpack them there.",
        )
    return [there[position % len(there)] for position in range(num_picked)]


def _answers(given: Any) -> tuple[str, ...]:
    many = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return tuple(dict.fromkeys(text.strip() for text in many if _is_said(text)))


def _is_said(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and not is_blank(value)


def _listed(path: Path, key: str) -> list[dict[str, Any]]:
    value = read_json(path)
    entries = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _no_questions(path, f"an object with the list {key!r}")
    return entries


def _no_questions(path: Path, accepted: str) -> InputError:
    return InputError(
        f"{str(path)!r} holds no questions to sample from.", accepted, "check the path, or download the file again."
    )
