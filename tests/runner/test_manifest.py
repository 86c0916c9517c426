"""What a run directory says about its origin."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import reground
from reground.runner import manifest


@pytest.fixture(autouse=True)
def forgotten() -> None:
    manifest._commit.cache_clear()


def test_versions_are_found_without_imports() -> None:
    versions = manifest.collect_versions()
    assert versions["reground"] == reground.__version__
    assert versions["protocol"] == reground.PROTOCOL_VERSION
    assert versions["python"] == platform.python_version()
    assert versions["torch"] not in ("", "not installed")


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(reground, "__file__", str(tmp_path / "__init__.py"))
    versions = manifest.collect_versions()
    assert (versions["commit"], versions["dirty"]) == ("unknown", "unknown")


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
    clean = manifest.collect_versions()
    assert (clean["commit"], clean["dirty"]) == (git("rev-parse", "HEAD"), "false")
    file.write_text("changed = True")
    manifest._commit.cache_clear()
    assert manifest.collect_versions()["dirty"] == "true"
