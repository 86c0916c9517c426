"""In which order edits are put in force and probed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, field_validator

from reground.edits.records import Edit, Record

__all__ = [
    "REFERENCE",
    "Lifelong",
    "Probed",
    "Schedule",
    "Sequential",
    "Step",
    "chain_orders",
    "chain_steps",
    "probed_edits",
    "reference_steps",
    "schedule_name",
    "schedule_steps",
    "single_steps",
]

#: Stands in the method field of the rows that the unedited model wrote.
REFERENCE = "reference"


class Sequential(Record):
    """One chain of edits; each is probed once, after so many further ones.

    Edits with too few behind them are put in force and not probed.

    Attributes:
        gap: Edits applied between an edit and its probes (g).
        orders: Chains of each method, each with the edits in another order.
    """

    name: Literal["sequential"] = "sequential"
    gap: int = Field(default=10, ge=0, strict=True)
    orders: int = Field(default=3, ge=1, strict=True)


class Lifelong(Record):
    """One chain of edits; at each checkpoint a fixed sample of all edits so far is probed.

    At checkpoint 1 each edit of the sample stands alone, on a model without any other: a chain's first edit would be
    one edit. The end of the chain is a checkpoint too; checkpoints beyond it are left out.

    Attributes:
        checkpoints: Numbers of edits applied (T), rising.
        sample: Edits probed at a checkpoint at most. Which ones is drawn once: an edit that is in the sample of a
            checkpoint was in that of every earlier one it had been applied at.
        orders: Chains of each method, each with the edits in another order.
    """

    name: Literal["lifelong"] = "lifelong"
    checkpoints: Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Field(min_length=1)] = (
        1,
        10,
        50,
        100,
        250,
        500,
        750,
        1000,
    )
    sample: int = Field(default=50, ge=1, strict=True)
    orders: int = Field(default=3, ge=1, strict=True)

    @field_validator("checkpoints")
    @classmethod
    def _checkpoints_rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("checkpoints that rise, each given once")
        return value

    def reached(self, num_edits: int) -> tuple[int, ...]:
        """The checkpoints of a chain of so many edits, its end included."""
        return tuple(sorted({*(point for point in self.checkpoints if point < num_edits), num_edits}))


Schedule = Literal["single"] | Sequential | Lifelong


@dataclass(frozen=True)
class Probed:
    """An edit whose probes a step of a chain puts, and how many edits were applied after it."""

    edit: Edit
    age: int


@dataclass(frozen=True)
class Step:
    """The smallest unit of a run: done wholly, or done again.

    Attributes:
        method: The method, or ``REFERENCE``.
        index: Position within the method's schedule, from 0.
        edit: What is edited and probed; in a chain, the last of the edits that are in force.
        order: Which chain the step belongs to; None if the edit stands alone.
        added: In a chain, the edits this step puts in force.
        num_applied: In a chain, the number of edits in force after it.
        checkpoint: In a chain, what its rows carry: the number of edits applied at these probes or the next.
        probed: In a chain, the edits whose probes are put.
        is_last: Whether a chain ends here.
    """

    method: str
    index: int
    edit: Edit
    order: int | None = None
    added: tuple[Edit, ...] = ()
    num_applied: int = 1
    checkpoint: int = 1
    probed: tuple[Probed, ...] = ()
    is_last: bool = False

    @property
    def key(self) -> str:
        """What the journal knows the step by; the same in every run of the same recipe."""
        return f"{self.method}/{self.index}/{self.edit.id}"


def schedule_name(schedule: Schedule) -> str:
    """The name that rows and scores carry."""
    return schedule if isinstance(schedule, str) else schedule.name


def reference_steps(edits: Iterable[Edit]) -> list[Step]:
    """What the unedited model is asked, edit by edit; all of it comes before any edit is applied."""
    return [Step(REFERENCE, index, edit) for index, edit in enumerate(edits)]


def single_steps(methods: Iterable[str], edits: Sequence[Edit]) -> list[Step]:
    """The ``single`` schedule: one method after the other, and for each one edit after the other."""
    return [Step(method, index, edit) for method in methods for index, edit in enumerate(edits)]


def schedule_steps(
    schedule: Schedule, methods: Iterable[str], edits: Sequence[Edit], *, seed: int, anew: Iterable[str] = ()
) -> list[Step]:
    """Every step of every method, method by method, the steps of a chain in a row.

    Args:
        schedule: What is asked for.
        methods: Names.
        edits: The edits of the run.
        seed: Of the run; orders and sample follow from it.
        anew: Methods that put all edits of a chain in force together, and so have steps only where probes are put.
    """
    if schedule == "single":
        return single_steps(methods, edits)
    apart = set(anew)
    orders = chain_orders(schedule, edits, seed)
    steps: list[Step] = []
    for method in methods:
        of_method: list[Step] = []
        if isinstance(schedule, Lifelong) and schedule.reached(len(edits))[0] == 1:
            of_method += single_steps([method], _sample(schedule, edits, seed))
        for order, chain in enumerate(orders):
            of_method += chain_steps(
                schedule, method, order, chain, seed=seed, start=len(of_method), is_anew=method in apart
            )
        steps += of_method
    return steps


def chain_orders(schedule: Schedule, edits: Sequence[Edit], seed: int) -> list[tuple[Edit, ...]]:
    """The orders in which the chains of a run put its edits in force; none on the ``single`` schedule."""
    if isinstance(schedule, str):
        return []
    orders = []
    for order in range(schedule.orders):
        shuffled = list(edits)
        random.Random(f"order/{seed}/{order}").shuffle(shuffled)
        orders.append(tuple(shuffled))
    return orders


def chain_steps(
    schedule: Sequential | Lifelong,
    method: str,
    order: int,
    chain: Sequence[Edit],
    *,
    seed: int,
    start: int = 0,
    is_anew: bool = False,
) -> list[Step]:
    """The steps of one chain.

    Args:
        schedule: What is asked for.
        method: Its method.
        order: Which order ``chain`` is.
        chain: The edits in order.
        seed: Of the run.
        start: Index of the first step.
        is_anew: Leave out the steps that put no probes; the next one that does adds their edits.
    """
    probed = (
        _probed_lifelong(schedule, chain, seed) if isinstance(schedule, Lifelong) else _probed_after(schedule, chain)
    )
    steps: list[Step] = []
    waiting: list[Edit] = []
    last = max(probed, default=0)
    checkpoint_of = _next_of(sorted(probed)) if isinstance(schedule, Lifelong) else None
    for num_applied, edit in enumerate(chain[:last], start=1):
        waiting.append(edit)
        if is_anew and num_applied not in probed:
            continue
        steps.append(
            Step(
                method,
                start + len(steps),
                edit,
                order=order,
                added=tuple(waiting),
                num_applied=num_applied,
                checkpoint=checkpoint_of[num_applied] if checkpoint_of else num_applied,
                probed=tuple(probed.get(num_applied, ())),
                is_last=num_applied == last,
            )
        )
        waiting = []
    return steps


def probed_edits(schedule: Schedule, edits: Sequence[Edit], seed: int) -> list[Edit]:
    """The edits whose probes are put at all, in the order of the run."""
    if schedule == "single":
        return list(edits)
    steps = schedule_steps(schedule, ["any"], edits, seed=seed, anew=["any"])
    put = {one.edit.id for step in steps for one in step.probed} | {
        step.edit.id for step in steps if step.order is None
    }
    return [edit for edit in edits if edit.id in put]


def _next_of(points: Sequence[int]) -> dict[int, int]:
    """From each number of edits applied to the first checkpoint that is not below it."""
    found: dict[int, int] = {}
    for point in reversed(points):
        found |= dict.fromkeys(range(1, point + 1), point)
    return found


def _probed_lifelong(schedule: Lifelong, chain: Sequence[Edit], seed: int) -> dict[int, list[Probed]]:
    """What is probed at each checkpoint of the chain itself; 1 is none unless the chain is one edit long."""
    found: dict[int, list[Probed]] = {}
    for point in schedule.reached(len(chain)):
        if point == 1:
            continue
        position = {edit.id: index for index, edit in enumerate(chain[:point])}
        sample = _sample(schedule, chain[:point], seed)
        found[point] = [Probed(edit, point - 1 - position[edit.id]) for edit in sample]
    return found


def _probed_after(schedule: Sequential, chain: Sequence[Edit]) -> dict[int, list[Probed]]:
    return {
        index + 1 + schedule.gap: [Probed(edit, schedule.gap)]
        for index, edit in enumerate(chain)
        if index + schedule.gap < len(chain)
    }


def _sample(schedule: Lifelong, edits: Sequence[Edit], seed: int) -> list[Edit]:
    """The edits of lowest rank, in order; ranks do not depend on what else there is, so samples are nested."""
    chosen = sorted(edits, key=lambda edit: _rank(edit.id, seed))[: schedule.sample]
    ids = {edit.id for edit in chosen}
    return [edit for edit in edits if edit.id in ids]


@lru_cache(maxsize=1 << 14)
def _rank(edit_id: str, seed: int) -> str:
    return hashlib.sha256(f"sample/{seed}/{edit_id}".encode()).hexdigest()
