"""A few edits done for real, to learn what a run takes on this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from reground.edits.records import Row
from reground.errors import RegroundError
from reground.models.base import Model
from reground.runner.doctor import weights_bytes, working_bytes
from reground.runner.estimate import unmeasured
from reground.runner.journal import Journal
from reground.runner.manifest import make_manifest
from reground.runner.measurements import Measurements, StepCost, costs_of, machine_words
from reground.runner.output_cache import OutputCache
from reground.runner.plan import Workload, num_distinct, planned_part
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, Schedule, Step
from reground.runner.units import units_of
from reground.runner.versions import collect_versions
from reground.runner.work import Job, Unit, Worker, loader_of, require_offered

__all__ = ["NUM_TRIED", "measure_missing", "try_out"]

#: Edits of a trial.
NUM_TRIED = 2


def measure_missing(
    runs: Iterable[tuple[Recipe, Workload]], known: Sequence[Measurements], *, load: Callable[[], Model] | None = None
) -> list[Measurements]:
    """A trial of whatever the known measurements say nothing about; runs that differ in their seed alone share one.

    Args:
        runs: Recipes with their edits and probes.
        known: What was measured before.
        load: Stands in for loading the model a recipe names.

    Raises:
        RegroundError: See ``try_out``.
    """
    found: dict[str, Measurements] = {}
    for recipe, workload in runs:
        missing = unmeasured(recipe, known)
        key = recipe.model_copy(update={"seed": 0}).digest
        if missing and key not in found:
            found[key] = try_out(recipe, workload, missing, load=load)
    return list(found.values())


def try_out(
    recipe: Recipe,
    workload: Workload,
    methods: Collection[str],
    *,
    num_edits: int = NUM_TRIED,
    load: Callable[[], Model] | None = None,
) -> Measurements:
    """Do the first edits that a run asks about as it would, in a folder that is then removed, and say what that took.

    Nothing comes from the outputs of unedited models or the image features that are kept, and nothing goes there. On
    the schedules with chains, one chain of these edits is made. Before that, each method does the first edit once by
    itself: what this takes more than it does later is what starting the method takes, and enters no other figure.

    Args:
        recipe: The run.
        workload: Its edits and probes.
        methods: Names in the recipe of what is to be tried, ``REFERENCE`` for the unedited model.
        num_edits: How many edits.
        load: Stands in for loading the model the recipe names.

    Raises:
        CapabilityError: The loaded model does not offer what a method needs.
        ModelError: The weights cannot be loaded.
    """
    planned = planned_part(recipe, workload)
    tried = planned.only([edit.id for edit in planned.edits if edit.id in planned.probes][:num_edits])
    small = _shortened(recipe, methods, len(tried.edits))
    loader = load or loader_of(recipe, stores_images=False)
    model = loader()
    require_offered(small, model)
    manifest = make_manifest(
        small,
        model.info,
        tried.card,
        num_edits=len(tried.edits),
        num_probes=len(tried.held),
        benchmark_folder=None,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    working = _working_bytes(small, model)
    held = weights_bytes(model)
    with tempfile.TemporaryDirectory() as scratch:
        folder, versions = Path(scratch), collect_versions()
        outputs = OutputCache(model.info, versions, file=folder / "outputs.sqlite")
        worker = Worker(Job(folder, manifest, tried, versions, loader), model, outputs=outputs)
        references, others = units_of("trial", small, tried)
        if REFERENCE not in methods and not recipe.protocol.keeps_forced_tokens:
            references = []
        others = [unit for unit in others if unit.steps[0].method in methods]
        rows: list[Row] = []
        seconds: dict[str, float] = {}
        first_s: dict[str, float] = {}
        journal = Journal(folder)
        for unit in (*references, *others):
            method = unit.steps[0].method
            if method != REFERENCE and method not in first_s:
                first_s[method] = _first_edit(worker, method, tried)
            took, left = _timed(worker, unit, journal)
            seconds[method] = seconds.get(method, 0.0) + took
            rows += left
    steps, failures = costs_of(rows)
    num_first = len(tried.probes[tried.edits[0].id])
    start_s: dict[str, float] = {}
    for method in steps.keys() - failures.keys():
        if method == REFERENCE:
            num_beliefs = len(steps[method]) * recipe.protocol.belief_samples
            steps[method] = (StepCost(0, None, num_distinct(tried) + num_beliefs, seconds[method], None),)
        else:
            steps[method] = _whole(steps[method], seconds[method])
            start_s[method] = max(0.0, first_s[method] - _expected_s(steps[method], num_first))
    return Measurements(
        label=f"trial of {len(tried.edits)} edits on {recipe.model}",
        recipe=small,
        benchmark=tried.card.name,
        machine=machine_words(manifest.host, model.info),
        steps=steps,
        failures=failures,
        weights_bytes=held,
        working_bytes=working,
        trial_s=sum(seconds.values()) + sum(first_s.values()),
        start_s=start_s,
    )


def _shortened(recipe: Recipe, methods: Collection[str], num_edits: int) -> Recipe:
    """The recipe with these methods alone (one at least, since a recipe has one), no filter, and one chain."""
    names = [name for name in recipe.methods if name in methods] or list(recipe.methods)[:1]
    return recipe.model_copy(
        update={
            "methods": {name: recipe.methods[name] for name in names},
            "schedule": _short(recipe.schedule, num_edits),
            "benchmark": recipe.benchmark.model_copy(update={"zero_shot_filter": False}),
        }
    )


def _short(schedule: Schedule, num_edits: int) -> Schedule:
    if isinstance(schedule, str):
        return schedule
    update: dict[str, int] = {"orders": 1}
    if schedule.name == "sequential":
        update["gap"] = min(schedule.gap, num_edits - 1)
    return schedule.model_copy(update=update)


def _working_bytes(recipe: Recipe, model: Model) -> Mapping[str, int]:
    found = {}
    for choice in recipe.choices:
        try:
            needed = working_bytes(choice.method, model, choice.settings)
        except RegroundError:  # its edits will fail, and say why
            continue
        if needed is not None:
            found[choice.name] = needed
    return found


def _first_edit(worker: Worker, method: str, tried: Workload) -> float:
    """Seconds of the first edit by itself, with all that the method does only once; its rows go nowhere."""
    alone = Step(method, len(tried.edits), tried.edits[0])  # behind the edits that are asked about together
    start = time.perf_counter()
    for _ in worker.do(Unit("trial", f"{method}, first edit", (alone,))):
        pass
    return time.perf_counter() - start


def _expected_s(costs: Sequence[StepCost], num_outputs: int) -> float:
    """Seconds of one edit with so many outputs, once the method has started."""
    edits = [(cost.edit_s, cost.num_applied) for cost in costs if cost.edit_s is not None]
    outputs = [(cost.output_s, cost.num_outputs) for cost in costs if cost.output_s is not None]
    return sum(
        number * sum(seconds for seconds, _ in parts) / max(1, sum(count for _, count in parts))
        for number, parts in ((1, edits), (num_outputs, outputs))
    )


def _timed(worker: Worker, unit: Unit, journal: Journal) -> tuple[float, list[Row]]:
    """Seconds of a unit, and its rows, which later units look up in the journal."""
    start = time.perf_counter()
    finished = list(worker.do(unit))
    seconds = time.perf_counter() - start
    for done in finished:
        journal.append(done.key, done.rows, done.beliefs)
    return seconds, [row for done in finished for row in done.rows]


def _whole(costs: tuple[StepCost, ...], seconds: float) -> tuple[StepCost, ...]:
    """The steps with what their rows do not time: scoring, and checks of the undo; shared by outputs."""
    rest = seconds - sum((cost.edit_s or 0.0) + (cost.output_s or 0.0) for cost in costs)
    num_outputs = sum(cost.num_outputs for cost in costs)
    if rest <= 0 or not num_outputs:
        return costs
    return tuple(
        cost if cost.output_s is None else replace(cost, output_s=cost.output_s + rest * cost.num_outputs / num_outputs)
        for cost in costs
    )
