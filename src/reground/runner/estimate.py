"""How long a run will take and how much memory it needs, scaled up from what steps took before.

Nothing here is a constant: an estimate is a measured quotient times a counted number, and what was not measured is not
estimated. Seconds of a method are those of an edit times the edits put in force, those of an output times the outputs,
and, where a trial told them apart, those of starting it, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reground.edits.records import Record
from reground.methods.registry import method_entry
from reground.models.base import probe_query
from reground.runner.measurements import Measurements, StepCost
from reground.runner.plan import Workload, planned_part, step_work
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, Step
from reground.runner.units import units_of

__all__ = ["FILTER", "Estimate", "Seconds", "UnitEstimate", "Used", "estimate_run", "unmeasured"]

#: Stands for the questions of a zero-shot filter, which come before all units.
FILTER = "filter"

#: Shares of the measured steps below and above the range that is given.
_OUTSIDE = 0.1


class Seconds(Record):
    """Seconds, and what they would be if all steps took what the cheapest or dearest tenth of those measured took."""

    value: float
    low: float
    high: float

    def times(self, number: int) -> Seconds:
        """So many of them."""
        return Seconds(value=self.value * number, low=self.low * number, high=self.high * number)

    @staticmethod
    def total(parts: Iterable[Seconds]) -> Seconds:
        """All of them one after the other."""
        listed = list(parts)
        return Seconds(
            value=sum(one.value for one in listed),
            low=sum(one.low for one in listed),
            high=sum(one.high for one in listed),
        )


class UnitEstimate(Record):
    """One unit of a run, done by one worker in a row.

    Attributes:
        unit: Its name; units of a method whose edits stand alone share one.
        method: Name in the recipe; ``reference`` for the unedited model.
        num_steps: Steps.
        num_applied: Edits put in force.
        num_outputs: Outputs.
        seconds: How long it takes, the first unit of a method with what starting it takes; None if that is unknown.
        seconds_reason: Why it is unknown.
        memory_bytes: Weights of the model and the most that an edit took beyond them, or is computed to take; None if
            that is unknown.
        memory_reason: Why it is unknown.
        used: Positions in ``Estimate.used`` of what the unit's figures come from.
    """

    unit: str
    method: str
    num_steps: int
    num_applied: int
    num_outputs: int
    seconds: Seconds | None = None
    seconds_reason: str | None = None
    memory_bytes: int | None = None
    memory_reason: str | None = None
    used: tuple[int, ...] = ()


class Used(Record):
    """Measurements that figures come from.

    Attributes:
        label: The run directory, or that it was a trial.
        machine: What they were taken on.
        benchmark: Benchmark of the edits.
        trial_s: Seconds a trial took, the loading of the model aside; None for a run.
        is_whole: Whether steps were timed as a whole; rows time applying, generating and undoing only, not scoring,
            the check of the undo, or sampled beliefs, which count as outputs like others.
        num_edits: By method, edits that were put in force.
        num_outputs: By method, outputs that were timed.
        start_s: By method, seconds of what is done once, before the first edit is done; as far as they are known.
    """

    label: str
    machine: str
    benchmark: str
    trial_s: float | None
    is_whole: bool
    num_edits: dict[str, int]
    num_outputs: dict[str, int]
    start_s: dict[str, float]


class Estimate(Record):
    """What a run takes.

    Attributes:
        units: Unit by unit; the zero-shot filter, if there is one, stands first.
        seconds: Of the units that are known, one after the other; None if none is.
        num_unknown: Units whose seconds are unknown, and so are not in ``seconds``.
        memory_bytes: The most that a known unit needs, in each process that does units; None if none is known.
        num_unknown_memory: Units whose memory is unknown.
        used: What the figures come from.
    """

    units: tuple[UnitEstimate, ...]
    seconds: Seconds | None
    num_unknown: int
    memory_bytes: int | None
    num_unknown_memory: int
    used: tuple[Used, ...]

    @property
    def num_units(self) -> int:
        """Units that workers can do; the filter is none."""
        return sum(unit.unit != FILTER for unit in self.units)


@dataclass(frozen=True)
class _Rates:
    """What one method took wherever it was measured.

    Attributes:
        edit_s: Seconds of an edit; None if none was timed.
        output_s: Seconds of an output; None if none was timed.
        start_s: Seconds of starting, the most that was measured; 0 where they were not measured.
        memory_bytes: Of weights and edit together.
        reason: Why any of them is missing.
        memory_reason: Why the memory is missing.
        sources: Positions of the measurements used.
    """

    edit_s: Seconds | None
    output_s: Seconds | None
    start_s: float
    memory_bytes: int | None
    reason: str
    memory_reason: str
    sources: tuple[int, ...]


def unmeasured(recipe: Recipe, measurements: Sequence[Measurements]) -> list[str]:
    """Names of the methods, and ``REFERENCE``, about which the measurements say nothing."""
    return [name for name in (REFERENCE, *recipe.methods) if not _matching(recipe, name, "", measurements)]


def estimate_run(recipe: Recipe, workload: Workload, measurements: Sequence[Measurements]) -> Estimate:
    """What a run takes, scaled up from measurements of the same methods, model and kind of schedule.

    Args:
        recipe: The run.
        workload: Its edits and probes; with a zero-shot filter, all that may be asked.
        measurements: What is known. Those on the same benchmark are preferred.
    """
    planned = planned_part(recipe, workload)
    rates = {name: _rates(recipe, name, workload.card.name, measurements) for name in (REFERENCE, *recipe.methods)}
    units: list[UnitEstimate] = []
    if recipe.benchmark.zero_shot_filter:
        units.append(_estimated(FILTER, REFERENCE, len(workload.edits), 0, len(workload.edits), rates[REFERENCE]))
    references, others = units_of(recipe.name, recipe, planned)
    asked: set[str] = set()
    started: set[str] = set()
    for unit in references:
        num_outputs = _num_new(unit.steps, planned, asked) + len(unit.steps) * recipe.protocol.belief_samples
        units.append(_estimated(unit.name, REFERENCE, len(unit.steps), 0, num_outputs, rates[REFERENCE]))
    for unit in others:
        name = unit.steps[0].method
        is_anew = method_entry(recipe.choice(name).method).chain == "anew"
        work = [step_work(step, planned, is_anew=is_anew) for step in unit.steps]
        num_applied, num_outputs = (sum(numbers) for numbers in zip(*work, strict=True))
        one = _estimated(unit.name, name, len(unit.steps), num_applied, num_outputs, rates[name])
        units.append(one if name in started else _with_start(one, rates[name].start_s))
        started.add(name)
    known = [unit.seconds for unit in units if unit.seconds is not None]
    memory = [unit.memory_bytes for unit in units if unit.memory_bytes is not None]
    used = sorted({place for unit in units for place in unit.used})
    return Estimate(
        units=tuple(
            unit.model_copy(update={"used": tuple(used.index(place) for place in unit.used)}) for unit in units
        ),
        seconds=Seconds.total(known) if known else None,
        num_unknown=len(units) - len(known),
        memory_bytes=max(memory, default=None),
        num_unknown_memory=len(units) - len(memory),
        used=tuple(_used(measurements[place]) for place in used),
    )


def _num_new(steps: Sequence[Step], workload: Workload, asked: set[str]) -> int:
    """Questions of some steps of the unedited model that no step before has put; takes note of them."""
    before = len(asked)
    asked.update(probe_query(probe).model_dump_json() for step in steps for probe in workload.probes[step.edit.id])
    return len(asked) - before


def _estimated(
    unit: str, method: str, num_steps: int, num_applied: int, num_outputs: int, rates: _Rates
) -> UnitEstimate:
    parts = [(num_applied, rates.edit_s), (num_outputs, rates.output_s)]
    is_known = all(rate is not None for number, rate in parts if number)
    seconds = Seconds.total(rate.times(number) for number, rate in parts if rate is not None) if is_known else None
    return UnitEstimate(
        unit=unit,
        method=method,
        num_steps=num_steps,
        num_applied=num_applied,
        num_outputs=num_outputs,
        seconds=seconds,
        seconds_reason=None if is_known else rates.reason,
        memory_bytes=rates.memory_bytes,
        memory_reason=None if rates.memory_bytes is not None else rates.memory_reason,
        used=rates.sources,
    )


def _with_start(unit: UnitEstimate, start_s: float) -> UnitEstimate:
    """The first unit of a method, which is where it is started."""
    if unit.seconds is None:
        return unit
    once = Seconds(value=start_s, low=start_s, high=start_s)
    return unit.model_copy(update={"seconds": Seconds.total((unit.seconds, once))})


def _matching(recipe: Recipe, name: str, benchmark: str, measurements: Sequence[Measurements]) -> dict[int, str]:
    """Positions of the measurements that are about a method, and what it is called there."""
    found = {}
    for place, measured in enumerate(measurements):
        own = measured.name_of(recipe, name) if measured.difference(recipe) is None else None
        if own is not None and own in measured.steps:
            found[place] = own
    same = {place: own for place, own in found.items() if measurements[place].benchmark == benchmark}
    return same or found


def _rates(recipe: Recipe, name: str, benchmark: str, measurements: Sequence[Measurements]) -> _Rates:
    matching = _matching(recipe, name, benchmark, measurements)
    if not matching:
        reason = _why_none(recipe, name, measurements)
        return _Rates(None, None, 0.0, None, reason, reason, ())
    costs = [cost for place, own in matching.items() for cost in measurements[place].steps[own]]
    edits = [(cost.edit_s, cost.num_applied) for cost in costs if cost.edit_s is not None and cost.num_applied]
    outputs = [(cost.output_s, cost.num_outputs) for cost in costs if cost.output_s is not None and cost.num_outputs]
    memory, memory_reason = _memory(name, matching, measurements, costs)
    where = ", ".join(measurements[place].label for place in matching)
    missing = "outputs" if edits or name == REFERENCE else "edits"
    return _Rates(
        _quotient(edits),
        _quotient(outputs),
        max(measurements[place].start_s.get(own, 0.0) for place, own in matching.items()),
        memory,
        f"{where}: no {missing} of it were timed",
        memory_reason,
        tuple(matching),
    )


def _why_none(recipe: Recipe, name: str, measurements: Sequence[Measurements]) -> str:
    if not measurements:
        return "nothing was measured; --from RUNDIR reads it from a run, --measure tries a few edits"
    reasons = []
    for measured in measurements:
        difference, own = measured.difference(recipe), measured.name_of(recipe, name)
        if difference is None and own is not None and own in measured.failures:
            failure = measured.failures[own]
            difference = f"its steps failed, first at {failure.stage}: {failure.message}"
        reasons.append(f"{measured.label}: {difference or 'it has no step of this method with these settings'}")
    return "; ".join(reasons)


def _quotient(parts: Sequence[tuple[float, int]]) -> Seconds | None:
    """Seconds of one, over all steps, with the range of the steps' own quotients."""
    if not parts:
        return None
    value = sum(seconds for seconds, _ in parts) / sum(number for _, number in parts)
    each = sorted(seconds / number for seconds, number in parts)
    low = each[math.floor(_OUTSIDE * (len(each) - 1))]
    high = each[math.ceil((1 - _OUTSIDE) * (len(each) - 1))]
    return Seconds(value=value, low=min(low, value), high=max(high, value))


def _memory(
    name: str, matching: dict[int, str], measurements: Sequence[Measurements], costs: Sequence[StepCost]
) -> tuple[int | None, str]:
    """Bytes of weights and edit, and why they are unknown."""
    weights = [measurements[place].weights_bytes for place in matching]
    held = max((size for size in weights if size is not None), default=None)
    if held is None:
        return None, "how much the weights of the model take is not known"
    if name == REFERENCE:
        return held, ""
    beyond = [cost.peak_bytes for cost in costs if cost.peak_bytes is not None]
    beyond += [
        measurements[place].working_bytes[own]
        for place, own in matching.items()
        if own in measurements[place].working_bytes
    ]
    if not beyond:
        return None, "the memory of an edit was neither measured nor can it be computed"
    return held + max(beyond), ""


def _used(measured: Measurements) -> Used:
    return Used(
        label=measured.label,
        machine=measured.machine,
        benchmark=measured.benchmark,
        trial_s=measured.trial_s,
        is_whole=measured.trial_s is not None,
        num_edits={name: sum(cost.num_applied for cost in costs) for name, costs in measured.steps.items()},
        num_outputs={name: sum(cost.num_outputs for cost in costs) for name, costs in measured.steps.items()},
        start_s=dict(measured.start_s),
    )
