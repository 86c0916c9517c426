"""The journal of a run: what was measured, written step by step so that a step is there wholly or not at all.

A step appends its records to ``rows.jsonl`` (and ``beliefs.jsonl``) in one write each, and then signs for them with a
line in ``steps.jsonl`` that says where they end and what their bytes hash to. What nobody signed for is cut off when
the journal is opened again. A killed process thus loses the step in flight at most. The disk is waited for by a thread
while the next step is done, and before that one is written: a machine that fails may lose one step more.

A step that failed may be tried again: its rows are appended like any other's, and readers leave the failure out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from reground.edits.records import Record, Row
from reground.errors import RunDirectoryError
from reground.evaluation.strata import Belief

__all__ = [
    "BELIEFS_FILE",
    "ROWS_FILE",
    "STEPS_FILE",
    "Journal",
    "iterate_rows",
    "lock_directory",
    "read_beliefs",
    "read_rows",
]

ROWS_FILE = "rows.jsonl"
BELIEFS_FILE = "beliefs.jsonl"
STEPS_FILE = "steps.jsonl"
_DATA_FILES = (ROWS_FILE, BELIEFS_FILE)
_LOCK_FILE = ".lock"

#: Begins the record of a failure in a line; within a text its quotes would be escaped.
_FAILED = b'"failure":{'
_BLOCK_BYTES = 2**24

_R = TypeVar("_R", bound=Record)


class _Signature(Record):
    """One line of ``steps.jsonl``: a finished step, where its bytes end in each data file, their SHA-256."""

    key: str
    ends: dict[str, int]
    sha256: dict[str, str]


class Journal:
    """The journal in a run directory, open for writing; whoever opens it holds the directory's lock.

    Args:
        folder: The run directory. A step that was being written when the last writer died is cut off.

    Raises:
        RunDirectoryError: A file was damaged by something other than an interrupted write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._on_its_way: Future[None] | None = None
        self._descriptors: dict[str, int] = {}
        signatures = _recover(folder)
        self._ends = dict(signatures[-1].ends) if signatures else dict.fromkeys(_DATA_FILES, 0)
        self._finished = {signature.key for signature in signatures}

    @property
    def finished(self) -> frozenset[str]:
        """Keys of the steps that need not be done again."""
        return frozenset(self._finished)

    def append(self, key: str, rows: Sequence[Row], beliefs: Sequence[Belief] = ()) -> None:
        """Add a finished step; it outlives the process when this returns, and the machine when ``flush`` does."""
        self.flush()
        sha256: dict[str, str] = {}
        for name, records in ((ROWS_FILE, rows), (BELIEFS_FILE, beliefs)):
            block = "".join(record.model_dump_json() + "\n" for record in records).encode()
            if block:
                _write(self._descriptor(name), block)
            self._ends[name] += len(block)
            sha256[name] = hashlib.sha256(block).hexdigest()
        signature = _Signature(key=key, ends=dict(self._ends), sha256=sha256)
        _write(self._descriptor(STEPS_FILE), signature.model_dump_json().encode() + b"\n")
        self._finished.add(key)
        written = [*([ROWS_FILE] if rows else []), *([BELIEFS_FILE] if beliefs else []), STEPS_FILE]
        self._on_its_way = self._disk.submit(_bring_to_disk, [self._descriptor(name) for name in written])

    def flush(self) -> None:
        """Wait until every step is on disk.

        Raises:
            OSError: One cannot be brought there.
        """
        if self._on_its_way is not None:
            self._on_its_way.result()
            self._on_its_way = None

    def _descriptor(self, name: str) -> int:
        """Of a file that is open for writing at its end, from the first step to the last."""
        if name not in self._descriptors:
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            self._descriptors[name] = descriptor
            # By the thread that brings it to disk, after it has; at the end of the process nobody needs to.
            weakref.finalize(self, self._disk.submit, os.close, descriptor).atexit = False
        return self._descriptors[name]


@contextmanager
def lock_directory(folder: Path) -> Iterator[None]:
    """Hold a run directory against other writers; the lock falls with the process, however that ends.

    Raises:
        RunDirectoryError: Another process is writing there, or nobody may.
    """
    try:
        lock = (folder / _LOCK_FILE).open("w")
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write to {str(folder)!r}: {error.strerror or error}.",
            "a directory that can be written to",
            "correct its permissions, or give another directory with --out.",
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunDirectoryError(
                f"another process is writing to {str(folder)!r}.",
                "one process per run directory",
                "wait for it to end, or give another directory with --out.",
            ) from error
        yield


def read_rows(folder: Path) -> list[Row]:
    """Every row that counts, step by step in the order first tried; a half-written last line is left out.

    Of a step that failed and was tried again, the rows of the last attempt count, and stand where the first one stood.

    Raises:
        RunDirectoryError: A line is not a row.
    """
    of_step: dict[tuple[str, int], list[Row]] = {}
    for step, row in _counted(folder / ROWS_FILE):
        rows = of_step.setdefault(step, [])
        if row is not None:
            rows.append(row)
    return [row for rows in of_step.values() for row in rows]


