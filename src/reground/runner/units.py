"""What the steps of a run are, and which of them one worker does in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reground.methods.registry import method_entry
from reground.runner.plan import Workload
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, Step, probed_edits, reference_steps, schedule_steps
from reground.runner.together import AskedTogether
from reground.runner.work import Unit

__all__ = ["steps_of", "units_of"]

#: Edits that stand alone and are done in a row by one worker.
_BLOCK = 25


def steps_of(recipe: Recipe, workload: Workload) -> list[Step]:
    """All steps of a run, those of the unedited model first."""
    return [
        *reference_steps(probed_edits(recipe.schedule, workload.edits, recipe.seed)),
        *schedule_steps(
            recipe.schedule,
            recipe.methods,
            workload.edits,
            seed=recipe.seed,
            anew=[choice.name for choice in recipe.choices if method_entry(choice.method).chain == "anew"],
        ),
    ]


def units_of(
    run: str,
    recipe: Recipe,
    workload: Workload,
    *,
    steps: Iterable[Step] | None = None,
    finished: frozenset[str] = frozenset(),
    dropped: Mapping[tuple[str, int | None], frozenset[str]] | None = None,
) -> tuple[list[Unit], list[Unit]]:
    """What is left to do of a run: first of the unedited model, then of all else.

    Args:
        run: Its id.
        recipe, workload: What it is.
        steps: Its steps, where they are known.
        finished: Keys of the steps that are done.
        dropped: By chain, ids of the edits that could not be put in force.
    """
    together = AskedTogether.of(recipe, workload)
    chains: dict[tuple[str, int | None], list[Step]] = {}
    alone: dict[str, list[Step]] = {}
    for step in steps_of(recipe, workload) if steps is None else steps:
        if step.order is not None:
            chains.setdefault((step.method, step.order), []).append(step)
        elif step.key not in finished:
            alone.setdefault(step.method, []).append(step)
    references: list[Unit] = []
    others: list[Unit] = []
    for method in (REFERENCE, *recipe.methods):
        for block in _blocks(alone.get(method, []), together):
            (references if method == REFERENCE else others).append(Unit(run, method, block))
        others += [
            Unit(
                run, f"{method}, order {order}", tuple(chain), finished, (dropped or {}).get((name, order), frozenset())
            )
            for (name, order), chain in chains.items()
            if name == method and any(step.key not in finished for step in chain)
        ]
    return references, others


def _blocks(steps: Sequence[Step], together: AskedTogether) -> Iterator[tuple[Step, ...]]:
    """Steps that stand alone in blocks of about ``_BLOCK``; edits that are asked about together stay together."""
    block: list[Step] = []
    for step in steps:
        group = together.group(step.index, step.edit)
        if len(block) >= _BLOCK and (group is None or group.start == step.index):
            yield tuple(block)
            block = []
        block.append(step)
    if block:
        yield tuple(block)
