"""Versions of everything that can move a number."""

from __future__ import annotations

import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

import reground

__all__ = ["collect_versions"]

_PACKAGES = ("torch", "transformers", "peft", "numpy", "pillow")
_UNKNOWN = "unknown"


@cache
def _commit() -> tuple[str, str]:
    """Commit and dirty flag of the checkout the package runs from; unknown if it runs from a wheel."""
    package = Path(reground.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *arguments],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    asked = (
        ("ls-files", "--error-unmatch", "__init__.py"),
        ("rev-parse", "HEAD"),
        ("status", "--porcelain", "--", "."),
    )
    with ThreadPoolExecutor(len(asked)) as pool:
        own, commit, changes = pool.map(lambda arguments: git(*arguments), asked)
    # A virtual environment inside somebody else's repository is not our checkout.
    if own is None:
        return _UNKNOWN, _UNKNOWN
    return commit or _UNKNOWN, _UNKNOWN if changes is None else str(bool(changes)).lower()


def collect_versions() -> dict[str, str]:
    """Versions of everything here that can move a number, found without importing any of it."""
    commit, dirty = _commit()
    versions = {
        "reground": reground.__version__,
        "protocol": reground.PROTOCOL_VERSION,
        "python": platform.python_version(),
        "commit": commit,
        "dirty": dirty,
    }
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
