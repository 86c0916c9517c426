"""Where results that take long and can be had again are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$REGROUND_CACHE``, else ``reground`` in the user's cache folder; it need not exist."""
    stated = os.environ.get("REGROUND_CACHE")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reground"
