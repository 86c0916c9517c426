"""Medical questions that an edit must leave alone: SLAKE and VQA-RAD, images and questions near to those edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from reground.benchmarks.builders.locality import Unrelated
from reground.benchmarks.published.reading import RawRecord, Reading
from reground.edits.records import Text
from reground.errors import InputError, RecordError

__all__ = ["NearQuestions", "read_slake", "read_vqa_rad"]

_SLAKE_FILES = ("train.json", "validation.json", "validate.json", "test.json")
_VQA_RAD_FILES = ("VQA_RAD Dataset Public.json", "VQA_RAD_Dataset_Public.json")
_VQA_RAD_IMAGES = ("VQA_RAD Image Folder", "VQA_RAD_Image_Folder", "images")


@dataclass(frozen=True)
class NearQuestions:
    """The questions of a set.

    Attributes:
        questions: The sound ones, in file order; their images are looked for when some are picked.
        errors: One for every record that does not fit.
        files: The files that were read.
    """

    questions: tuple[Unrelated, ...]
    errors: tuple[RecordError, ...]
    files: tuple[Path, ...]


def _as_text(value: object) -> object:
    """A number as text: counts and sizes are answers too."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("the path of an image inside the set's folder")
    return value


class _Asked(RawRecord):
    question: Text
    answer: Annotated[Text, BeforeValidator(_as_text)]
    image: Annotated[Text, AfterValidator(_inside)] = Field(
        validation_alias=AliasChoices("img_name", "image_name", "image")
    )
    language: Text = Field(default="en", validation_alias="q_lang")


def read_slake(folder: Path) -> NearQuestions:
    """The English questions of SLAKE, all parts; what is asked in Chinese is passed over.

    Layout: ``train.json``, ``validation.json`` (``validate.json`` outside Hugging Face) and ``test.json``, lists with
    ``question``, ``answer``, ``img_name`` and ``q_lang``; images in ``imgs/``. Written from published readers of the
    set; no real file was read.

    Raises:
        InputError: No such file, it cannot be read, or it holds no such question.

    Source:
        Liu et al., ISBI 2021, CC BY 4.0, hosted at huggingface.co/datasets/BoKelvin/SLAKE.
    """
    return _read(folder, _SLAKE_FILES, folder / "imgs", lambda asked: asked.language == "en")


def read_vqa_rad(folder: Path) -> NearQuestions:
    """The questions of VQA-RAD, 2,248 as published.

    Layout: ``VQA_RAD Dataset Public.json``, a list with ``question``, ``answer`` and ``image_name``; images in
    ``VQA_RAD Image Folder/`` or ``images/``. Written from published readers of the set; no real file was read.

    Raises:
        InputError: No such file, it cannot be read, or it holds no such question.

    Source:
        Lau et al., Scientific Data 2018, CC0 1.0, hosted at osf.io/89kps.
    """
    images = next((folder / name for name in _VQA_RAD_IMAGES if (folder / name).is_dir()), folder)
    return _read(folder, _VQA_RAD_FILES, images, lambda asked: True)


def _read(folder: Path, names: Sequence[str], images: Path, is_wanted: Callable[[_Asked], bool]) -> NearQuestions:
    paths = tuple(folder / name for name in names if (folder / name).is_file())
    reading = Reading(images.absolute())
    found = tuple(
        Unrelated(question=asked.question, answers=(asked.answer,), image=str(images.absolute() / asked.image))
        for path in paths
        for _, asked in reading.records(path, _Asked)
        if is_wanted(asked)
    )
    if not found:
        raise InputError(
            f"there are no questions to sample from in {str(folder)!r}.",
            f"a folder with {', '.join(repr(name) for name in names)} and the images",
            "check the path, or download the set as its authors publish it.",
        )
    return NearQuestions(found, tuple(reading.errors), paths)
