"""Freed memory: kept beside a small model, given back beside a large one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from reground.models.hf import adapter
from reground.models.hf.adapter import load_hf_model

#: Frees a block between two others; prints how many of its 32 MiB stay with the process, without and with the call.
_SCRIPT = """
import torch
from reground.models.hf.allocator import give_back_when_freed

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def left():
    before = resident()
    block, above = torch.ones(8 << 20), torch.ones(1 << 20)
    del block
    return (resident() - before - above.numel() * 4) >> 20

kept = left()
give_back_when_freed()
print(kept, left())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_goes_back() -> None:
    settings = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    assert kept >= 28 and left <= 4


@pytest.mark.parametrize(
    ("num_parameters", "device", "gives_back"),
    [(99_000_000, "cpu", False), (100_000_000, "cpu", True), (100_000_000, "cuda:0", False)],
)
def test_beside_a_large_model_on_a_cpu(
    num_parameters: int, device: str, gives_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "give_back_when_freed", called := MagicMock())
    adapter._fit_allocator(num_parameters, torch.device(device))
    assert called.call_count == gives_back


def test_it_is_said_before_a_model_is_loaded(tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_GIVES_BACK_FROM", 1)
    order: list[str] = []
    load = adapter.AutoModelForImageTextToText.from_pretrained
    monkeypatch.setattr(adapter, "give_back_when_freed", lambda: order.append("told"))
    monkeypatch.setattr(
        adapter.AutoModelForImageTextToText,
        "from_pretrained",
        lambda *args, **kwargs: order.append("loaded") or load(*args, **kwargs),
    )
    load_hf_model(str(tiny_folders["qwen2_vl"]), device="cpu")
    assert order == ["told", "loaded"]