def iterate_rows(folder: Path) -> Iterator[Row]:
    """The same rows one at a time, in the order written: for who need not hold them all.

    Raises:
        RunDirectoryError: A line is not a row.
    """
    return (row for _, row in _counted(folder / ROWS_FILE) if row is not None)


def read_beliefs(folder: Path) -> list[Belief]:
    """Every belief of a run, in the order written; a half-written last line is left out.

    Raises:
        RunDirectoryError: A line is not a belief.
    """
    return [belief for _, belief in _records(folder / BELIEFS_FILE, Belief)]


def _counted(path: Path) -> Iterator[tuple[tuple[str, int], Row | None]]:
    """Each line's method and step, and its row if that counts."""
    superseded = _superseded(path)
    for number, row in _records(path, Row):
        yield (row.method, row.step), None if number in superseded else row


def _superseded(path: Path) -> set[int]:
    """Numbers of the lines that record a failure and are followed by another attempt at the same step and edit."""
    if not _holds(path, _FAILED):
        return set()
    failed: dict[tuple[str, int, str], int] = {}
    found = set()
    for number, line in _whole_lines(path):
        is_failure = _FAILED in line
        if not is_failure and not failed:
            continue
        key = _attempted(line)
        if key is None:
            continue
        if key in failed:
            found.add(failed.pop(key))
        if is_failure:
            failed[key] = number
    return found


def _holds(path: Path, wanted: bytes) -> bool:
    """Whether some bytes occur anywhere in a file."""
    if not path.is_file():
        return False
    end = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            read = end + block
            if wanted in read:
                return True
            end = read[1 - len(wanted) :]
    return False


def _attempted(line: bytes) -> tuple[str, int, str] | None:
    """Method, step and edit of a line; None if it is no row."""
    try:
        row = json.loads(line)
        return row["method"], row["step"], row["edit_id"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None


def _records(path: Path, kind: type[_R]) -> Iterator[tuple[int, _R]]:
    for number, line in _whole_lines(path):
        try:
            yield number, kind.model_validate_json(line)
        except ValidationError as error:
            raise _damaged(path, f"line {number} is not a {kind.__name__.lower()}") from error


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, ends included, and their numbers, from 1; a half-written last one is left out."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line


def _write(descriptor: int, block: bytes) -> None:
    written = 0
    while written < len(block):
        written += os.write(descriptor, block[written:])


def _bring_to_disk(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.fsync(descriptor)


def _recover(folder: Path) -> list[_Signature]:
    """The steps whose bytes are all there; everything after them is cut off."""
    signatures, lengths = _read_signatures(folder / STEPS_FILE)
    contents = {name: _content(folder / name) for name in _DATA_FILES}
    kept: list[_Signature] = []
    starts: Mapping[str, int] = dict.fromkeys(_DATA_FILES, 0)
    for signature in signatures:
        if any(signature.ends.get(name, -1) > len(contents[name]) for name in _DATA_FILES):
            break
        blocks = {name: contents[name][starts[name] : signature.ends.get(name, -1)] for name in _DATA_FILES}
        if signature is signatures[-1] and any(b"\0" in block for block in blocks.values()):
            break  # the machine failed when the file had its length, and not yet its bytes: no text of ours holds one
        for name, block in blocks.items():
            if hashlib.sha256(block).hexdigest() != signature.sha256.get(name):
                raise _damaged(folder / name, f"the rows of step {signature.key} are not those that were written")
        kept.append(signature)
        starts = signature.ends
    num_unsigned = _num_steps(contents[ROWS_FILE][starts[ROWS_FILE] :])
    if num_unsigned > 1:  # an interruption leaves one; more are somebody's results
        if len(kept) < len(signatures):
            raise _damaged(folder / BELIEFS_FILE, "its end is missing")
        raise _damaged(folder / STEPS_FILE, f"it does not name the last {num_unsigned} steps in {ROWS_FILE}")
    _truncate(folder / STEPS_FILE, sum(lengths[: len(kept)]))
    for name in _DATA_FILES:
        _truncate(folder / name, starts[name])
    return kept


def _num_steps(rows: bytes) -> int:
    """How many steps some lines of ``rows.jsonl`` belong to; a half-written last line belongs to none."""
    steps = set()
    for line in rows.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
            steps.add((row["method"], row["step"]))
        except (ValueError, RecursionError, TypeError, KeyError):  # never a row, so nothing is lost with it
            continue
    return len(steps)


def _read_signatures(path: Path) -> tuple[list[_Signature], list[int]]:
    """The whole lines of ``steps.jsonl`` and their lengths in bytes."""
    *lines, _torn = _content(path).split(b"\n")
    signatures = []
    for number, line in enumerate(lines, start=1):
        try:
            signatures.append(_Signature.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines):  # a line end can reach the disk before what it ends
                break
            raise _damaged(path, f"line {number} is not a finished step") from error
    return signatures, [len(line) + 1 for line in lines]


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _truncate(path: Path, size: int) -> None:
    if path.is_file() and path.stat().st_size > size:
        os.truncate(path, size)


def _damaged(path: Path, why: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} is damaged: {why}.",
        "the file as the run wrote it",
        "restore it from a copy, or start the run again in another directory.",
    )
