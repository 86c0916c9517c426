"""What unedited models wrote, kept on disk and used by every run.

An entry is known by everything that what was written follows from: the model's weights, number format and device, the
question and the bytes of its image, the settings of decoding, and the versions of what decodes. What the model wrote
is kept, not what was read in it, so that a better parser reads old answers too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from reground.edits.cache import cache_folder, max_bytes
from reground.edits.images import image_key
from reground.edits.records import Record
from reground.models.base import ModelInfo, Output, Query

__all__ = ["FILE_NAME", "LIMIT_VARIABLE", "OutputCache", "Written"]

_log = logging.getLogger(__name__)
FILE_NAME = "outputs.sqlite"
#: Says how many bytes of outputs are kept at most.
LIMIT_VARIABLE = "REGROUND_CACHE_BYTES"
#: Part of every key: another layout or another meaning of what is kept gets another number.
_FORMAT = 2
#: A model that cannot say which weights it has could have any.
_UNKNOWN = "unknown"
#: What may move an output; the package's own version stands for its decoding.
_VERSIONS = ("reground", "protocol", "torch", "transformers")
#: Keys in one statement.
_CHUNK = 500
#: Seconds to wait for another process that writes.
_PATIENCE_S = 30.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS outputs (key TEXT PRIMARY KEY, content TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
)


class Written(Record):
    """What a model wrote to one question.

    Attributes:
        outputs: Each sample.
        seconds: The question's share of the time it took; None where it was not taken.
        joules: Its share of the energy that took; None where the device does not report it.
    """

    outputs: tuple[Output, ...]
    seconds: float | None = None
    joules: float | None = None


class OutputCache:
    """The outputs of one model that are on disk, and a place for those that are not.

    A file that is damaged is begun anew; one that cannot be read or written costs time and no result. When it holds
    more than it may, the least recently used outputs go.

    Args:
        model: What the model says of itself; one of unknown revision is not cached.
        versions: Of the packages that decode, by name.
        file: Where they are; in the cache folder by default.

    Raises:
        InputError: The variable that limits the cache holds no number.
    """

    def __init__(self, model: ModelInfo, versions: Mapping[str, str], file: Path | None = None) -> None:
        self._model = [model.revision, model.dtype, model.device, *(versions.get(name) for name in _VERSIONS)]
        self._is_used = model.revision != _UNKNOWN
        self._file = file or cache_folder() / FILE_NAME
        self._max_bytes = max_bytes(LIMIT_VARIABLE)
        #: Bytes on disk as far as this process knows: what it once counted, and what it has added since.
        self._held: int | None = None
        self._base: sqlite3.Connection | None = None
        self._opened_file: tuple[int, int] | None = None

    def find(self, queries: Sequence[Query], **settings: float) -> list[Written | None]:
        """What the model wrote to each query under these settings; None where that is not on disk."""
        if not self._is_used or not queries or not self._file.exists():
            return [None] * len(queries)
        keys = [self._key(query, settings) for query in queries]
        found: dict[str, Written] = {}
        with self._opened() as base:
            if base is not None:
                for chunk in _chunks(sorted(set(keys))):
                    marks = ",".join("?" * len(chunk))
                    found.update(_read(base.execute(f"SELECT key, content FROM outputs WHERE key IN ({marks})", chunk)))
                now = time.time()
                base.executemany("UPDATE outputs SET used = ? WHERE key = ?", [(now, key) for key in found])
        return [found.get(key) for key in keys]

    def keep(self, written: Sequence[tuple[Query, Written]], **settings: float) -> None:
        """Put what the model wrote on disk, all of it or nothing."""
        if not self._is_used or not written:
            return
        now = time.time()
        rows = [(self._key(query, settings), one.model_dump_json(), now) for query, one in written]
        with self._opened() as base:
            if base is not None:
                base.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", rows)
                if self._held is not None:
                    self._held += sum(len(content) for _, content, _ in rows)
                if self._held is None or self._held > self._max_bytes:  # counting reads all of the file
                    self._held = _shrink(base, self._max_bytes)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        """The file within one transaction; None if it cannot be opened."""
        try:
            base = self._connected()
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s cannot be opened (%s): models will be asked again.", self._file, error)
            yield None
            return
        try:
            with base:
                yield base
        except sqlite3.Error as error:
            _log.warning("%s cannot be read or written (%s): models will be asked again.", self._file, error)
            self._close()
            if not isinstance(error, sqlite3.OperationalError):  # damaged further in
                self._file.unlink(missing_ok=True)

    def _connected(self) -> sqlite3.Connection:
        """A connection to the file, kept for as long as the file is there."""
        if self._base is not None and self._opened_file == _identity(self._file):
            return self._base
        self._close()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._base = self._new_connection()
        self._opened_file = _identity(self._file)
        weakref.finalize(self, self._base.close)
        return self._base

    def _close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _new_connection(self) -> sqlite3.Connection:
        try:
            return _connect(self._file)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # not a database, or no longer one
            self._file.unlink(missing_ok=True)
            return _connect(self._file)

    def _key(self, query: Query, settings: Mapping[str, float]) -> str:
        asked = query.model_dump(mode="json", exclude={"image"})
        image = image_key(query.image) if query.image is not None else None
        greedy = {"seed": 0, "num_samples": 1} if not settings.get("temperature") else {}
        identity = json.dumps([_FORMAT, self._model, asked, image, sorted({**settings, **greedy}.items())])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _connect(file: Path) -> sqlite3.Connection:
    """A connection that one thread after the other may use, as those of a Ray worker do; the table is there."""
    base = sqlite3.connect(file, timeout=_PATIENCE_S, check_same_thread=False)
    try:
        # What a failing machine loses of the file costs time: a damaged one is begun anew.
        base.execute("PRAGMA synchronous = OFF")
        base.execute(_TABLE)
    except sqlite3.Error:
        base.close()
        raise
    return base


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from another that takes its place; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _read(rows: sqlite3.Cursor) -> Iterator[tuple[str, Written]]:
    for key, content in rows:
        try:
            yield key, Written.model_validate_json(content)
        except ValidationError:
            continue  # of another version: it is asked again


def _shrink(base: sqlite3.Connection, limit: int) -> int:
    """Drop the least recently used entries until a tenth of the room is free, if there is none left; what is held."""
    held: int = base.execute("SELECT COALESCE(SUM(LENGTH(content)), 0) FROM outputs").fetchone()[0]
    if held <= limit:
        return held
    rows = base.execute("SELECT key, LENGTH(content) FROM outputs ORDER BY used, key").fetchall()
    dropped = []
    for key, size in rows:
        if held <= 0.9 * limit:
            break
        dropped.append((key,))
        held -= size
    base.executemany("DELETE FROM outputs WHERE key = ?", dropped)
    return held


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
