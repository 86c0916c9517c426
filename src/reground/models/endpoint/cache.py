"""Replies of endpoints on disk, by what was asked, so that nothing is paid for twice.

One SQLite file in write-ahead mode: a process that is killed leaves every reply it had kept and no half of one, and
several processes may use it. The bytes it holds are counted as they come and go.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from reground.edits.cache import MAX_BYTES, cache_folder, max_bytes

__all__ = ["MAX_BYTES", "ReplyCache", "max_cache_bytes", "reply_cache_path"]

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, reply TEXT NOT NULL, num_bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS held (num_bytes INTEGER NOT NULL);
INSERT INTO held SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM held);
CREATE TRIGGER IF NOT EXISTS counted_in AFTER INSERT ON replies
    BEGIN UPDATE held SET num_bytes = num_bytes + new.num_bytes; END;
CREATE TRIGGER IF NOT EXISTS counted_out AFTER DELETE ON replies
    BEGIN UPDATE held SET num_bytes = num_bytes - old.num_bytes; END;
"""


def reply_cache_path() -> Path:
    """Where replies are kept; it need not exist."""
    return cache_folder() / "endpoints" / "replies.sqlite"


def max_cache_bytes() -> int:
    """How much is kept at most.

    Raises:
        InputError: The variable that says so holds no number.
    """
    return max_bytes("REGROUND_ENDPOINT_CACHE_BYTES")


class ReplyCache:
    """Replies by key. Where the file cannot be used the log says so, and every question is asked.

    Args:
        path: The file; made if absent, put aside if it is damaged.
        max_bytes: When more is held, the oldest replies go.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._file = self._opened()

    def find(self, key: str) -> str | None:
        """The reply kept under a key, or None."""
        found = self._do("SELECT reply FROM replies WHERE key = ?", key)
        return str(found[0][0]) if found else None

    def keep(self, key: str, reply: str) -> None:
        """Put a reply on disk; one that is there already stays."""
        size = len(key) + len(reply.encode())
        self._do("INSERT OR IGNORE INTO replies (key, reply, num_bytes) VALUES (?, ?, ?)", key, reply, size)
        excess = self.held_bytes - self._max_bytes
        while excess > 0 and (oldest := self._do("SELECT number, num_bytes FROM replies ORDER BY number LIMIT 1")):
            self._do("DELETE FROM replies WHERE number = ?", oldest[0][0])
            excess -= oldest[0][1]

    @property
    def held_bytes(self) -> int:
        """Bytes of all keys and replies."""
        found = self._do("SELECT num_bytes FROM held")
        return int(found[0][0]) if found else 0

    def __len__(self) -> int:
        found = self._do("SELECT COUNT(*) FROM replies")
        return int(found[0][0]) if found else 0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def _do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._file is None:
                return []
            try:
                return self._file.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                _log.warning("%s cannot be used any more (%s): endpoints are asked anew.", self.path, error)
                self._file.close()
                self._file = None
                return []

    def _opened(self) -> sqlite3.Connection | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _open(self.path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, full or not writable, but not damaged
                    raise
                aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
                self.path.rename(aside)
                _log.warning("%s was damaged (%s); it is now %s.", self.path, error, aside.name)
                return _open(self.path)
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s cannot be used (%s): endpoints are asked anew.", self.path, error)
            return None


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except sqlite3.Error:
        file.close()
        raise
    return file
