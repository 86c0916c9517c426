"""Edits and probes on disk: one JSON object a line, checked field by field when read.

A relative image path in a file is read from the folder that holds the file; the record keeps the path as
written, so that its id does not depend on where the folder lies.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from reground.edits.images import is_file_address
from reground.edits.misfits import accepted_words, fields_at, kind_of, rename_hint, shown
from reground.edits.records import Edit, ImageRef, Probe, Record
from reground.errors import ImageError, InputError, RecordError

__all__ = [
    "PARTIAL",
    "RecordScan",
    "read_edits",
    "read_probes",
    "scan_edits",
    "scan_probes",
    "write_atomically",
    "write_bytes_atomically",
    "write_records",
]

#: How the name of a file ends that is still being written.
PARTIAL = ".partial"

_R = TypeVar("_R", Edit, Probe)

_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True)
class RecordScan(Generic[_R]):
    """What a file holds, sound and unsound.

    Attributes:
        records: The sound records, in file order.
        lines: Line of each record, from 1.
        errors: One error for every defect, in file order; empty if the file is sound.
    """

    records: tuple[_R, ...]
    lines: tuple[int, ...]
    errors: tuple[RecordError, ...]


def read_edits(path: Path) -> tuple[Edit, ...]:
    """The edits of a JSONL file, in file order.

    Raises:
        RecordError: The first defect, with file, line and field.
        InputError: The file cannot be opened.
    """
    return _sound(scan_edits(path))


def read_probes(path: Path) -> tuple[Probe, ...]:
    """The probes of a JSONL file, in file order.

    Raises:
        RecordError: The first defect, with file, line and field.
        InputError: The file cannot be opened.
    """
    return _sound(scan_probes(path))


def scan_edits(path: Path) -> RecordScan[Edit]:
    """All edits of a file and all its defects; raises only if the file cannot be opened."""
    return _scan(path, Edit)


def scan_probes(path: Path) -> RecordScan[Probe]:
    """All probes of a file and all its defects; raises only if the file cannot be opened."""
    return _scan(path, Probe)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSONL, ids included; the file is whole or as it was before."""
    write_atomically(path, "".join(record.model_dump_json() + "\n" for record in records))


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by ``text``, on disk before it takes its name; an interruption leaves the old file."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Replace a file by ``content``; an interruption leaves the old file, a killed process a file ``*.partial`` too.

    Args:
        path: The file; its folder exists.
        content: What it is to hold.
        is_synced: Whether it is on disk before it takes its name, so that it outlasts a loss of power.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        # mkstemp makes the file private; give it the permissions an ordinary new file would have.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sound(scan: RecordScan[_R]) -> tuple[_R, ...]:
    if scan.errors:
        raise scan.errors[0]
    return scan.records


class _Defect(Exception):
    """A defect of one line, before it is known which line it is."""

    def __init__(self, field: str | None, problem: str, accepted: str, next_step: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem
        self.accepted = accepted
        self.next_step = next_step


def _scan(path: Path, kind: type[_R]) -> RecordScan[_R]:
    noun = kind.__name__.lower()
    try:
        # Editors on Windows put a byte-order mark before UTF-8; it is no part of the text.
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise InputError(
            f"cannot read {noun}s from {str(path)!r}: {error.strerror or error}.",
            f"a JSONL file with one {noun} a line",
            "check the path.",
        ) from error
    records: dict[str, _R] = {}
    lines: dict[str, int] = {}
    errors: list[RecordError] = []
    raw_lines = _LINE_END.split(content)
    for number, raw in enumerate(raw_lines, start=1):
        if not raw.strip():
            continue
        try:
            # JSON text cannot hold a bare line end, so a line that does not end in one is the last.
            record = _read_line(raw, kind, is_unended=number == len(raw_lines))
            identity = record.id
            if identity in records:
                raise _Defect(
                    "id",
                    f"the same {noun} ({identity}) is already on line {lines[identity]}",
                    f"each {noun} once",
                    "delete one of the two lines.",
                )
        except _Defect as defect:
            errors.append(_located(path, number, defect))
        else:
            records[identity], lines[identity] = _placed(record, path), number
    if not records and not errors:
        errors.append(
            RecordError(
                f"{path}: the file holds no {noun}.",
                f"at least one {noun}, as a JSON object on a line of its own",
                "check that the right file was given and was written to its end.",
                file=str(path),
            )
        )
    return RecordScan(tuple(records.values()), tuple(lines.values()), tuple(errors))


def _located(path: Path, line: int, defect: _Defect) -> RecordError:
    field = f", field {defect.field!r}" if defect.field else ""
    return RecordError(
        f"{path}, line {line}{field}: {defect.problem}.",
        defect.accepted,
        defect.next_step,
        file=str(path),
        line=line,
        field=defect.field,
    )


def _read_line(raw: bytes, kind: type[_R], *, is_unended: bool) -> _R:
    noun = kind.__name__.lower()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        next_step = "convert the file, e.g. `iconv -f utf-16 -t utf-8`."
        raise _Defect(None, "the file is encoded as UTF-16", "text encoded as UTF-8", next_step)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Defect(
            None,
            f"byte {error.start + 1} is not UTF-8",
            "text encoded as UTF-8",
            "convert the file, e.g. `iconv -f latin1 -t utf-8`.",
        ) from error
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        if is_unended:
            problem, next_step = (
                "the file ends in the middle of a record",
                "write or download the file again.",
            )
        else:
            problem, next_step = f"the line is not JSON{where}", "correct the line."
        raise _Defect(None, problem, f"one {noun} as a JSON object on one line", next_step) from error
    if not isinstance(value, dict):
        raise _Defect(
            None,
            f"the line holds {kind_of(value)}",
            f"one {noun} as a JSON object",
            "put the fields into braces.",
        )
    try:
        record = kind.model_validate(value)
    except ValidationError as error:
        raise _from_validation(error, kind) from error
    if "id" in value and value["id"] != record.id:
        raise _Defect(
            "id",
            f"the stored id {value['id']!r} is not that of the content ({record.id})",
            "the id that follows from the content, or none",
            "if the content was changed on purpose, delete the id; else restore the content.",
        )
    return record


def _from_validation(error: ValidationError, kind: type[_R]) -> _Defect:
    """The first thing pydantic found, in our words where it is one of the common ones."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    if field is None:
        accepted = accepted_words(kind, first)
        return _Defect(None, "the fields contradict one another", accepted, "correct the record.")
    if first["type"] == "missing":
        return _Defect(field, "the field is missing", f"a value for {field!r}", "add the field.")
    if first["type"] == "extra_forbidden":
        *above, name = first["loc"]
        known = ("id", *fields_at(kind, above)) if not above else fields_at(kind, above)
        return _Defect(field, "no such field", f"the fields {', '.join(known)}", rename_hint(str(name), known))
    given = f"{shown(first['input'])} does not fit"
    return _Defect(field, given, accepted_words(kind, first), "correct the value.")


def _refuse_constant(name: str) -> Any:
    raise _Defect(None, f"{name} is not JSON", "numbers, or null where there is none", "replace it by null.")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Defect(key, "the field is given twice", "each field once", "remove one of the two.")
        found[key] = value
    return found


def _placed(record: _R, path: Path) -> _R:
    """The record, its relative image paths read from the file's folder."""
    ref: ImageRef | None = record.image
    if ref is None or not any(_is_file(address) for address in ref.frames):
        return record
    return record.model_copy(update={"image": ref.inside(str(path.parent.absolute()))})


def _is_file(address: str) -> bool:
    try:
        return is_file_address(address)
    except ImageError:  # an address nobody can open; opening it says so
        return False
