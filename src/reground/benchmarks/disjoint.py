"""The part of a published file that shares no subject with training data, as its authors wrote it."""

from __future__ import annotations

from pathlib import Path

from reground.benchmarks.published.benchmark import scan_published
from reground.edits.files import write_atomically
from reground.errors import InputError

__all__ = ["write_disjoint"]


def write_disjoint(format_name: str, path: Path, against: Path, out: Path) -> tuple[int, int]:
    """Write the sound records whose subjects the training file does not edit.

    The elements are copied character by character, so that any reader of the format reads the new file.

    Args:
        format_name: Published format of both files.
        path: File to take records from.
        against: Training file.
        out: File to write; it must not be there.

    Returns:
        Number of records written, and of records left out.

    Raises:
        InputError: A set of several files, a file that cannot be read or written, or nothing is left.
    """
    if path.is_dir() or out.exists():
        raise InputError(
            f"cannot write the part of {str(path)!r} into {str(out)!r}.",
            "one file of records, and a new file to write",
            "name a file, and another with --out.",
        )
    trained = {item.edit.subject.casefold() for item in scan_published(format_name, against).items}
    scan = scan_published(format_name, path)
    seen = {item.places[0] for item in scan.items if item.edit.subject.casefold() in trained}
    kept = [place for place in dict.fromkeys(item.places[0] for item in scan.items) if place not in seen]
    if not kept:
        raise InputError(
            f"no record of {str(path)!r} is of a subject that {str(against)!r} does not edit.",
            "a file with other subjects",
            "check both files with `reground benchmarks validate`.",
        )
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
    parts = [text[place.start : place.end].strip() for place in kept]
    is_list = text.lstrip().startswith("[")
    try:
        write_atomically(out, "[\n" + ",\n".join(parts) + "\n]\n" if is_list else "\n".join(parts) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write {str(out)!r}: {error.strerror or error}.", "a folder that is there", "check the path."
        ) from error
    return len(kept), scan.reading.num_records - len(kept)
