"""Published annotation files, an element at a time: what is sound, and the place of what is not.

A file is a JSON list, or one JSON object a line. An element is read whether or not its neighbours are sound, and keeps
its place, so that a defect can be named by file, line and field and a part of a file written again as it stands.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from reground.edits.misfits import accepted_words, kind_of, shown
from reground.edits.records import ImageRef
from reground.errors import InputError, RecordError

__all__ = ["Place", "RawRecord", "Reading", "elements"]

_SPACE = re.compile(r"\s*")
_BLANK_ERRORS = ("blank_text", "string_too_short", "too_short")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element of a file stands.

    Attributes:
        file: The file.
        index: Number of the element in it, from 0.
        line: Line it begins on, from 1.
        start, end: The characters it takes in the file's text.
    """

    file: Path
    index: int
    line: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line} (record {self.index})"


class RawRecord(BaseModel):
    """One element of a published file as its loader reads it; keys it does not read are left alone.

    Attributes:
        targets: Keys that hold a new answer, inner ones after a dot: blank, they are an empty target.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    targets: ClassVar[frozenset[str]] = frozenset()


_Raw = TypeVar("_Raw", bound=RawRecord)


class _Unreadable(Exception):
    """What is wrong with one element, before it is known which it is."""

    def __init__(self, problem: str, field: str | None = None) -> None:
        super().__init__(problem)
        self.field = field


@dataclass
class Reading:
    """One pass over the files of a data set.

    Attributes:
        image_root: Folder that relative image paths start in, and that paths of another machine are looked up in.
        errors: One for every element that does not fit, in file order.
        num_records: Elements of the file that holds the edits, sound or not.
        digests: SHA-256 of every file that was read.
        absent: Optional files of the set that are not there.
    """

    image_root: Path
    errors: list[RecordError] = field(default_factory=list)
    num_records: int = 0
    digests: dict[Path, str] = field(default_factory=dict)
    absent: list[Path] = field(default_factory=list)

    def records(self, path: Path, kind: type[_Raw], *, counts: bool = False) -> Iterator[tuple[Place, _Raw]]:
        """The elements of a file that fit ``kind``; an error is kept for every other.

        Args:
            path: The file.
            kind: What an element is read as.
            counts: Whether the elements are the records of the set.

        Raises:
            InputError: The file cannot be opened or is not text.
        """
        text = self._text(path)
        for place, value in elements(path, text, self.errors):
            self.num_records += counts
            if not isinstance(value, dict):
                self.refuse(place, None, f"the record is {kind_of(value)}", "an object in braces")
                continue
            try:
                yield place, kind.model_validate(value)
            except ValidationError as error:
                self.errors.append(_from_validation(place, error, kind))

    def optional(self, path: Path, kind: type[_Raw]) -> Iterator[tuple[Place, _Raw]]:
        """As ``records``, for a file that a set may do without."""
        if not path.is_file():
            self.absent.append(path)
            return iter(())
        return self.records(path, kind)

    def refuse(self, place: Place, name: str | None, problem: str, accepted: str) -> None:
        """Keep an error for an element that its loader cannot use."""
        self.errors.append(_error(place, name, problem, accepted))

    def image(self, *frames: str) -> ImageRef:
        """A reference to one image or several frames of it, as the file writes their paths."""
        return ImageRef(frames=frames).inside(str(self.image_root))

    def _text(self, path: Path) -> str:
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read records from {str(path)!r}: {getattr(error, 'strerror', None) or error}.",
                "a JSON list of records, or one record a line",
                "check the path.",
            ) from error
        self.digests[path] = hashlib.sha256(content).hexdigest()
        try:
            return content.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"cannot read records from {str(path)!r}: byte {error.start + 1} is not UTF-8.",
                "text encoded as UTF-8",
                "convert the file, e.g. `iconv -f latin1 -t utf-8`.",
            ) from error


def elements(path: Path, text: str, errors: list[RecordError]) -> Iterator[tuple[Place, Any]]:
    """Every element of a JSON list or of a file of JSON lines, with its place.

    Args:
        path: The file the text is from.
        text: The text.
        errors: Takes one error for every element that cannot be read.
    """
    start = _after_space(text, 0)
    read = _list_elements if text.startswith("[", start) else _line_elements
    num_before = len(errors)
    is_empty = True
    for element in read(path, text, errors):
        is_empty = False
        yield element
    if is_empty and len(errors) == num_before:
        errors.append(
            RecordError(
                f"{path}: the file holds no record.",
                "at least one record",
                "check that the right file was given and was written to its end.",
                file=str(path),
            )
        )


def _list_elements(path: Path, text: str, errors: list[RecordError]) -> Iterator[tuple[Place, Any]]:
    position = _after_space(text, _after_space(text, 0) + 1)
    line, counted, index = 1, 0, 0
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, end = _element(text, position)
        except (ValueError, RecursionError):
            errors.append(_broken(Place(path, index, line, position, len(text))))
            return
        place = Place(path, index, line, position, end)
        if isinstance(value, _Unreadable):
            errors.append(_error(place, value.field, str(value), "each key once"))
        else:
            yield place, value
        index += 1
        position = _after_space(text, end)
        if text.startswith(",", position):
            position = _after_space(text, position + 1)
        elif not text.startswith("]", position):
            line += text.count("\n", counted, position)
            errors.append(_broken(Place(path, index, line, position, len(text))))
            return
    if (rest := _after_space(text, position + 1)) < len(text):
        line += text.count("\n", counted, rest)
        errors.append(_broken(Place(path, index, line, rest, len(text))))


def _element(text: str, position: int) -> tuple[Any, int]:
    """The element that begins at ``position`` and where it ends; what is wrong with one that is whole."""
    try:
        return _DECODER.raw_decode(text, position)
    except _Unreadable as error:
        return error, _LENIENT.raw_decode(text, position)[1]


def _line_elements(path: Path, text: str, errors: list[RecordError]) -> Iterator[tuple[Place, Any]]:
    position, index = 0, 0
    for line, content in enumerate(text.split("\n"), start=1):
        stripped = content.strip()
        place = Place(path, index, line, position, position + len(content))
        position += len(content) + 1
        if not stripped:
            continue
        index += 1
        try:
            yield place, _DECODER.decode(stripped)
        except _Unreadable as error:
            errors.append(_error(place, error.field, str(error), "each key once"))
        except (ValueError, RecursionError):
            errors.append(_error(place, None, "the line is not JSON", "one record as a JSON object on one line"))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unreadable("the key is given twice", twice)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
_LENIENT = json.JSONDecoder()


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position


def _from_validation(place: Place, error: ValidationError, kind: type[RawRecord]) -> RecordError:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or None
    is_target = any(f"{name}.".startswith(f"{target}.") for target in kind.targets)
    is_empty = first["type"] in _BLANK_ERRORS or first.get("input", "") is None
    if first["type"] == "missing":
        return _error(place, name, "the key is missing", f"a value for {name!r}")
    problem = f"{shown(first['input'])} does not fit" if name else "the keys contradict one another"
    record_kind = "empty_target" if is_target and is_empty else "unsound_record"
    return _error(place, name, problem, accepted_words(kind, first), record_kind)


def _error(place: Place, name: str | None, problem: str, accepted: str, kind: str = "unsound_record") -> RecordError:
    at = f", field {name!r}" if name else ""
    return RecordError(
        f"{place}{at}: {problem}.",
        accepted,
        "correct the record or take it out; `reground benchmarks validate` lists every one.",
        file=str(place.file),
        line=place.line,
        field=name,
        kind=kind,
    )


def _broken(place: Place) -> RecordError:
    return RecordError(
        f"{place}: the text from here on is not a JSON list.",
        "records in one list, a comma between them",
        "write or download the file again.",
        file=str(place.file),
        line=place.line,
    )
