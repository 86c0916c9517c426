"""The medical question sets that MultiMedBench is made from, each in the layout its authors publish."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reground.benchmarks.builders.items import (
    ItemDefect,
    SourceScan,
    Tier,
    field_of,
    find_image,
    listed_options,
    option_at,
    read_json,
    read_json_lines,
    scan_entries,
)
from reground.errors import InputError, MissingExtraError

__all__ = ["read_medframeqa", "read_medxpertqa", "read_omnimedvqa", "read_pmc_vqa"]

_PMC_FILES = ("test_clean.csv", "test.csv", "test_2.csv")
_FRAME = re.compile(r"image_(\d+)")
_CHOICES_IN_QUESTION = re.compile(r"\s*Answer Choices:.*\Z", re.DOTALL)


def read_pmc_vqa(folder: Path) -> SourceScan:
    """PMC-VQA: understanding, one image a question.

    Layout: ``test_clean.csv`` (else ``test.csv``, else ``test_2.csv``) with the columns ``Figure_path``, ``Question``,
    ``Choice A`` to ``Choice D``, ``Answer_label`` or ``Anwser_label`` (in ``test_2.csv``, ``Answer``); images in
    ``images/``, ``images_2/`` or ``figures/``.

    Raises:
        InputError: No such file, or it cannot be read.

    Source:
        Zhang et al., 2023, hosted at huggingface.co/datasets/xmcmic/PMC-VQA.
    """
    path = _first_file(folder, _PMC_FILES)
    folders = [folder / "images", folder / "images_2", folder / "figures", folder / "images_2" / "figures", folder]

    def read(place: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        options = listed_options([field_of(row, f"Choice {letter}", f"Choice_{letter}") for letter in "ABCD"])
        figure = field_of(row, "Figure_path")
        label = field_of(row, "Answer_label", "Anwser_label", "Answer", "Anwser")
        return {
            "id": f"pmc-vqa/{path.name}/{place}",
            "source": f"PMC-VQA, {path.name}, line {place}",
            "tier": "understanding",
            "subject": figure,
            "question": field_of(row, "Question"),
            "options": options,
            "answer": option_at("Answer_label", label, options),
            "images": (find_image("Figure_path", figure, folders),),
        }

    return scan_entries(path, _csv_rows(path), read)


def read_medframeqa(folder: Path, image_folder: Path) -> SourceScan:
    """MedFrameQA: reasoning, two to five frames a question.

    Layout: Parquet files in ``data/`` with ``question_id``, ``question``, ``options``, ``correct_answer`` and the
    frames ``image_1`` to ``image_5``; or the same fields as ``*.json`` or ``*.jsonl`` with paths of images.

    Args:
        folder: Where the set is.
        image_folder: Where frames that come inside Parquet are written.

    Raises:
        InputError: No such file, or it cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.

    Source:
        Yu et al., 2025, hosted at huggingface.co/datasets/SuhaoYu1020/MedFrameQA.
    """
    paths = _all_files(folder, ("*.parquet", "data/*.parquet")) or _all_files(
        folder, ("*.jsonl", "*.json", "data/*.jsonl", "data/*.json")
    )
    if not paths:
        raise _no_file(folder, "data/test-*.parquet, or a JSON or JSONL file with the same fields")

    def reader(path: Path) -> Callable[[int, Mapping[str, Any]], Mapping[str, Any]]:
        def read(place: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
            name = field_of(row, "question_id")
            options = listed_options(_texts("options", row.get("options")))
            frames = sorted((key for key in row if _FRAME.fullmatch(key) and row[key]), key=lambda key: int(key[6:]))
            return {
                "id": f"medframeqa/{name}",
                "source": f"MedFrameQA, {path.name}, {name}",
                "tier": "reasoning",
                "subject": row.get("keyword") or row.get("organ") or name,
                "question": field_of(row, "question"),
                "options": options,
                "answer": option_at("correct_answer", field_of(row, "correct_answer", "answer"), options),
                "images": [_frame(key, row[key], name, folder, image_folder) for key in frames],
            }

        return read

    return _joined(paths, reader)


def read_medxpertqa(folder: Path) -> SourceScan:
    """MedXpertQA, its part with images; its own ``question_type`` says which tier a question belongs to.

    Layout: ``MM/test.jsonl`` with ``id``, ``question`` (which repeats the options after "Answer Choices:"),
    ``options`` by letter, ``label``, ``images``, ``question_type``; images in ``images/``.

    Raises:
        InputError: No such file, or it cannot be read.

    Source:
        Zuo et al., 2025, hosted at huggingface.co/datasets/TsinghuaC3I/MedXpertQA.
    """
    path = _first_file(folder, ("MM/test.jsonl", "test.jsonl"))
    folders = [folder / "images", folder / "MM" / "images", folder]

    def read(place: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        name = field_of(row, "id")
        by_letter = row.get("options")
        if not isinstance(by_letter, Mapping):
            raise ItemDefect("options", "it is no mapping of letters to texts", '{"A": "...", "B": "..."}')
        options = _texts("options", [by_letter[letter] for letter in sorted(by_letter)])
        images = _texts("images", row.get("images"))
        tier: Tier = "understanding" if str(row.get("question_type")).lower() == "understanding" else "reasoning"
        return {
            "id": f"medxpertqa/{name}",
            "source": f"MedXpertQA, {name}",
            "tier": tier,
            "subject": row.get("body_system") or name,
            "question": _CHOICES_IN_QUESTION.sub("", field_of(row, "question")),
            "options": options,
            "answer": option_at("label", field_of(row, "label"), options),
            "images": [find_image("images", image, folders) for image in images],
        }

    return scan_entries(path, read_json_lines(path), read)


def read_omnimedvqa(folder: Path) -> SourceScan:
    """OmniMedVQA: understanding, one image a question.

    Layout: ``QA_information/Open-access/*.json`` (and ``Restricted-access``), lists of entries with ``question_id``,
    ``question``, ``option_A`` to ``option_D``, ``gt_answer`` (a text), ``image_path`` from the folder.

    Raises:
        InputError: No such file, or it cannot be read.

    Source:
        Hu et al., 2024, hosted at huggingface.co/datasets/foreverbeliever/OmniMedVQA.
    """
    root = folder / "OmniMedVQA" if (folder / "OmniMedVQA").is_dir() else folder
    paths = _all_files(root, ("QA_information/Open-access/*.json", "QA_information/Restricted-access/*.json"))
    if not paths:
        raise _no_file(folder, "QA_information/Open-access/*.json")

    def reader(path: Path) -> Callable[[int, Mapping[str, Any]], Mapping[str, Any]]:
        def read(place: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
            name = field_of(row, "question_id")
            letters = [letter for letter in "ABCDEF" if row.get(f"option_{letter}")]
            options = tuple(field_of(row, f"option_{letter}") for letter in letters)
            return {
                "id": f"omnimedvqa/{name}",
                "source": f"OmniMedVQA, {path.stem}, {name}",
                "tier": "understanding",
                "subject": row.get("dataset") or path.stem,
                "question": field_of(row, "question"),
                "options": options,
                "answer": option_at("gt_answer", field_of(row, "gt_answer"), options),
                "images": (find_image("image_path", field_of(row, "image_path"), [root]),),
            }

        return read

    return _joined(paths, reader)


def _texts(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise ItemDefect(field, "it is no list of texts", "a list of texts")
    return tuple(value)


def _frame(key: str, value: Any, name: str, folder: Path, image_folder: Path) -> str:
    """Path of one frame: a file of the set, or written from the bytes that Parquet carries."""
    if isinstance(value, str):
        return find_image(key, value, [folder, folder / "images", folder / "data"])
    content = value.get("bytes") if isinstance(value, Mapping) else None
    if not isinstance(content, bytes) or not content:
        raise ItemDefect(key, "it is no image", "the path of an image, or an image inside Parquet")
    path = image_folder / f"{re.sub('[^A-Za-z0-9-]', '_', name)}_{key}.png"
    if not path.is_file() or path.read_bytes() != content:
        image_folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(path.absolute())


def _entries(path: Path) -> Iterable[tuple[int, Any]]:
    if path.suffix == ".parquet":
        return enumerate(_parquet_rows(path), start=1)
    if path.suffix == ".jsonl":
        return read_json_lines(path)
    value = read_json(path)
    if not isinstance(value, list):
        raise InputError(
            f"{str(path)!r} holds no list of entries.",
            "a JSON list, as its authors publish it",
            "download the file again.",
        )
    return enumerate(value, start=1)


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"reading {path.name}") from error
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise InputError(
            f"cannot read {str(path)!r} as Parquet: {error}.",
            "the file as its authors publish it",
            "download the file again.",
        ) from error
    return rows


def _csv_rows(path: Path) -> list[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"cannot read {str(path)!r} as CSV: {error}.",
            "the file as its authors publish it, encoded as UTF-8",
            "download the file again.",
        ) from error


def _joined(
    paths: Sequence[Path], reader: Callable[[Path], Callable[[int, Mapping[str, Any]], Mapping[str, Any]]]
) -> SourceScan:
    seen: dict[Hashable, str] = {}
    kept = [scan_entries(path, _entries(path), reader(path), seen) for path in paths]
    return SourceScan(
        tuple(item for scan in kept for item in scan.items),
        tuple(error for scan in kept for error in scan.errors),
        tuple(path for scan in kept for path in scan.files),
    )


def _first_file(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise _no_file(folder, " or ".join(names))


def _all_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _no_file(folder: Path, wanted: str) -> InputError:
    return InputError(
        f"there is no question file in {str(folder)!r}.",
        f"a folder with {wanted}",
        "check the path, or download the set as its authors publish it.",
    )
