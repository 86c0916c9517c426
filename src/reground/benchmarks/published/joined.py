"""Sets whose edits are spread over several files, joined by a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from reground.benchmarks.published.reading import Place, RawRecord, Reading

__all__ = ["Joined", "Numbered", "read_joined"]


class Numbered(RawRecord):
    """An element that belongs to the edit of a number.

    Attributes:
        key: Name of the number in the files.
        number: The number.
    """

    key: ClassVar[str]

    number: int


_R = TypeVar("_R", bound=Numbered)
_P = TypeVar("_P", bound=Numbered)


@dataclass
class Joined(Generic[_R]):
    """An edit's record with what the other files say of it; a file that is missing says nothing."""

    record: _R
    places: list[Place]
    parts: dict[type[Numbered], Numbered] = field(default_factory=dict)

    def part(self, kind: type[_P]) -> _P | None:
        """What the file that is read as ``kind`` says."""
        found = self.parts.get(kind)
        return found if isinstance(found, kind) else None


def read_joined(
    reading: Reading, main: Path, kind: type[_R], tests: Mapping[str, type[Numbered]]
) -> Iterator[Joined[_R]]:
    """The edits of a file in file order, each with what the files beside it say.

    Args:
        reading: Takes what does not fit: a number given twice, or one that no edit has.
        main: File of the edits.
        kind: What an element of it is read as.
        tests: What the elements of each other file are read as, by file name.

    Raises:
        InputError: The file of the edits cannot be opened.
    """
    edits: dict[int, Joined[_R]] = {}
    for place, record in reading.records(main, kind, counts=True):
        if record.number in edits:
            _refuse_twice(reading, place, kind)
        else:
            edits[record.number] = Joined(record, [place])
    is_whole = not reading.errors
    for name, test in tests.items():
        for place, part in reading.optional(main.parent / name, test):
            edit = edits.get(part.number)
            if edit is None:
                if is_whole:  # a refused edit takes its tests with it; naming each would bury the cause
                    reading.refuse(place, test.key, f"no edit has the number {part.number}", "that of an edit")
            elif test in edit.parts:
                _refuse_twice(reading, place, test)
            else:
                edit.parts[test] = part
                edit.places.append(place)
    yield from edits.values()


def _refuse_twice(reading: Reading, place: Place, kind: type[Numbered]) -> None:
    reading.refuse(place, kind.key, "the number was given before", "each edit once a file")
