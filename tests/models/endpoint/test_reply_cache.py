"""Replies on disk: kept through a kill, counted, limited, and never in the way."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reground.errors import InputError
from reground.models.endpoint.cache import MAX_BYTES, ReplyCache, max_cache_bytes


def test_what_is_kept_is_found_again_and_counted(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "deep" / "a.sqlite")
    assert (cache.find("k"), len(cache), cache.held_bytes) == (None, 0, 0)
    cache.keep("k", "ü")
    cache.keep("k", "other")
    cache.close()
    again = ReplyCache(tmp_path / "deep" / "a.sqlite")
    assert (again.find("k"), len(again), again.held_bytes) == ("ü", 1, 3)
    again.close()


def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "a.sqlite", max_bytes=30)
    for number in range(10):
        cache.keep(str(number), "x" * 9)
    assert (len(cache), cache.held_bytes) == (3, 30)
    assert [key for key in map(str, range(10)) if cache.find(key)] == ["7", "8", "9"]
    cache.keep("large", "x" * 99)
    assert len(cache) == 0
    cache.close()


def test_two_processes_share_it(tmp_path: Path) -> None:
    one, two = ReplyCache(tmp_path / "a.sqlite"), ReplyCache(tmp_path / "a.sqlite")
    one.keep("a", "1")
    two.keep("b", "2")
    assert (one.find("b"), two.find("a"), one.held_bytes, two.held_bytes) == ("2", "1", 4, 4)
    one.close()
    two.close()


def test_a_killed_process_leaves_what_it_had_kept(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom reground.models.endpoint.cache import ReplyCache\n"
        f"cache = ReplyCache(Path({str(tmp_path / 'a.sqlite')!r}))\nnumber = 0\n"
        "while True:\n    cache.keep(str(number), 'x' * 1000)\n    print(number, flush=True)\n    number += 1\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert child.stdout is not None
    last = [child.stdout.readline() for _ in range(50)][-1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    cache = ReplyCache(tmp_path / "a.sqlite")
    assert all(cache.find(str(number)) == "x" * 1000 for number in range(int(last) + 1))
    assert cache.held_bytes == sum(1000 + len(str(number)) for number in range(len(cache)))
    cache.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database" * 100)
    cache = ReplyCache(tmp_path / "a.sqlite")
    cache.keep("k", "1")
    assert cache.find("k") == "1"
    assert "was damaged" in caplog.text
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    cache.close()


def test_where_nothing_can_be_kept_nothing_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    caplog.set_level(logging.WARNING)
    cache = ReplyCache(tmp_path / "file" / "a.sqlite")
    cache.keep("k", "1")
    assert (cache.find("k"), len(cache), cache.held_bytes) == (None, 0, 0)
    assert "cannot be used" in caplog.text


def test_the_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_cache_bytes() == MAX_BYTES
    monkeypatch.setenv("REGROUND_ENDPOINT_CACHE_BYTES", "5")
    assert max_cache_bytes() == 5
    monkeypatch.setenv("REGROUND_ENDPOINT_CACHE_BYTES", "much")
    with pytest.raises(InputError, match="'much'"):
        max_cache_bytes()
