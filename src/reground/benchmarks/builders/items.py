"""A multiple-choice question about an image, as it comes out of a published set, before it becomes an edit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from reground.edits.misfits import kind_of, misfit_words, shown
from reground.edits.records import Record, Text
from reground.errors import InputError, RecordError

__all__ = [
    "Item",
    "ItemDefect",
    "SourceScan",
    "Tier",
    "field_of",
    "find_image",
    "listed_options",
    "option_at",
    "read_json",
    "read_json_lines",
    "scan_entries",
]

#: What MultiMedBench calls its two halves.
Tier = Literal["understanding", "reasoning"]

_LETTER_PREFIX = re.compile(r"^\s*\(?([A-Z])\s*[:.)]\s*(.*)$", re.DOTALL)


class Item(Record):
    """One question with its images and options.

    Attributes:
        id: Set, file and place within it; the same on every machine.
        source: The set and the place, for a person.
        tier: Which half of MultiMedBench it belongs to.
        subject: What it is about, as far as the set says; else the name of its first image.
        question: The question, without the options.
        options: The options, without letters.
        answer: Index of the right one.
        images: Paths of the images, in order.
    """

    id: Text
    source: Text
    tier: Tier
    subject: Text
    question: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2, max_length=26)]
    answer: Annotated[int, Field(ge=0)]
    images: Annotated[tuple[Text, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> Item:
        if self.answer >= len(self.options):
            raise ValueError(f"one of the {len(self.options)} options as the right one")
        if len({" ".join(option.casefold().split()) for option in self.options}) < len(self.options):
            raise ValueError("options that all differ")
        return self


@dataclass(frozen=True)
class SourceScan:
    """What a published set holds, sound and unsound.

    Attributes:
        items: The sound items, in file order.
        errors: One error for every entry that is left out.
        files: The files they were read from.
    """

    items: tuple[Item, ...]
    errors: tuple[RecordError, ...]
    files: tuple[Path, ...]


class ItemDefect(Exception):
    """An entry does not fit: the field, what is wrong with it, and what would have been accepted."""

    def __init__(self, field: str, problem: str, accepted: str) -> None:
        super().__init__(field, problem, accepted)
        self.field = field
        self.problem = problem
        self.accepted = accepted


def scan_entries(
    path: Path,
    entries: Iterable[tuple[int, Any]],
    read: Callable[[int, Mapping[str, Any]], Mapping[str, Any]],
    seen: dict[Hashable, str] | None = None,
) -> SourceScan:
    """The items of one file; an entry that does not fit is reported with file, place and field.

    Args:
        path: The file.
        entries: Its entries with their places: line numbers, or positions from 1.
        read: The fields of an ``Item`` from an entry; raises ``ItemDefect``.
        seen: What earlier files of the same set held, and where; added to.
    """
    items, errors = [], []
    seen = {} if seen is None else seen
    for place, entry in entries:
        try:
            if not isinstance(entry, Mapping):
                raise ItemDefect("", f"the entry is {kind_of(entry)}", "an object with named fields")
            item = Item.model_validate(read(place, entry))
            for key, what in ((item.id, "id"), ((item.question, item.options, item.images), "question")):
                if key in seen:
                    raise ItemDefect(what, f"it is the same as at {seen[key]}", f"each {what} once")
            seen |= dict.fromkeys((item.id, (item.question, item.options, item.images)), f"{path.name}, entry {place}")
            items.append(item)
        except ItemDefect as defect:
            errors.append(_located(path, place, defect.field, defect.problem, defect.accepted))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = str(first["loc"][0]) if first["loc"] else "options"
            errors.append(_located(path, place, field, misfit_words(Item, first), "a question with its right option"))
    return SourceScan(tuple(items), tuple(errors), (path,))


def _located(path: Path, place: int, field: str, problem: str, accepted: str) -> RecordError:
    named = f", field {field!r}" if field else ""
    return RecordError(
        f"{path}, entry {place}{named}: {problem}.",
        accepted,
        "correct the entry, or leave it out; the others are read.",
        file=str(path),
        line=place,
        field=field or None,
    )


def field_of(entry: Mapping[str, Any], *names: str) -> str:
    """Text of the first of several spellings of a field that an entry has.

    Raises:
        ItemDefect: It has none of them, or what it has is no text.
    """
    for name in names:
        if name in entry and entry[name] is not None:
            value = entry[name]
            if not isinstance(value, str) or not value.strip():
                raise ItemDefect(name, f"it is {shown(value)}", "text that is not empty")
            return value.strip()
    raise ItemDefect(names[0], "the field is missing", " or ".join(repr(name) for name in names))


def listed_options(options: Sequence[str]) -> tuple[str, ...]:
    """Options without their letters, if each begins with its own ("A:", "B.", "(C)")."""
    found = [_LETTER_PREFIX.match(option) for option in options]
    if options and all(
        match is not None and match[1] == chr(ord("A") + i) and match[2].strip() for i, match in enumerate(found)
    ):
        return tuple(match[2].strip() for match in found if match is not None)
    return tuple(option.strip() for option in options)


def option_at(field: str, answer: str, options: Sequence[str]) -> int:
    """Index of the right option, given as a letter or as the option's text.

    Raises:
        ItemDefect: It is neither.
    """
    bare = answer.strip()
    if len(bare) == 1 and 0 <= ord(bare.upper()) - ord("A") < len(options):
        return ord(bare.upper()) - ord("A")
    folded = [" ".join(option.casefold().split()) for option in options]
    match = _LETTER_PREFIX.match(bare)
    for text in (bare, match[2] if match else bare):
        if (wanted := " ".join(text.casefold().split())) in folded:
            return folded.index(wanted)
    raise ItemDefect(field, f"{shown(answer)} is none of the options", "an option's letter, or its text")


def find_image(field: str, name: str, folders: Sequence[Path]) -> str:
    """Path of an image in the first of several folders that holds it.

    Raises:
        ItemDefect: None of them does, or the name leads out of it.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ItemDefect(field, f"{shown(name)} leads out of the set", "a path inside the set")
    for folder in folders:
        if _is_file(folder / name):
            return str((folder / name).absolute())
    looked = ", ".join(str(folder) for folder in folders)
    raise ItemDefect(field, f"there is no image {shown(name)} in {looked}", "the images unpacked beside the file")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name no file can have
        return False


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot read {str(path)!r} as JSON: {error}.",
            "the file as its authors publish it",
            "check the path, or download the file again.",
        ) from error


def read_json_lines(path: Path) -> list[tuple[int, Any]]:
    """The values of a JSONL file with their line numbers; a line that is not JSON comes as its text.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}.",
            "the file as its authors publish it, encoded as UTF-8",
            "check the path, or download the file again.",
        ) from error
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except (ValueError, RecursionError):
                found.append((number, line))
    return found
