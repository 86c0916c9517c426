"""Fixtures of the runner's tests: a small benchmark, a model that can be edited, methods that edit it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import scripted_world

from reground.evaluation import stance
from reground.methods.registry import METHODS
from reground.models.registry import MODELS


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODELS, "scripted:editable", scripted_world.EDITABLE)
    monkeypatch.setitem(METHODS, "overwrite", scripted_world.OVERWRITE)
    monkeypatch.setitem(METHODS, "tell", scripted_world.TELL)
    monkeypatch.setattr(stance, "RuleStanceReader", scripted_world.PlainReader, raising=False)
    scripted_world.SEEN.clear()


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A benchmark folder of three edits."""
    folder = tmp_path / "world"
    scripted_world.write_benchmark(folder)
    return folder
