"""Grids: one recipe for several models, benchmarks and seeds, each combination a run of its own.

A recipe is a grid if it has ``models``, ``benchmarks`` or ``seeds``, a list each, in the place of ``model``,
``benchmark`` or ``seed``. A run of a grid is what its recipe alone would have been: same directory, rows and digest.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from reground.benchmarks.registry import open_benchmark
from reground.edits.files import write_atomically
from reground.edits.misfits import misfit_words, shown
from reground.edits.records import Record, content_id
from reground.errors import InputError, RecipeError, RunDirectoryError
from reground.evaluation.joined import join_summaries
from reground.evaluation.results import write_summary
from reground.models.base import Model
from reground.models.loading import with_engine
from reground.runner.executors.base import Executor
from reground.runner.manifest import MANIFEST_FILE
from reground.runner.plan import check_capabilities
from reground.runner.recipe import GRID_AXES, Recipe, read_recipe, recipe_of
from reground.runner.run import SUMMARY_FILE, Progress, RunResult, continue_runs, require_empty

__all__ = ["GRID_FILE", "Grid", "is_grid_folder", "load_grid", "read_grid", "resume_grid", "start_grid"]

GRID_FILE = "grid.json"
_LONGEST_PART = 48


class Grid(Record):
    """Several runs that differ in model, benchmark or seed.

    Attributes:
        schema_version: Layout of ``grid.json``.
        name: Name of the recipe.
        description: What it is for, in a sentence.
        axes: What the runs differ in; none if the recipe is no grid.
        runs: Their recipes, by the folder each has in the directory of the grid.
    """

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    axes: tuple[str, ...] = ()
    runs: Annotated[dict[str, Recipe], Field(min_length=1)]

    @property
    def single(self) -> Recipe | None:
        """The recipe, if it is no grid."""
        return None if self.axes else next(iter(self.runs.values()))

    @property
    def digest(self) -> str:
        """Short hash of all its recipes."""
        return content_id("g", {folder: recipe.digest for folder, recipe in self.runs.items()})


def load_grid(name_or_path: str, overrides: Iterable[str] = (), *, engine: str | None = None) -> Grid:
    """The runs a recipe stands for: one, or those of a grid.

    Args:
        name_or_path: Name of a built-in recipe, or path of a YAML file.
        overrides: See ``load_recipe``. An axis replaces the one value, e.g. ``seeds=[0,1,2]``, and the other way round;
            ``benchmark.limit=20`` goes into every benchmark.
        engine: What every model, a checkpoint each, is answered by; None: what its name says.

    Raises:
        UnknownNameError: No such recipe.
        RecipeError: The file cannot be read, a key is unknown, or a value does not fit.
        InputError: A model is no checkpoint that the engine could answer.
    """
    value = dict(read_recipe(name_or_path, overrides))
    if engine is not None:
        value |= {key: _on_engine(value[key], engine) for key in ("model", "models") if key in value}
    axes = {axis: _values(value, axis, name_or_path) for axis in GRID_AXES if axis in value}
    rest = {key: given for key, given in value.items() if key not in axes}
    runs: dict[str, Recipe] = {}
    for chosen in itertools.product(*axes.values()):
        point = {GRID_AXES[axis]: choice for axis, choice in zip(axes, chosen, strict=True)}
        recipe = recipe_of({**rest, **point}, name_or_path)
        runs[_folder(recipe, tuple(axes), runs)] = recipe
    first = next(iter(runs.values()))
    if len({(run.model, run.benchmark.name, run.seed) for run in runs.values()}) < len(runs):
        raise RecipeError(
            f"recipe {name_or_path!r} names one benchmark twice in 'benchmarks'.",
            "each benchmark once: rows and tables know it by its name",
            "make two recipes of it.",
        )
    return Grid(name=first.name, description=first.description, axes=tuple(axes), runs=runs)


def _on_engine(model: Any, engine: str) -> Any:
    """One model or several with an engine in their names; what is no name is left for the recipe to refuse."""
    if isinstance(model, list):
        return [_on_engine(one, engine) for one in model]
    return with_engine(model, engine) if isinstance(model, str) else model


def _values(value: Mapping[str, Any], axis: str, source: str) -> list[Any]:
    """What an axis of a grid goes through."""
    given = value[axis]
    if GRID_AXES[axis] in value:
        raise RecipeError(
            f"recipe {source!r} has both {GRID_AXES[axis]!r} and {axis!r}.", "one of them", f"drop {GRID_AXES[axis]!r}."
        )
    if not isinstance(given, list) or not given or any(one in given[:place] for place, one in enumerate(given)):
        raise RecipeError(
            f"recipe {source!r} was given {axis}={shown(given)}.",
            "a list of at least one value, each once",
            f"for a single value write {GRID_AXES[axis]!r}.",
        )
    return given


def _folder(recipe: Recipe, axes: tuple[str, ...], taken: Iterable[str]) -> str:
    """A name for a run's folder: what it has along the axes, and a number where that is taken."""
    parts = {"models": recipe.model, "benchmarks": recipe.benchmark.name, "seeds": f"seed-{recipe.seed}"}
    name = "--".join(_as_folder(parts[axis]) for axis in axes) or recipe.name
    names = itertools.chain([name], (f"{name}--{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in set(taken))


def _as_folder(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[-_LONGEST_PART:].lstrip("-.") or "run"


def is_grid_folder(folder: Path) -> bool:
    """Whether a grid was started in a directory."""
    return (folder / GRID_FILE).is_file()


def read_grid(folder: Path) -> Grid:
    """The grid that was started in a directory.

    Raises:
        RunDirectoryError: There is none, or its description is damaged.
    """
    path = folder / GRID_FILE
    try:
        return Grid.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read {str(path)!r}: {error.strerror or error}.",
            "a directory in which `reground run start` started a grid",
            "check the path.",
        ) from error
    except ValidationError as error:
        raise RunDirectoryError(
            f"{path} is damaged: {misfit_words(Grid, error.errors(include_url=False)[0])}.",
            "the file as the grid wrote it",
            "restore it from a copy, or start the grid again in another directory.",
        ) from error


def start_grid(
    grid: Grid,
    folder: Path,
    *,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Run every recipe of a grid, each into a folder of its own, their units shared among the same workers.

    Args:
        grid: What to run.
        folder: Where; it may exist if it is empty.
        load, on_progress, executor: See ``start_run``.

    Returns:
        The directory of the grid, the summary of all its runs together, and how many steps they had.

    Raises:
        RegroundError: See ``start_run``; nothing is left behind if no run has begun.
    """
    require_empty(folder)
    for recipe in grid.runs.values():
        check_capabilities(recipe)
    _require_told_apart(grid)
    placed = grid.model_copy(update={"runs": {name: recipe.placed for name, recipe in grid.runs.items()}})
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / GRID_FILE, placed.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise RunDirectoryError(
            f"cannot run into {str(folder)!r}: {error.strerror or error}.",
            "a new or empty directory that can be written to",
            "give one with --out.",
        ) from error
    try:
        return _carry_out(placed, folder, load, on_progress, executor)
    finally:
        if not any((folder / name / MANIFEST_FILE).is_file() for name in placed.runs):
            (folder / GRID_FILE).unlink(missing_ok=True)
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)


def resume_grid(
    folder: Path,
    *,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Finish a grid: runs that have begun go on as ``resume_run`` has it, the others start.

    Raises:
        RegroundError: See ``resume_run``.
    """
    return _carry_out(read_grid(folder), folder, load, on_progress, executor)


def _carry_out(
    grid: Grid,
    folder: Path,
    load: Callable[[], Model] | None,
    on_progress: Progress | None,
    executor: Executor | None,
) -> RunResult:
    recipes = {folder / name: recipe for name, recipe in grid.runs.items()}
    results = continue_runs(recipes, load=load, on_progress=on_progress, executor=executor)
    summary = join_summaries([result.summary for result in results], run=grid.digest)
    write_summary(summary, folder / SUMMARY_FILE)
    return RunResult(folder, summary, sum(result.num_steps for result in results), summary.num_failed_steps)


def _require_told_apart(grid: Grid) -> None:
    """Nothing, unless two benchmarks of a grid call themselves the same, as two folders may.

    Raises:
        InputError: They do.
    """
    choices = {recipe.benchmark.name: recipe.benchmark for recipe in grid.runs.values()}
    if len(choices) < 2:
        return
    known: dict[str, str] = {}
    for name, choice in choices.items():
        card = open_benchmark(choice.name, choice.image_root).card()
        if card.name in known:
            raise InputError(
                f"benchmarks {known[card.name]!r} and {name!r} of the grid both call themselves {card.name!r}.",
                "benchmarks that tables can tell apart",
                "rename one of the folders, or make two recipes of it.",
            )
        known[card.name] = name
