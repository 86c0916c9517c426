"""Judging what was said about one edit after the other, in this process or in several.

An edit is judged by itself: outputs about it have much in common, outputs about another have little. So edits are
what is handed out, and what comes back is the same whoever judged them.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Generic, NamedTuple, TypeVar

from reground.edits.records import Answer, Edit, Probe, TraceOutcome
from reground.evaluation.labels import (
    COLLAPSED_OUTCOMES,
    LABELS,
    Judgement,
    Label,
    Measure,
    Unscored,
    judge_probe,
)
from reground.evaluation.locality import independence, kept_correct
from reground.evaluation.stance import Stance, StanceReader

__all__ = [
    "HOP_METRICS",
    "IN_SCOPE_METRICS",
    "LOCALITY_METRICS",
    "Asked",
    "BriefTrace",
    "Said",
    "Task",
    "Verdict",
    "judge_all",
]

#: Metrics of a probe that expects a new answer, in the order of its measures.
IN_SCOPE_METRICS = (
    "tf",
    "answer",
    "token_f1",
    "grounded",
    "illusion_gap",
    "collapse",
    "chain_length_ratio",
    *(f"collapse_{outcome}" for outcome in COLLAPSED_OUTCOMES),
    *(label for label in LABELS if label not in ("grounded", "collapse")),
)
#: What a probe of portability has after those.
HOP_METRICS = ("intermediate_usage", "hop_accuracy")
LOCALITY_METRICS = ("independence", "kept_correct")

#: Edits that are handed to another process at once: enough that handing over does not count.
_NUM_TOGETHER = 16

_Payload = TypeVar("_Payload")
_Item = TypeVar("_Item")


# Of these there may be a million: named tuples are made, hashed and compared in a third of a record's time.


class BriefTrace(NamedTuple):
    """What counts of a trace: far less than the trace."""

    outcome: TraceOutcome
    chain: str | None
    answer: str | None


class Said(NamedTuple):
    """An output as it is judged: what was read of it, and its teacher-forced score."""

    trace: BriefTrace | None
    tf: float | None


class Asked(NamedTuple):
    """One output about an edit and what it is held against.

    Attributes:
        probe: What was asked.
        before: What the unedited model said, if recorded.
        after: What the edited model said.
        prior: See ``labels.prior_of``.
    """

    probe: Probe
    before: Said | None
    after: Said
    prior: Answer | None


class Verdict(NamedTuple):
    """What one output brought.

    Attributes:
        measures: In the order of ``IN_SCOPE_METRICS`` and ``HOP_METRICS``, or of ``LOCALITY_METRICS``: a number, or in
            its place the reason there is none.
        label: The exclusive label, if it has one.
    """

    measures: tuple[float | str, ...]
    label: Label | None = None


@dataclass(frozen=True)
class Task(Generic[_Payload]):
    """The outputs about one edit, each distinct one once.

    Attributes:
        payload: What the caller wants to have back beside the verdicts; it stays in the caller's process.
        edit: The edit.
        asked: Its outputs.
    """

    payload: _Payload
    edit: Edit
    asked: Sequence[Asked]


def judge_all(
    tasks: Iterable[Task[_Payload]], reader: StanceReader, workers: int = 1
) -> Iterator[tuple[_Payload, list[Verdict]]]:
    """The verdicts on each task, in the order of the tasks.

    Args:
        tasks: Taken as they are needed; only a few are held at a time.
        reader: Reads what chains say; with several workers it has to be picklable.
        workers: Processes that judge; 1 judges in this one. They are started afresh (``spawn``), so a script that
            asks for several needs the usual ``if __name__ == "__main__"``. What one that is lost, or that could not be
            started, was to judge is judged here.
    """
    if workers == 1:
        yield from ((task.payload, _judge_edit(task.edit, task.asked, reader)) for task in tasks)
        return
    waiting: deque[tuple[list[Task[_Payload]], Future[list[_PackedVerdicts]] | None]] = deque()
    remaining = iter(tasks)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (reader,))

    def oldest() -> Iterator[tuple[_Payload, list[Verdict]]]:
        together, future = waiting.popleft()
        for task, verdicts in zip(together, _result(together, future, reader), strict=True):
            yield task.payload, verdicts

    try:
        while together := list(islice(remaining, _NUM_TOGETHER)):
            waiting.append((together, _submitted(pool, together)))
            if len(waiting) > 2 * workers:
                yield from oldest()
        while waiting:
            yield from oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, together: Sequence[Task[_Payload]]) -> Future[list[_PackedVerdicts]] | None:
    """What a worker will bring; None if none could be started or none is left."""
    try:
        return pool.submit(_judge_in_worker, [_packed(task.edit, task.asked) for task in together])
    except (BrokenProcessPool, OSError):
        return None


def _result(
    together: Sequence[Task[_Payload]], future: Future[list[_PackedVerdicts]] | None, reader: StanceReader
) -> list[list[Verdict]]:
    try:
        if future is not None:
            return [_unpacked_verdicts(packed) for packed in future.result()]
    except BrokenProcessPool:
        pass
    return [_judge_edit(task.edit, task.asked, reader) for task in together]


_reader_of_worker: StanceReader | None = None


def _start_worker(reader: StanceReader) -> None:
    global _reader_of_worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is its parent's to answer
    _reader_of_worker = reader
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for work on a queue that its own end keeps open, so it would outlive a parent that was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge_in_worker(edits: Sequence[_PackedAsked]) -> list[_PackedVerdicts]:
    assert _reader_of_worker is not None, "a worker is started with a reader"
    return [_packed_verdicts(_judge_edit(*_unpacked(packed), _reader_of_worker)) for packed in edits]


# Between processes records take fifty times as long as tuples, and what several share is sent once.

_PackedSaid = tuple[tuple[TraceOutcome, str | None, str | None] | None, float | None]
_PackedAsked = tuple[
    Edit, list[Probe], list[_PackedSaid | None], list[Answer | None], list[tuple[int, int, int, _PackedSaid]]
]
_PackedVerdicts = tuple[list[tuple[tuple[float | str, ...], Label | None]], list[int]]


class _Shared(Generic[_Item]):
    """Things that are known by their number; the same object has one number."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self._number_of: dict[int, int] = {}

    def number(self, item: _Item) -> int:
        number = self._number_of.setdefault(id(item), len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


def _packed(edit: Edit, asked: Sequence[Asked]) -> _PackedAsked:
    probes, befores, priors = _Shared[Probe](), _Shared[Said | None](), _Shared[Answer | None]()
    numbered = [
        (probes.number(one.probe), befores.number(one.before), priors.number(one.prior), _packed_said(one.after))
        for one in asked
    ]
    said = [None if before is None else _packed_said(before) for before in befores.items]
    return edit, probes.items, said, priors.items, numbered


def _unpacked(packed: _PackedAsked) -> tuple[Edit, list[Asked]]:
    edit, probes, said, priors, numbered = packed
    befores = [None if one is None else _unpacked_said(one) for one in said]
    return edit, [Asked(probes[p], befores[b], _unpacked_said(after), priors[a]) for p, b, a, after in numbered]


def _packed_said(said: Said) -> _PackedSaid:
    trace = said.trace
    return (trace.outcome, trace.chain, trace.answer) if trace is not None else None, said.tf


def _unpacked_said(packed: _PackedSaid) -> Said:
    trace, tf = packed
    return Said(BriefTrace(*trace) if trace is not None else None, tf)


def _packed_verdicts(verdicts: Sequence[Verdict]) -> _PackedVerdicts:
    number_of: dict[tuple[tuple[float | str, ...], Label | None], int] = {}
    numbers = [number_of.setdefault((one.measures, one.label), len(number_of)) for one in verdicts]
    return list(number_of), numbers


def _unpacked_verdicts(packed: _PackedVerdicts) -> list[Verdict]:
    distinct = [Verdict(*one) for one in packed[0]]
    return [distinct[number] for number in packed[1]]


def _judge_edit(edit: Edit, asked: Sequence[Asked], reader: StanceReader) -> list[Verdict]:
    remembering = _Remembering(reader)
    return [_verdict(edit, one, remembering) for one in asked]


def _verdict(edit: Edit, asked: Asked, reader: StanceReader) -> Verdict:
    probe, before, after = asked.probe, asked.before, asked.after
    if probe.is_local:
        return Verdict(_told((independence(edit, probe, before, after), kept_correct(probe, before, after))))
    judgement = judge_probe(edit, probe, before, after, reader, asked.prior)
    label = None if isinstance(judgement.label, Unscored) else judgement.label
    return Verdict(_told(_measures(judgement)), label)


def _told(measures: Sequence[Measure]) -> tuple[float | str, ...]:
    return tuple([one.reason if isinstance(one, Unscored) else one for one in measures])


def _measures(judgement: Judgement) -> tuple[Measure, ...]:
    """What one judgement contributes to each in-scope metric."""
    tf, grounded, fell = judgement.tf, judgement.grounded, judgement.collapse
    gap = tf if isinstance(tf, Unscored) else grounded if isinstance(grounded, Unscored) else tf - grounded
    # Without a chain to read, "collapse" is a finding and "no dissonance" is not.
    failure = grounded if isinstance(grounded, Unscored) else judgement.label
    return (
        tf,
        judgement.answer,
        judgement.token_f1,
        grounded,
        gap,
        fell,
        judgement.chain_length_ratio,
        *(
            fell if isinstance(fell, Unscored) else float(bool(fell) and judgement.outcome == outcome)
            for outcome in COLLAPSED_OUTCOMES
        ),
        *(
            failure if isinstance(failure, Unscored) else float(failure == name)
            for name in LABELS
            if name not in ("grounded", "collapse")
        ),
        judgement.intermediate_usage,
        judgement.hop_accuracy,
    )


class _Remembering:
    """A stance reader that reads the same chain about the same fact once."""

    def __init__(self, reader: StanceReader) -> None:
        self._reader = reader
        self._read: dict[tuple[str, tuple[str, ...], tuple[str, ...], str], Stance] = {}

    @property
    def name(self) -> str:
        return self._reader.name

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        asked = (chain, new.spellings, prior.spellings if prior is not None else (), question)
        known = self._read.get(asked)
        if known is None:
            known = self._read[asked] = self._reader.read(chain, new=new, prior=prior, question=question)
        return known
