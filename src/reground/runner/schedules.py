"""In which order edits are put in force and probed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reground.edits.records import Edit

__all__ = ["REFERENCE", "Step", "reference_steps", "single_steps"]

#: Stands in the method field of the rows that the unedited model wrote.
REFERENCE = "reference"


@dataclass(frozen=True)
class Step:
    """The smallest unit of a run: done wholly, or done again.

    Attributes:
        method: The method, or ``REFERENCE``.
        index: Position within the method's schedule, from 0.
        edit: What is edited and probed.
    """

    method: str
    index: int
    edit: Edit

    @property
    def key(self) -> str:
        """What the journal knows the step by; the same in every run of the same recipe."""
        return f"{self.method}/{self.index}/{self.edit.id}"


def reference_steps(edits: Iterable[Edit]) -> list[Step]:
    """What the unedited model is asked, edit by edit; all of it comes before any edit is applied."""
    return [Step(REFERENCE, index, edit) for index, edit in enumerate(edits)]


def single_steps(methods: Iterable[str], edits: Sequence[Edit]) -> list[Step]:
    """The ``single`` schedule: one method after the other, and for each one edit after the other."""
    return [Step(method, index, edit) for method in methods for index, edit in enumerate(edits)]
