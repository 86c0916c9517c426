"""The meter reads time and memory of its block."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from reground.methods import cost
from reground.methods.cost import measured


def test_seconds_are_those_of_the_block() -> None:
    with measured("cpu") as meter:
        time.sleep(0.02)
    assert 0.02 <= meter.seconds < 2


def test_a_large_array_shows_although_it_is_gone_at_the_end() -> None:
    with measured("cpu") as meter:
        held = np.ones(40_000_000 // 8)
        del held
    if meter.peak_bytes is None:
        pytest.skip("the process's high-water mark cannot be reset here; needs a writable /proc/self/clear_refs")
    assert 30_000_000 < meter.peak_bytes < 200_000_000


def test_memory_that_earlier_blocks_left_behind_hides_nothing() -> None:
    """Freed memory stays resident, so a peak above what was resident came out as 0 from the second edit on."""
    peaks = []
    for _ in range(3):
        with measured("cpu") as meter:
            held = [torch.ones(1_000_000 // 4) for _ in range(60)]
            del held
        peaks.append(meter.peak_bytes)
    if None in peaks:
        pytest.skip("the process's high-water mark cannot be reset here; needs a writable /proc/self/clear_refs")
    assert min(peak for peak in peaks if peak is not None) > 30_000_000


def test_a_mark_that_can_neither_be_reset_nor_moves_is_not_a_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cost, "_CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    monkeypatch.setattr(cost, "_lifetime_peak_bytes", lambda: 1000)
    with measured("cpu") as meter:
        pass
    assert meter.peak_bytes is None


def test_an_error_in_the_block_is_timed_and_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), measured("cpu") as meter:
        _ = 1 / 0
    assert meter.seconds > 0
