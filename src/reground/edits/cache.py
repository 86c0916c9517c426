"""Where results that take long and can be had again are kept between runs."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from reground.edits.records import Record
from reground.errors import InputError, nearest

__all__ = ["MAX_BYTES", "CacheEntry", "cache_entries", "cache_folder", "clear_cache", "max_bytes"]

#: What a cache holds at most, unless a variable says otherwise.
MAX_BYTES = 1 << 30


class CacheEntry(Record):
    """One kind of result in the cache folder.

    Attributes:
        name: Of the file or folder.
        num_files: Files in it.
        num_bytes: Their size on disk.
    """

    name: str
    num_files: int
    num_bytes: int


def cache_folder() -> Path:
    """``$REGROUND_CACHE``, else ``reground`` in the user's cache folder; it need not exist."""
    stated = os.environ.get("REGROUND_CACHE")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reground"


def max_bytes(variable: str) -> int:
    """What a cache holds at most: a gibibyte, or what an environment variable says.

    Raises:
        InputError: The variable holds no number.
    """
    stated = os.environ.get(variable)
    if stated is None:
        return MAX_BYTES
    if stated.isascii() and stated.isdigit():
        return int(stated)
    raise InputError(
        f"the variable {variable} is {stated!r}.", f"a number of bytes, e.g. {MAX_BYTES}", "correct or unset it."
    )


def cache_entries() -> list[CacheEntry]:
    """What is in the cache folder, by name."""
    folder = cache_folder()
    return [_entry(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []


def clear_cache(name: str | None = None) -> list[CacheEntry]:
    """Delete one entry of the cache, or all of it; what was deleted. A run that uses it meanwhile goes on.

    Raises:
        InputError: There is no such entry.
    """
    entries = cache_entries()
    chosen = [entry for entry in entries if name in (None, entry.name)]
    if name is not None and not chosen:
        names = [entry.name for entry in entries]
        near = nearest(name, names)
        raise InputError(
            f"the cache {str(cache_folder())!r} was to lose {name!r}; it holds no such entry.",
            ", ".join(names) or "nothing: it is empty",
            f"did you mean {near!r}?" if near else "run `reground cache show` for its entries.",
        )
    for entry in chosen:
        _delete(cache_folder() / entry.name)
    return chosen


def _delete(path: Path) -> None:
    """Delete a file or a folder that others may be writing to: a folder loses its name before it loses its files."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    with suppress(FileNotFoundError):  # somebody else was quicker
        path.rename(aside / path.name)
    shutil.rmtree(aside, ignore_errors=True)


def _entry(path: Path) -> CacheEntry:
    sizes = []
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(FileNotFoundError):  # a run that goes on dropped it
            about = file.stat()
            if stat.S_ISREG(about.st_mode):
                sizes.append(about.st_size)
    return CacheEntry(name=path.name, num_files=len(sizes), num_bytes=sum(sizes))
