"""A library as files: ``cards.jsonl``, one card a line, and ``images/`` beside it.

An export holds the cards in force, or all of them with their status. Importing one into an empty library gives the
same ids; image files keep their names, which are their content's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reground.edits.files import write_atomically
from reground.edits.images import is_file_address
from reground.edits.misfits import misfit_words
from reground.errors import InputError, RecordError
from reground.library.card import PICTURE_FOLDER, EditCard, card_id
from reground.library.store import Library, Status

__all__ = ["CARDS_FILE", "export_cards", "read_cards"]

CARDS_FILE = "cards.jsonl"


def export_cards(library: Library, folder: Path, *, status: Status | None = "active") -> int:
    """Write a library's cards and image files.

    Args:
        library: The library.
        folder: Where to write; must be new or empty.
        status: Only cards with this status; None: all.

    Returns:
        How many cards were written.

    Raises:
        InputError: The folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"a library was to be exported to {str(folder)!r}, which holds something already.",
            "a folder that is new or empty",
            "name another folder.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for stored in library.cards(status=status):
        for name, content in library.pictures(stored.id).items():
            (folder / PICTURE_FOLDER).mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        lines.append({"id": stored.id, "status": stored.status, **stored.card.model_dump(mode="json")})
    # The list is written last: an export that was interrupted has none.
    write_atomically(folder / CARDS_FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)


def read_cards(path: Path, *, status: Status | None = "active") -> list[EditCard]:
    """The cards of a file of JSON lines, or of an export's folder.

    Relative image paths start where the file is. ``id`` and ``status`` may be there or not; an id is checked.

    Args:
        path: The file or folder.
        status: Only cards with this status; one without is active. None: all.

    Raises:
        RecordError: The first line that is no card, with file, line and field.
        InputError: The file cannot be read, or holds no card.
    """
    file = path / CARDS_FILE if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cards cannot be read from {str(file)!r}: {getattr(error, 'strerror', None) or error}.",
            "a JSONL file with one card a line, or the folder of an export",
            "check the path.",
        ) from error
    cards = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            card, own = _read_line(line, file, number)
            if status is None or own == status:
                cards.append(card)
    if not cards:
        raise InputError(
            f"{str(file)!r} holds no card to read.", "at least one card, as a JSON object on a line", "check the file."
        )
    return cards


def _read_line(line: str, file: Path, number: int) -> tuple[EditCard, str]:
    try:
        value = json.loads(line)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        status = value.pop("status", "active")
        stated = value.pop("id", None)
        card = _placed(EditCard.model_validate(value), file.parent)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = ".".join(map(str, detail["loc"])) or None
        raise _defect(file, number, misfit_words(EditCard, detail), field) from error
    except ValueError as error:
        raise _defect(file, number, f"the line is not a card: {error}", None) from error
    if status not in ("active", "withdrawn"):
        raise _defect(file, number, f"the status is {status!r}, and should be active or withdrawn", "status")
    if stated is not None and stated != card_id(card):
        raise _defect(file, number, f"the id {stated!r} is not that of the content ({card_id(card)})", "id")
    return card, status


def _placed(card: EditCard, folder: Path) -> EditCard:
    if card.image is None or not any(map(is_file_address, card.image.frames)):
        return card
    return card.model_copy(update={"image": card.image.inside(str(folder.absolute()))})


def _defect(file: Path, number: int, problem: str, field: str | None) -> RecordError:
    fields: Sequence[Any] = tuple(EditCard.model_fields)
    return RecordError(
        f"{file}, line {number}: {problem}.",
        f"one edit card with the fields {', '.join(fields)}",
        "correct the line; without an id, it is computed.",
        file=str(file),
        line=number,
        field=field,
    )
