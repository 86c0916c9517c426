"""Which executors there are, by the name the command line knows them by."""

from __future__ import annotations

from collections.abc import Callable

from reground.errors import InputError, UnknownNameError
from reground.runner.executors.base import Executor

__all__ = ["EXECUTORS", "open_executor"]


def _local(num_workers: int) -> Executor:
    if num_workers == 1:
        from reground.runner.executors.inline import InlineExecutor

        return InlineExecutor()
    from reground.runner.executors.local import LocalExecutor

    return LocalExecutor(num_workers)


def _ray(num_workers: int) -> Executor:
    from reground.runner.executors.ray import RayExecutor

    return RayExecutor(num_workers)


#: ``local``: this process, or worker processes on this machine. ``ray``: actors of a Ray cluster.
EXECUTORS: dict[str, Callable[[int], Executor]] = {"local": _local, "ray": _ray}


def open_executor(name: str, num_workers: int) -> Executor:
    """An executor by its name.

    Args:
        name: One of ``EXECUTORS``.
        num_workers: Processes or actors that do steps.

    Raises:
        UnknownNameError: No executor has that name.
        InputError: Fewer than one worker.
        MissingExtraError: Ray is named and not installed.
    """
    if name not in EXECUTORS:
        raise UnknownNameError("executor", name, EXECUTORS, listed_by="run start --help")
    if num_workers < 1:
        raise InputError(f"{num_workers} workers were asked for.", "at least one", "leave --workers out for one.")
    return EXECUTORS[name](num_workers)
