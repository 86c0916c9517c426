"""What a worker process tells the process that holds the run directories."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from reground import errors
from reground.errors import RegroundError
from reground.runner.executors.base import Feed
from reground.runner.work import Done, Job, Unit, Workplace

__all__ = ["Ended", "Fault", "Message", "Refused", "pass_on", "told"]


@dataclass(frozen=True)
class Ended:
    """All steps of a unit are done."""


@dataclass(frozen=True)
class Refused:
    """What stopped a unit and the user can put right: the error's class and its three parts."""

    kind: str
    parts: tuple[str, str, str]


@dataclass(frozen=True)
class Fault:
    """What stopped a unit and nobody foresaw."""

    traceback: str


Message = Done | Ended | Refused | Fault


def told(workplace: Workplace, job: Job, unit: Unit) -> Iterator[Message]:
    """Do a unit, and tell of each step and of how it ended."""
    try:
        yield from workplace.do(job, unit)
    except RegroundError as error:
        yield Refused(type(error).__name__, (error.tried, error.accepted, error.next_step))
    except Exception:
        yield Fault(traceback.format_exc())
    else:
        yield Ended()


def pass_on(unit: Unit, message: Message, feed: Feed) -> bool:
    """Bring what a worker told of its unit to the feed; True if that was the last of it.

    Raises:
        Exception: What stopped the unit.
    """
    if isinstance(message, Done):
        feed.keep(unit, message)
        return False
    if isinstance(message, Ended):
        feed.end(unit)
        return True
    raise _raised_from(message)


def _raised_from(message: Refused | Fault) -> Exception:
    """The error that stopped a unit in another process, to be raised in this one."""
    if isinstance(message, Fault):
        return RuntimeError(f"a worker process failed:\n{message.traceback}")
    kind: type[RegroundError] = getattr(errors, message.kind, RegroundError)
    error = RegroundError.__new__(kind)
    RegroundError.__init__(error, *message.parts)
    return error
