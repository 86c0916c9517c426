"""The seam between what is to be done in a run and who does it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from reground.models.base import Model
from reground.runner.work import Done, Job, Unit

__all__ = ["Executor", "Feed"]


class Feed(Protocol):
    """Where an executor gets its units, and where it brings what they leave.

    It belongs to the process that holds the run directories; executors call it from one thread.
    """

    @property
    def is_waiting(self) -> bool:
        """Whether there is more to do than what is being done, now or once that has ended."""
        ...

    def job(self, unit: Unit) -> Job:
        """What a unit's steps have in common."""
        ...

    def next_unit(self, preferred: str | None = None) -> Unit | None:
        """A unit that can be done now, of the preferred run if it has one; None if none can."""
        ...

    def keep(self, unit: Unit, done: Done) -> None:
        """Take a finished step; it is on disk when this returns."""
        ...

    def end(self, unit: Unit) -> None:
        """Take note that all steps of a unit are done."""
        ...

    def lose(self, unit: Unit, why: str) -> None:
        """Take note that whoever did a unit is gone; what is left of it is handed out again.

        Raises:
            WorkerError: That has happened too often.
        """
        ...


class Executor(Protocol):
    """Does units. Leaving its ``with`` block ends whatever it started."""

    @property
    def num_processes(self) -> int:
        """How many processes may work for a run at once; 1: nothing is started beside the one that asks."""
        ...

    def run(self, feed: Feed, loaded: list[tuple[Job, Model]]) -> None:
        """Do everything a feed has.

        Args:
            feed: Where units come from.
            loaded: A run whose model is loaded in this process, and the model; taken out, so that an executor without
                use for it frees its memory.

        Raises:
            RegroundError: What stopped a unit, as it would stop a run in this process.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
