"""Where caches lie."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reground.edits.cache import CacheEntry, cache_entries, cache_folder, clear_cache


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REGROUND_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "reground"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "reground"


def test_a_folder_that_a_run_is_filling_can_be_cleared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command ended in a traceback when a file came or went while it deleted."""
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    is_over = threading.Event()

    def fill() -> None:
        number = 0
        while not is_over.is_set():
            path = tmp_path / "images" / str(number % 7) / str(number)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
                path.unlink() if number % 2 else None
            except OSError:  # the folder went meanwhile
                pass
            number += 1

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        cleared: list[CacheEntry] = []
        while len(cleared) < 50:
            cleared += [entry for entry in clear_cache() if entry.num_files]
    finally:
        is_over.set()
        writer.join()
    assert {entry.name for entry in cleared} == {"images"}
    clear_cache()
    assert cache_entries() == [] and list(tmp_path.iterdir()) == []
