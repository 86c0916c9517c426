"""What rows say about their origin."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import reground
from reground.runner import versions


@pytest.fixture(autouse=True)
def forgotten() -> None:
    versions._commit.cache_clear()


def test_versions_are_found_without_imports() -> None:
    found = versions.collect_versions()
    assert found["reground"] == reground.__version__
    assert found["protocol"] == reground.PROTOCOL_VERSION
    assert found["python"] == platform.python_version()
    assert found["torch"] not in ("", "not installed")


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(reground, "__file__", str(tmp_path / "__init__.py"))
    found = versions.collect_versions()
    assert (found["commit"], found["dirty"]) == ("unknown", "unknown")


def test_commit_and_dirty_flag_come_from_the_package_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import subprocess

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "__init__.py"
    file.touch()
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(reground, "__file__", str(file))
    clean = versions.collect_versions()
    assert (clean["commit"], clean["dirty"]) == (git("rev-parse", "HEAD"), "false")
    file.write_text("changed = True")
    versions._commit.cache_clear()
    assert versions.collect_versions()["dirty"] == "true"
