"""Every unit done in this process, one after the other."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from reground.models.base import Model
from reground.runner.executors.base import Feed
from reground.runner.work import STATE_EVERY_S, Job, Workplace

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """Does units in this process.

    Args:
        state_every_s: Seconds of work after which the state of a chain is written.
    """

    def __init__(self, *, state_every_s: float = STATE_EVERY_S) -> None:
        self._state_every_s = state_every_s

    @property
    def num_processes(self) -> int:
        """This one."""
        return 1

    def run(self, feed: Feed, loaded: list[tuple[Job, Model]]) -> None:
        """Do everything a feed has; see ``Executor.run``."""
        job, model = loaded.pop() if loaded else (None, None)
        workplace = Workplace(job, model, state_every_s=self._state_every_s)
        del model  # the workplace replaces one that an edit spoiled
        run: str | None = None
        while (unit := feed.next_unit(run)) is not None:
            run = unit.run
            for done in workplace.do(feed.job(unit), unit):
                feed.keep(unit, done)
            feed.end(unit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was started, so nothing is to be ended."""
