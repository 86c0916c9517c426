"""Units shared among the workers of a Ray cluster: an existing one, or one started on this machine for the run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from reground.errors import MissingExtraError, WorkerError
from reground.models.base import Model
from reground.models.registry import model_entry
from reground.runner.executors.base import Feed
from reground.runner.executors.messages import Message, pass_on, told
from reground.runner.work import STATE_EVERY_S, Job, Unit, Workplace

__all__ = ["RayExecutor"]

_ADDRESS = "RAY_ADDRESS"


class RayExecutor:
    """Does units in Ray actors, one unit at a time each. An actor that is lost is replaced.

    With the environment variable ``RAY_ADDRESS`` it joins that cluster, else it starts one on this machine and ends it
    with the run. The run directory, and whatever the recipe names by path, must be where every node sees them.

    Args:
        num_workers: Actors.
        state_every_s: Seconds of work after which the state of a chain is written.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, num_workers: int, *, state_every_s: float = STATE_EVERY_S) -> None:
        self._num_workers = num_workers
        self._state_every_s = state_every_s
        self._ray = _ray()
        self._has_started = False
        self._actors: list[_Actor] = []
        self._jobs: dict[str, Any] = {}

    @property
    def num_processes(self) -> int:
        """As many as there are workers."""
        return self._num_workers

    def run(self, feed: Feed, loaded: list[tuple[Job, Model]]) -> None:
        """Do everything a feed has; see ``Executor.run``. A model loaded here is let go: each actor loads its own.

        Raises:
            WorkerError: There is no cluster at the address.
        """
        loaded.clear()
        self._connect()
        while True:
            self._hand_out(feed)
            busy = {actor.stream: actor for actor in self._actors if actor.unit is not None}
            if not busy:
                return
            ready, _ = self._ray.wait(list(busy), num_returns=1)
            for stream in ready:
                self._hear(busy[stream], feed)

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        settings: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False, "configure_logging": False}
        address = os.environ.get(_ADDRESS)
        if address:
            settings.pop("include_dashboard")
        else:
            settings |= {"address": "local", "num_cpus": self._num_workers}
        try:
            self._ray.init(**settings)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"cannot reach a Ray cluster at {address or 'this machine'!r}: {error}.",
                "the address of a running cluster in RAY_ADDRESS, or none to start one here",
                "start it with `ray start --head`, or unset RAY_ADDRESS.",
            ) from error
        self._has_started = True

    def _hand_out(self, feed: Feed) -> None:
        """Give each idle actor a unit, as long as there are units that can be done."""
        for place in range(self._num_workers):
            actor = self._actors[place] if place < len(self._actors) else None
            if actor is not None and actor.unit is not None:
                continue
            unit = feed.next_unit(None if actor is None else actor.run)
            if unit is None:
                return
            if actor is None:
                actor = self._new_actor(feed.job(unit))
                self._actors.append(actor)
            if unit.run not in self._jobs:
                self._jobs[unit.run] = self._ray.put(feed.job(unit))
            actor.unit, actor.run = unit, unit.run
            actor.stream = actor.handle.do.options(num_returns="streaming").remote(self._jobs[unit.run], unit)

    def _new_actor(self, job: Job) -> _Actor:
        """An actor with what the run needs: a core, and a GPU where the cluster has some and the model may use one."""
        recipe = job.manifest.recipe
        may_use_gpu = model_entry(recipe.model).has_weights and (recipe.device or "cuda").startswith("cuda")
        num_gpus = int(may_use_gpu and self._ray.cluster_resources().get("GPU", 0) > 0)
        remote = self._ray.remote(num_cpus=1, num_gpus=num_gpus, max_restarts=0)(_Place)
        return _Actor(remote.remote(self._state_every_s))

    def _hear(self, actor: _Actor, feed: Feed) -> None:
        unit = actor.unit
        assert unit is not None, "only busy actors are listened to"
        try:
            message: Message = self._ray.get(next(actor.stream))
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.RayTaskError) as error:
            self._actors.remove(actor)
            self._ray.kill(actor.handle)
            feed.lose(unit, _said(error))
            return
        if pass_on(unit, message, feed):
            actor.unit = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every actor, and the cluster if it was started for this."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []
        if self._has_started:
            self._ray.shutdown()


@dataclass
class _Actor:
    """One actor, and what it is doing."""

    handle: Any
    unit: Unit | None = None
    run: str | None = None
    stream: Any = None


class _Place:
    """What an actor is made of."""

    def __init__(self, state_every_s: float) -> None:
        self._workplace = Workplace(state_every_s=state_every_s)

    def do(self, job: Job, unit: Unit) -> Iterator[Message]:
        """Do a unit, telling of each step as it is done."""
        yield from told(self._workplace, job, unit)

    def process_id(self) -> int:
        """Of the process the actor lives in."""
        return os.getpid()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "--executor ray") from error


def _said(error: Exception) -> str:
    """The kind of an error, and the first line of what it, or what it was caused by, has to say."""
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
