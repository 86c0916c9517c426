"""What the built-in suites hold, counted once and kept beside the code, so that a run need not write every probe first.

``ci/count_benchmarks.py`` writes the file, and the tests count anew.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Protocol, runtime_checkable

from reground.edits.records import Record

__all__ = ["COUNTED_FILE", "Counted", "Counts", "counted"]

COUNTED_FILE = "counted.json"


class Counted(Record):
    """What follows from the content of a suite.

    Attributes:
        checksum, counts, levels: As on its card.
    """

    checksum: str
    counts: dict[str, int]
    levels: tuple[str, ...]


@runtime_checkable
class Counts(Protocol):
    """A benchmark that can go through all it holds."""

    def count(self) -> Counted:
        """Write every edit and probe, and count them."""
        ...


@cache
def counted(name: str) -> Counted:
    """What the file says of a built-in suite.

    Raises:
        KeyError: It was never counted.
    """
    found = json.loads((files("reground.benchmarks") / COUNTED_FILE).read_text(encoding="utf-8"))
    return Counted.model_validate(found[name])
