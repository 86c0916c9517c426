"""Units shared among worker processes on this machine; with GPUs, each worker has one of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from reground.models.base import Model
from reground.runner.cores import num_usable_cores
from reground.runner.executors.base import Feed
from reground.runner.executors.messages import Message, pass_on, told
from reground.runner.work import STATE_EVERY_S, Job, Unit, Workplace

__all__ = ["LocalExecutor"]

_STOP_S = 5.0
_spawn = multiprocessing.get_context("spawn")


class LocalExecutor:
    """Does units in worker processes. One that dies is replaced, and what it had not finished is done again.

    Args:
        num_workers: How many.
        state_every_s: Seconds of work after which the state of a chain is written.
    """

    def __init__(self, num_workers: int, *, state_every_s: float = STATE_EVERY_S) -> None:
        self._num_workers = num_workers
        self._state_every_s = state_every_s
        self._workers: list[_Process] = []

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that are running."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    @property
    def num_processes(self) -> int:
        """As many as there are workers."""
        return self._num_workers

    def run(self, feed: Feed, loaded: list[tuple[Job, Model]]) -> None:
        """Do everything a feed has; see ``Executor.run``. A model loaded here is let go: each worker loads its own."""
        loaded.clear()
        num_gpus = _num_gpus_freed()
        while True:
            self._hand_out(feed, num_gpus)
            busy = [worker for worker in self._workers if worker.unit is not None]
            if not busy:
                return
            ready = wait([worker.connection for worker in busy])
            for worker in busy:
                if worker.connection in ready:
                    self._hear(worker, feed)

    def _hand_out(self, feed: Feed, num_gpus: int) -> None:
        """Give each idle worker a unit, as long as there are units that can be done."""
        for index in range(self._num_workers):
            worker = next((one for one in self._workers if one.index == index), None)
            if worker is not None and worker.unit is not None:
                continue
            unit = feed.next_unit(None if worker is None else worker.run)
            if unit is None:
                return
            if worker is None:
                worker = _Process(index, self._num_workers, num_gpus, self._state_every_s)
                self._workers.append(worker)
            worker.begin(feed.job(unit), unit)

    def _hear(self, worker: _Process, feed: Feed) -> None:
        unit = worker.unit
        assert unit is not None, "only busy workers are listened to"
        try:
            message: Message = worker.connection.recv()
        except (EOFError, OSError):
            why = worker.end()
            self._workers.remove(worker)
            feed.lose(unit, why)
            return
        if pass_on(unit, message, feed):
            worker.unit = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every worker; idle ones end by themselves, all at once."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.end()
        self._workers = []


class _Process:
    """One worker process and what it is doing."""

    def __init__(self, index: int, num_workers: int, num_gpus: int, state_every_s: float) -> None:
        self.index = index
        self.unit: Unit | None = None
        self.run: str | None = None
        self.connection, theirs = _spawn.Pipe()
        self.process: BaseProcess = _spawn.Process(target=_serve, args=(theirs, state_every_s), daemon=True)
        with _surroundings(index, num_workers, num_gpus):
            self.process.start()
        theirs.close()  # else the end of the process could not be told from its silence

    def begin(self, job: Job, unit: Unit) -> None:
        """Hand over a unit; the job only if the last unit was of another."""
        is_new = self.run != unit.run
        self.unit, self.run = unit, unit.run
        try:
            self.connection.send((job if is_new else None, unit))
        except OSError:  # it died meanwhile: the next attempt to hear from it says so
            return

    def end(self) -> str:
        """Stop the process, and say how it ended.

        One that has nothing to do ends by itself once nobody talks to it, and leaves nothing behind.
        """
        self.connection.close()
        self.process.join(_STOP_S if self.unit is None else 0.1)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(_STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        return f"it ended by signal {-code}" if code is not None and code < 0 else f"it ended with code {code}"


def _serve(connection: Connection, state_every_s: float) -> None:
    """Do units until there is nobody to tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that holds the run directory decides
    workplace = Workplace(state_every_s=state_every_s)
    job: Job | None = None
    while True:
        try:
            new_job, unit = connection.recv()
            job = new_job or job
            assert job is not None, "a worker's first unit comes with its job"
            for message in told(workplace, job, unit):
                connection.send(message)
        except (EOFError, OSError):
            return


def _num_gpus_freed() -> int:
    """How many GPUs there are, without what this process still held of a model on one."""
    import torch  # whoever runs here has a model, and torch with it

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    return torch.cuda.device_count()


@contextmanager
def _surroundings(index: int, num_workers: int, num_gpus: int) -> Iterator[None]:
    """The environment a worker starts in: its share of the cores, and one GPU if there are any."""
    settings = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, num_usable_cores() // num_workers)))}
    if num_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(num_gpus)))).split(",")
        settings["CUDA_VISIBLE_DEVICES"] = visible[index % len(visible)]
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
