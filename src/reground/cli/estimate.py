"""How ``run start --dry-run`` prints the time and memory that a run is estimated to take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from reground.cli.output import size_words
from reground.errors import printable

if TYPE_CHECKING:
    from reground.runner.estimate import Estimate, Seconds, UnitEstimate, Used

__all__ = ["print_estimate", "total_words"]


def print_estimate(estimate: Estimate) -> None:
    """A line for each unit, units of one name together; then the total, and what it was scaled up from."""
    for line in _lines(estimate):
        typer.echo(printable(line))


def total_words(estimates: Iterable[Estimate]) -> str:
    """How long several runs take, one after the other."""
    from reground.runner.estimate import Seconds

    listed = list(estimates)
    known = [one.seconds for one in listed if one.seconds is not None]
    num_unknown = sum(one.num_unknown for one in listed)
    if not known:
        return "time unknown"
    but = f" without {num_unknown} of the units, which are unknown" if num_unknown else ""
    return f"{_range(Seconds.total(known))}{but}"


def _lines(estimate: Estimate) -> Iterator[str]:
    reasons = {unit.seconds_reason for unit in estimate.units}
    if not estimate.used and len(reasons) == 1:
        yield f"  time and memory of each unit unknown: {reasons.pop()}"
        return
    yield "  time and memory of the units, one after the other:"
    for name, group in groupby(estimate.units, key=lambda unit: unit.unit):
        yield f"    {name:<18} {_words(list(group), estimate)}"
    yield f"    {'in all':<18} {total_words([estimate])}, loading aside"
    if estimate.memory_bytes is not None:
        but = f"; of {estimate.num_unknown_memory} units unknown" if estimate.num_unknown_memory else ""
        yield f"    {'memory at most':<18} {size_words(estimate.memory_bytes)} in each worker{but}"
    for number, used in enumerate(estimate.used, start=1):
        counts = ", ".join(_counts(used, name) for name in used.num_outputs)
        took = "" if used.trial_s is None else f" in {_duration(used.trial_s)}"
        yield f"  [{number}] {used.label}{took}: {counts}; benchmark {used.benchmark}; {used.machine}"
        if not used.is_whole:
            yield "      (rows time applying, generating and undoing; scoring and the check of the undo come on top)"


def _counts(used: Used, name: str) -> str:
    """What was timed of a method, and what it took to start it."""
    start_s = used.start_s.get(name)
    to_start = "" if start_s is None else f", {_duration(start_s)} once to start"
    return f"{name} {used.num_edits[name]} edits, {used.num_outputs[name]} outputs{to_start}"


def _words(units: list[UnitEstimate], estimate: Estimate) -> str:
    """Units of one name: they are alike in everything but their size."""
    first = units[0]
    parts = []
    known = [unit.seconds for unit in units if unit.seconds is not None]
    if known:
        each = "" if len(units) == 1 else f"{len(units)} units of up to "
        parts.append(f"{each}{_range(max(known, key=lambda one: one.value))}")
    else:
        parts.append(f"time unknown ({first.seconds_reason})")
    if first.memory_bytes is not None:
        parts.append(f"memory {size_words(first.memory_bytes)}")
    elif first.memory_reason != first.seconds_reason:
        parts.append(f"memory unknown ({first.memory_reason})")
    else:
        parts.append("memory unknown")
    sources = "".join(f" [{place + 1}]" for place in first.used) if estimate.used else ""
    return "; ".join(parts) + sources


def _range(seconds: Seconds) -> str:
    words, low, high = (_duration(value) for value in (seconds.value, seconds.low, seconds.high))
    return words if low == high else f"{words} ({low} to {high})"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
