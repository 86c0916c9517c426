"""What steps took when they were done, read from the rows of a run: all that an estimate may stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reground.edits.records import Failure, Row, content_id
from reground.errors import RunDirectoryError
from reground.methods.registry import create_config
from reground.models.base import ModelInfo
from reground.runner.grid import is_grid_folder, read_grid
from reground.runner.journal import iterate_rows
from reground.runner.manifest import Host, read_manifest
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, schedule_name

__all__ = ["Measurements", "StepCost", "costs_of", "machine_words", "read_measurements"]

#: Bytes of a parameter, by number format.
_PARAMETER_BYTES: Mapping[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class StepCost:
    """What one step took.

    Attributes:
        num_applied: Edits it put in force.
        edit_s: Seconds of applying and undoing them; None where that was not timed.
        num_outputs: Outputs it asked for.
        output_s: Seconds of getting all of them; None where that was not timed.
        peak_bytes: Memory above the loaded model while applying; None where that was not measured.
    """

    num_applied: int
    edit_s: float | None
    num_outputs: int
    output_s: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Measurements:
    """The steps of one run, or of a trial, and on what they were done.

    Attributes:
        label: What a reader knows it by.
        recipe: What was run.
        benchmark: Name of the benchmark, as its card has it.
        machine: Where, in words.
        steps: By the name the recipe gives a method, and ``REFERENCE`` for the unedited model.
        failures: By the same names, the first failure of a method.
        weights_bytes: Bytes of the loaded model; None where they are not known.
        working_bytes: By the same names, bytes that one edit takes as far as they can be computed.
        trial_s: Seconds a trial took, the loading of the model aside; None for a run.
        start_s: By the same names, seconds of what a method does once, before its first edit is done; of a run they
            are not known apart, and lie in the seconds of its steps.
    """

    label: str
    recipe: Recipe
    benchmark: str
    machine: str
    steps: Mapping[str, tuple[StepCost, ...]]
    failures: Mapping[str, Failure] = field(default_factory=dict)
    weights_bytes: int | None = None
    working_bytes: Mapping[str, int] = field(default_factory=dict)
    trial_s: float | None = None
    start_s: Mapping[str, float] = field(default_factory=dict)

    def name_of(self, recipe: Recipe, name: str) -> str | None:
        """What goes here by another name or the same, with the method and settings that ``name`` has in ``recipe``."""
        if name == REFERENCE:
            return REFERENCE
        wanted = _settings_key(recipe, name)
        return next((own for own in self.recipe.methods if _settings_key(self.recipe, own) == wanted), None)

    def difference(self, recipe: Recipe) -> str | None:
        """In what this differs from a recipe so that its seconds say nothing about it; None if in nothing."""
        ours, theirs = self.recipe, recipe
        for what, here, there in (
            ("model", ours.model, theirs.model),
            ("schedule", schedule_name(ours.schedule), schedule_name(theirs.schedule)),
            ("dtype", ours.dtype, theirs.dtype),
            ("device", ours.device, theirs.device),
            ("max_new_tokens", ours.protocol.max_new_tokens, theirs.protocol.max_new_tokens),
            ("chain_tokens", ours.protocol.chain_tokens, theirs.protocol.chain_tokens),
        ):
            if here != there:
                return f"its {what} is {here}"
        return None


def _settings_key(recipe: Recipe, name: str) -> str:
    choice = recipe.choice(name)
    return content_id("c", [choice.method, create_config(choice.method, choice.settings).model_dump(mode="json")])


def read_measurements(folders: Iterable[Path]) -> list[Measurements]:
    """What runs took, finished or not; a grid stands for all its runs that have begun.

    Raises:
        RunDirectoryError: A directory holds no run that this version can read, or one without any step.
    """
    found = []
    for folder in folders:
        runs = [folder]
        if is_grid_folder(folder):
            runs = [folder / name for name in read_grid(folder).runs if (folder / name).is_dir()]
        of_folder = [_read_run(run) for run in runs]
        if not any(run.steps or run.failures for run in of_folder):
            raise RunDirectoryError(
                f"{str(folder)!r} was to say what steps take, and holds no step that is done.",
                "a run directory with rows",
                "wait until the run has done some steps, or measure a few edits now with --measure.",
            )
        found += of_folder
    return found


def _read_run(folder: Path) -> Measurements:
    manifest = read_manifest(folder)
    steps, failures = costs_of(iterate_rows(folder))
    return Measurements(
        label=str(folder),
        recipe=manifest.recipe,
        benchmark=manifest.card.name,
        machine=machine_words(manifest.host, manifest.model),
        steps=steps,
        failures=failures,
        weights_bytes=_weights_bytes(manifest.model),
    )


def machine_words(host: Host, model: ModelInfo) -> str:
    """Where a run was done, for a reader."""
    return f"{host.system} {host.machine}, {host.num_cores} cores, device {model.device}, {model.dtype}"


def _weights_bytes(model: ModelInfo) -> int | None:
    """Of packed weights neither number nor format says how much they take."""
    size = _PARAMETER_BYTES.get(model.dtype)
    if size is None or model.num_parameters is None or "quantization=" in model.name:
        return None
    return size * model.num_parameters


def costs_of(rows: Iterable[Row]) -> tuple[dict[str, tuple[StepCost, ...]], dict[str, Failure]]:
    """What each step took, and the first failure, by method.

    A step with a failed row is left out, and so is one that did neither an edit nor an output.
    """
    of_step: dict[tuple[str, int], _Rows] = {}
    for row in rows:
        seen = of_step.setdefault((row.method, row.step), _Rows(row))
        seen.num_outputs += row.probe_id is not None and row.failure is None
        seen.failure = seen.failure or row.failure
    steps: dict[str, list[StepCost]] = {}
    failures: dict[str, Failure] = {}
    for (method, _), seen in of_step.items():
        if seen.failure is not None:
            failures.setdefault(method, seen.failure)
        else:
            steps.setdefault(method, []).append(seen.cost)
    return {method: tuple(costs) for method, costs in steps.items()}, failures


@dataclass
class _Rows:
    """The rows of one step, as far as they tell what it took; all of them carry the same."""

    first: Row
    num_outputs: int = 0
    failure: Failure | None = None

    @property
    def cost(self) -> StepCost:
        timings, is_edited = self.first.timings, self.first.phase == "after"
        edit_s = None if timings.apply_s is None else timings.apply_s + (timings.restore_s or 0.0)
        return StepCost(
            num_applied=(self.first.num_applied or 1) if is_edited else 0,
            edit_s=edit_s if is_edited else None,
            num_outputs=self.num_outputs,
            output_s=timings.generate_s if self.num_outputs else None,
            peak_bytes=self.first.peak_bytes,
        )
