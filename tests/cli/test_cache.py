"""`reground cache`: what is kept between runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reground.cli.main import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    (tmp_path / "outputs.sqlite").write_bytes(b"12345")
    (tmp_path / "key-statistics").mkdir()
    (tmp_path / "key-statistics" / "a.safetensors").write_bytes(b"123")
    return tmp_path


def said(*words: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["cache", *words, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.output)
    return found


def test_show_counts_what_is_there(folder: Path) -> None:
    shown = said("show")
    assert shown["num_bytes"] == 8
    assert shown["entries"] == [
        {"name": "key-statistics", "num_files": 1, "num_bytes": 3},
        {"name": "outputs.sqlite", "num_files": 1, "num_bytes": 5},
    ]


def test_people_are_shown_an_entry_a_line(folder: Path) -> None:
    result = CliRunner().invoke(app, ["cache", "show"])
    assert [line.split()[:2] for line in result.output.splitlines()][1:] == [
        ["key-statistics", "1"],
        ["outputs.sqlite", "1"],
    ]


def test_one_entry_or_all_can_be_cleared(folder: Path) -> None:
    assert said("clear", "key-statistics") == {"deleted": ["key-statistics"], "num_bytes": 3}
    assert [path.name for path in folder.iterdir()] == ["outputs.sqlite"]
    assert said("clear") == {"deleted": ["outputs.sqlite"], "num_bytes": 5}
    assert said("clear") == {"deleted": [], "num_bytes": 0}


def test_an_entry_that_is_not_there_is_named_with_its_nearest(folder: Path) -> None:
    result = CliRunner().invoke(app, ["cache", "clear", "outputs"])
    assert result.exit_code == 2
    assert "outputs.sqlite" in result.output


def test_no_folder_is_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "none"))
    assert said("show")["entries"] == []
