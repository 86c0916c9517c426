"""How many processor cores there are for this process."""

from __future__ import annotations

import os

__all__ = ["num_usable_cores"]


def num_usable_cores() -> int:
    """Cores this process may run on, at least 1: fewer than the machine has where it was given a share."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
