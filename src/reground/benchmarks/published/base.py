"""The loader seam: what a file in ``benchmarks/published/`` offers, and what loaders share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from reground.benchmarks.published.reading import Place, Reading
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe, ProbeKind

__all__ = ["Asking", "Item", "Loader", "answer_of", "change_of", "file_name", "files_in", "split_of"]


@dataclass(frozen=True, slots=True)
class Item:
    """An edit of a published set, and what its probes are made of when they are asked for.

    Attributes:
        edit: The edit.
        record: What the loader read; only the loader looks into it.
        places: Every element of a file that it was read from, the edit's own first.
        companions: Edits that are put in force before it, in the same step.
    """

    edit: Edit
    record: Any
    places: tuple[Place, ...]
    companions: tuple[Edit, ...] = ()


class Loader(Protocol):
    """Reads one format. It is made without arguments and holds nothing of a file between two readings.

    Attributes:
        checksums: SHA-256 of the published files it was run on, by file name; empty if no real file was read.
        known_defects: What is known to be wrong with the data, in sentences.
    """

    checksums: Mapping[str, str]
    known_defects: Sequence[str]

    def read(self, path: Path, reading: Reading) -> Iterator[Item]:
        """The edits of a file, or of a folder of files, in file order; what does not fit goes to ``reading``.

        Raises:
            InputError: A file that must be there cannot be opened.
        """
        ...

    def probes(self, item: Item) -> Iterator[Probe]:
        """What is asked about one edit, in a fixed order. An edit that was read can always be asked about."""
        ...


def split_of(path: Path) -> str:
    """``train`` for a file the authors train on, ``test`` for any other, by its name or that of its folder."""
    return "train" if "train" in path.stem.lower() or path.parent.name.lower() == "train" else "test"


def files_in(path: Path, names: Iterable[str]) -> list[Path]:
    """The file itself or, of a folder, those of the named files that are there, in the order of the names."""
    return [path / name for name in names if (path / name).is_file()] if path.is_dir() else [path]


def file_name(address: str) -> str:
    """The last part of an image's path: the subject, where a set names none."""
    return address.rpartition("/")[2] or address


def answer_of(text: str, aliases: Iterable[str] = ()) -> Answer:
    """An answer with its other spellings, each once."""
    others = tuple(alias for alias in dict.fromkeys(aliases) if alias != text)
    return Answer(text=text, aliases=others) if others else Answer(text=text)


def change_of(question: str, answer: str, *, is_visual: bool) -> str:
    """An edit in one sentence, for sets that give a question and its new answer only."""
    about = " about this image" if is_visual else ""
    return f'The answer to "{question}"{about} is now "{answer}".'


class Asking:
    """Makes the probes of one edit; what they share is computed once.

    Args:
        edit: The edit they ask about.
    """

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self.folder = edit.image.folder if edit.image is not None else None
        self._id = edit.id
        self._new = Expectation(kind="answer", answer=edit.new_answer)

    def image(self, *frames: str) -> ImageRef:
        """An image whose path starts where those of the edit do."""
        ref = ImageRef(frames=frames)
        return ref.inside(self.folder) if self.folder is not None else ref

    def expects(
        self,
        kind: ProbeKind,
        level: str,
        question: str,
        image: ImageRef | None,
        *,
        answer: Answer | None = None,
        intermediates: tuple[Answer, ...] = (),
    ) -> Probe:
        """A probe that expects an answer, the edit's new one unless another is given."""
        return Probe(
            edit_id=self._id,
            kind=kind,
            level=level,
            question=question,
            image=image,
            expectation=self._new if answer is None else Expectation(kind="answer", answer=answer),
            intermediates=intermediates,
            options=self.edit.options if answer is None else (),
        )

    def keeps(
        self, level: str, distance: Literal["near", "far"], question: str, image: ImageRef | None, truth: Answer | None
    ) -> Probe:
        """A locality probe: of an image if one is given, else of text."""
        return Probe(
            edit_id=self._id,
            kind="text_locality" if image is None else "image_locality",
            level=level,
            distance=distance,
            question=question,
            image=image,
            expectation=Expectation(kind="unchanged", answer=truth),
        )
