"""Running recipes: what is asked for becomes steps, steps become rows in a journal, and rows become scores.

The steps themselves are done by ``work``, in this process or in others, as the executor has it. Whoever does them, the
rows are written here, by the one process that holds the run directory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from reground.benchmarks.base import Benchmark
from reground.benchmarks.counted import Counts
from reground.benchmarks.registry import absolute_name, open_benchmark
from reground.edits.cache import max_bytes
from reground.edits.files import write_atomically, write_records
from reground.edits.records import Row, content_id
from reground.errors import ArtifactError, RunDirectoryError, WorkerError
from reground.evaluation.results import Summary, write_summary
from reground.evaluation.scores import summarise
from reground.methods.registry import find_artifact
from reground.models.base import Model
from reground.runner.chain_state import STATES_FOLDER
from reground.runner.cores import num_usable_cores
from reground.runner.executors.base import Executor
from reground.runner.executors.inline import InlineExecutor
from reground.runner.journal import ROWS_FILE, Journal, iterate_rows, lock_directory, read_beliefs
from reground.runner.manifest import (
    MANIFEST_FILE,
    Manifest,
    make_manifest,
    read_manifest,
    write_manifest,
)
from reground.runner.output_cache import LIMIT_VARIABLE
from reground.runner.plan import Companion, Workload, check_capabilities, depends_on_schedule, load_workload
from reground.runner.recipe import Recipe
from reground.runner.schedules import REFERENCE, chain_orders
from reground.runner.units import steps_of, units_of
from reground.runner.versions import collect_versions
from reground.runner.work import Done, Job, Unit, changed, loader_of, require_offered
from reground.runner.zero_shot import ZeroShotRecord, ask_zero_shot

__all__ = [
    "COMPANIONS_FILE",
    "EDITS_FILE",
    "PROBES_FILE",
    "SUMMARY_FILE",
    "TAGS_FILE",
    "Progress",
    "RunResult",
    "continue_runs",
    "require_empty",
    "resume_run",
    "resume_runs",
    "start_run",
    "start_runs",
]

COMPANIONS_FILE = "companions.jsonl"
EDITS_FILE = "edits.jsonl"
PROBES_FILE = "probes.jsonl"
SUMMARY_FILE = "summary.json"
TAGS_FILE = "tags.json"

#: Times a unit may lose its worker before the run is given up.
_MAX_LOSSES = 3
#: Of the rows' file: some sixty thousand rows, which one process takes ten seconds for.
_LARGE_JOURNAL_BYTES = 64 * 2**20
#: More have to wait for the process that reads the rows.
_MAX_JUDGES = 8

#: Called after every step with the number of steps done, the number in all, and what is next.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RunResult:
    """A finished run: its directory, its summary and how many of its steps failed."""

    folder: Path
    summary: Summary
    num_steps: int
    num_failed_steps: int


def start_run(
    recipe: Recipe,
    folder: Path,
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Run a recipe into a new directory. Nothing is written before everything that can be checked is.

    Args:
        recipe: What to run.
        folder: Where; it may exist if it is empty.
        benchmark: Stands in for the benchmark the recipe names.
        load: Stands in for loading the model the recipe names.
        on_progress: See ``Progress``.
        executor: Who does the steps; this process by default.

    Raises:
        RunDirectoryError: The directory is not empty, or is being written to.
        CapabilityError: A method needs what the model does not offer.
        InputError: The recipe, the benchmark or an image does not fit, or the zero-shot filter leaves no edit.
        ModelError: The weights cannot be loaded or are not finite.
        WorkerError: A worker was lost again and again.
    """
    (result,) = start_runs({folder: recipe}, benchmark=benchmark, load=load, on_progress=on_progress, executor=executor)
    return result


def start_runs(
    recipes: Mapping[Path, Recipe],
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[RunResult]:
    """Run several recipes, each into a new directory, their steps shared among the same workers.

    Args:
        recipes: By directory.
        benchmark, load, on_progress, executor: See ``start_run``.

    Raises:
        RegroundError: See ``start_run``; no step of any of them has been done then.
    """
    for folder in recipes:
        require_empty(folder)
    return continue_runs(recipes, benchmark=benchmark, load=load, on_progress=on_progress, executor=executor)


def continue_runs(
    recipes: Mapping[Path, Recipe],
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[RunResult]:
    """Start those of several runs that have not begun and finish the others, their steps shared among the same workers.

    Args:
        recipes: By directory.
        benchmark, load, on_progress, executor: See ``start_run``.

    Raises:
        RegroundError: See ``start_run`` and ``resume_run``; no step of any of them has been done then.
        RunDirectoryError: A run that has begun is by another recipe.
    """
    max_bytes(LIMIT_VARIABLE)  # a mistake in it should show before anything is written
    begun = {folder for folder in recipes if (folder / MANIFEST_FILE).is_file()}
    for folder, recipe in recipes.items():
        if folder in begun:
            _require_same_recipe(folder, recipe)
        else:
            check_capabilities(recipe)
    loaded: dict[tuple[str | None, ...], Model] = {}
    opened: dict[tuple[str, str | None], Benchmark] = {}
    workloads: dict[str, Workload] = {}
    held: list[tuple[Job, Model]] = []
    with ExitStack() as stack:
        runs = []
        for folder, recipe in recipes.items():
            if folder in begun:
                runs.append(stack.enter_context(_reopened(folder, benchmark, load)))
                continue
            recipe = recipe.placed
            choice = (recipe.model, recipe.dtype, recipe.device)
            source = recipe.benchmark.name, recipe.benchmark.image_root
            if source not in opened:
                opened[source] = benchmark or open_benchmark(*source)
            data = _data_of(recipe, opened[source])
            if data not in workloads:
                workloads[data] = load_workload(recipe, opened[source])
            if choice not in loaded:
                held.clear()
                loaded.clear()  # one model at a time
                loaded[choice] = (load or loader_of(recipe))()
            run = _begin(folder, recipe, workloads[data], load, loaded[choice], benchmark is not None, on_progress)
            runs.append(stack.enter_context(run))
            held = [(runs[-1].job, loaded[choice])]
        loaded.clear()
        return _finish(runs, executor or InlineExecutor(), on_progress, held)


def _data_of(recipe: Recipe, benchmark: Benchmark) -> str:
    """Equal for recipes whose edits and probes are the same."""
    fields = {"model", "benchmark", *(("schedule", "seed") if depends_on_schedule(recipe, benchmark) else ())}
    return content_id("w", recipe.model_dump(mode="json", include=fields))


def _require_same_recipe(folder: Path, recipe: Recipe) -> None:
    """Nothing, if the run in a directory is by this recipe.

    Raises:
        RunDirectoryError: It is by another.
    """
    found = read_manifest(folder).recipe
    if found.digest != recipe.digest:
        raise changed(folder, "recipe", found.digest, recipe.digest)


def resume_run(
    folder: Path,
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Finish a run that was interrupted or had failed steps.

    Finished steps are not done again. A half-written one is, wholly; and one that failed is tried once more, unless it
    is a step of a chain, which later ones stand on. A chain goes on from its newest state on disk, or makes its edits
    again.

    Args:
        folder: The run directory.
        benchmark: Stands in for the benchmark the recipe names.
        load: Stands in for loading the model the recipe names.
        on_progress: See ``Progress``.
        executor: Who does the steps; this process by default.

    Raises:
        RunDirectoryError: The directory is damaged, of another version, about other data or another model, or
            being written to.
        ModelError: The weights cannot be loaded or are not finite.
        WorkerError: A worker was lost again and again.
    """
    (result,) = resume_runs([folder], benchmark=benchmark, load=load, on_progress=on_progress, executor=executor)
    return result


def resume_runs(
    folders: Sequence[Path],
    *,
    benchmark: Benchmark | None = None,
    load: Callable[[], Model] | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[RunResult]:
    """Finish several runs, their steps shared among the same workers; see ``resume_run``."""
    with ExitStack() as stack:
        runs = [stack.enter_context(_reopened(folder, benchmark, load)) for folder in folders]
        return _finish(runs, executor or InlineExecutor(), on_progress, [])


@contextmanager
def _begin(
    folder: Path,
    recipe: Recipe,
    workload: Workload,
    load: Callable[[], Model] | None,
    model: Model,
    is_given: bool,
    on_progress: Progress | None,
) -> Iterator[_Run]:
    """A new run, its directory made, locked and described."""
    require_offered(recipe, model)
    zero_shot = _zero_shot(recipe, workload, model, on_progress)
    if zero_shot is not None:
        workload = workload.only(zero_shot.edit_ids)
    manifest = make_manifest(
        recipe,
        model.info,
        workload.card,
        num_edits=len(workload.edits),
        num_probes=len(workload.held),
        benchmark_folder=None if is_given else absolute_name(recipe.benchmark.name),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        zero_shot=zero_shot,
    )
    del model  # whoever does the steps may want its memory
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot run into {str(folder)!r}: {error.strerror or error}.",
            "a new or empty directory that can be written to",
            "give one with --out.",
        ) from error
    with _about_files_of(folder), lock_directory(folder):
        _require_empty(folder)
        try:
            write_manifest(folder, manifest)
        except OSError:
            if is_new:  # nothing has begun, so nothing is left behind
                shutil.rmtree(folder, ignore_errors=True)
            raise
        yield _Run(folder, manifest, workload, load or loader_of(recipe))


@contextmanager
def _reopened(folder: Path, benchmark: Benchmark | None, load: Callable[[], Model] | None) -> Iterator[_Run]:
    """A run that goes on, its directory locked."""
    manifest = read_manifest(folder)
    recipe = manifest.recipe
    choice = recipe.benchmark.model_copy(update={"name": manifest.benchmark_folder or recipe.benchmark.name})
    benchmark = benchmark or open_benchmark(choice.name, choice.image_root)
    workload = load_workload(recipe.model_copy(update={"benchmark": choice}), benchmark)
    # What a card is made from was counted when it was published, and may not be what is installed now.
    checksum = benchmark.count().checksum if isinstance(benchmark, Counts) else workload.card.checksum
    if checksum != manifest.card.checksum:
        raise changed(folder, "data", manifest.card.checksum[:12], checksum[:12])
    if manifest.zero_shot is not None:
        workload = workload.only(manifest.zero_shot.edit_ids)
    with _about_files_of(folder), lock_directory(folder):
        yield _Run(folder, manifest, workload, load or loader_of(recipe))


def _finish(
    runs: Sequence[_Run], executor: Executor, on_progress: Progress | None, loaded: list[tuple[Job, Model]]
) -> list[RunResult]:
    """Do every step that is not done, and write the summaries; ``loaded`` as ``Executor.run`` takes it."""
    for run in runs:
        run.open()
    feed = _Feed(runs, on_progress or (lambda done, total, label: None))
    if feed.is_waiting:
        with executor:
            executor.run(feed, loaded)
    feed.show("summary")
    results = []
    for run in runs:
        summary = run.summarise(executor.num_processes)
        results.append(RunResult(run.folder, summary, run.num_steps, summary.num_failed_steps))
    return results


class _Feed:
    """Units of several runs, handed to an executor as they can be done; what comes back goes into the journals."""

    def __init__(self, runs: Sequence[_Run], on_progress: Progress) -> None:
        self._runs = {run.id: run for run in runs}
        self._on_progress = on_progress
        self._losses: dict[str, int] = {}
        self._lost: list[Unit] = []
        self._num_shown: int | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is more to do than what is being done, now or later."""
        return bool(self._lost) or any(run.is_waiting for run in self._runs.values())

    def job(self, unit: Unit) -> Job:
        """What a unit's steps have in common."""
        return self._runs[unit.run].job

    def next_unit(self, preferred: str | None = None) -> Unit | None:
        """A unit that can be done now; of the preferred run if it has one."""
        if self._lost:
            return self._lost.pop(0)
        for run in sorted(self._runs.values(), key=lambda run: run.id != preferred):
            unit = run.next_unit()
            if unit is not None:
                self.show(unit.name)
                return unit
        return None

    def keep(self, unit: Unit, done: Done) -> None:
        """Put a finished step into its journal."""
        self._runs[unit.run].keep(done)
        self.show(unit.name)

    def end(self, unit: Unit) -> None:
        """A unit is done."""
        self._runs[unit.run].end(unit)

    def lose(self, unit: Unit, why: str) -> None:
        """The worker on a unit is gone; what is left of the unit is handed out again.

        Raises:
            WorkerError: That has happened too often.
        """
        name = f"{unit.run}/{unit.name}"
        self._losses[name] = self._losses.get(name, 0) + 1
        if self._losses[name] >= _MAX_LOSSES:
            raise WorkerError(
                f"the worker on {unit.name!r} was lost {_MAX_LOSSES} times, last: {why}.",
                "a worker that lives to the end of its steps; memory is what most often lacks",
                f"use fewer workers, then `reground run resume {unit.run}` goes on with it.",
            )
        self._lost.append(self._runs[unit.run].rest_of(unit))

    def show(self, label: str) -> None:
        """Tell how far all runs are, once for each step that is done."""
        done = sum(run.num_done for run in self._runs.values())
        total = sum(run.num_steps for run in self._runs.values())
        if done != self._num_shown:
            self._num_shown = done
            self._on_progress(done, total, label if done < total else "summary")


class _Run:
    """What is left to do in a run directory, and the journal it goes into."""

    def __init__(self, folder: Path, manifest: Manifest, workload: Workload, load: Callable[[], Model]) -> None:
        self.folder = folder
        self._manifest = manifest
        self._workload = workload
        versions = {
            **collect_versions(),
            "model_revision": manifest.model.revision,
            "benchmark_version": manifest.card.version,
            "recipe": manifest.recipe_digest,
        }
        self.job = Job(folder, manifest, workload, versions, load)
        self._journal = Journal(folder)
        steps = steps_of(manifest.recipe, workload)
        failures = _failures(folder) if self._journal.finished else []
        again = _failed_alone(failures)
        self._finished = {
            step.key for step in steps if step.key in self._journal.finished and (step.method, step.index) not in again
        }
        self.num_steps = len(steps)
        self._references, self._others = units_of(
            self.id,
            manifest.recipe,
            workload,
            steps=steps,
            finished=frozenset(self._finished),
            dropped=_dropped(failures),
        )
        self._num_references_out = 0

    @property
    def id(self) -> str:
        """The directory, which no other run has."""
        return str(self.folder)

    @property
    def num_done(self) -> int:
        """Steps that need not be done any more."""
        return len(self._finished)

    @property
    def is_waiting(self) -> bool:
        """Whether more can be done, now or once what is being done has ended."""
        return bool(self._references or self._others)

    def open(self) -> None:
        """Write beside the rows what they are about; anew when a run goes on, since a copy may be damaged."""
        workload = self._workload
        write_records(self.folder / EDITS_FILE, workload.edits)
        companions = [
            Companion(edit_id=edit.id, edit=companion)
            for edit in workload.edits
            for companion in workload.companions.get(edit.id, ())
        ]
        if companions:
            write_records(self.folder / COMPANIONS_FILE, companions)
        write_records(self.folder / PROBES_FILE, workload.held)
        if workload.tags:
            write_atomically(self.folder / TAGS_FILE, json.dumps(workload.tags, indent=0) + "\n")

    def next_unit(self) -> Unit | None:
        """What can be done now: nothing is edited before the unedited model has been asked everything."""
        if self._references:
            self._num_references_out += 1
            return self._references.pop(0)
        return self._others.pop(0) if self._others and not self._num_references_out else None

    def keep(self, done: Done) -> None:
        """Put a finished step into the journal."""
        self._journal.append(done.key, done.rows, done.beliefs)
        self._finished.add(done.key)

    def end(self, unit: Unit) -> None:
        """Count a unit as done."""
        self._num_references_out -= unit.steps[0].method == REFERENCE

    def rest_of(self, unit: Unit) -> Unit:
        """A unit without what has been finished of it."""
        step = unit.steps[0]
        dropped = _dropped(_failures(self.folder)) if step.order is not None else {}
        gone = dropped.get((step.method, step.order), frozenset())
        return replace(unit, finished=frozenset(self._finished), dropped=gone)

    def summarise(self, num_processes: int) -> Summary:
        """Scores of everything in the journal, read back from disk: what is on disk is what counts.

        Args:
            num_processes: How many may work on it at once.
        """
        self._journal.flush()
        shutil.rmtree(self.folder / STATES_FOLDER, ignore_errors=True)
        recipe, workload = self._manifest.recipe, self._workload
        summary = summarise(
            workload.edits,
            workload.held,
            iterate_rows(self.folder),
            read_beliefs(self.folder),
            settings=recipe.protocol,
            run=self._manifest.run,
            notes=(self._manifest.zero_shot.sentence,) if self._manifest.zero_shot is not None else (),
            tags=workload.tags,
            orders=[
                [edit.id for edit in order] for order in chain_orders(recipe.schedule, workload.edits, recipe.seed)
            ],
            fit_seconds=_fit_seconds(recipe),
            workers=_num_judges(self.folder, num_processes),
        )
        write_summary(summary, self.folder / SUMMARY_FILE)
        return summary


def _num_judges(folder: Path, num_processes: int) -> int:
    """Processes that judge the outputs of a run: starting more than one has to be worth it, and each wants a core."""
    rows = folder / ROWS_FILE
    is_large = rows.is_file() and rows.stat().st_size > _LARGE_JOURNAL_BYTES
    return min(num_processes, num_usable_cores(), _MAX_JUDGES) if is_large else 1


def _fit_seconds(recipe: Recipe) -> dict[str, float]:
    """What training took of each method that was trained and whose artifact is still there, by name in the recipe."""
    found = {}
    for choice in recipe.choices:
        try:
            artifact = find_artifact(choice.method, choice.settings, recipe.model)
        except ArtifactError:  # the steps that needed it are done
            continue
        if artifact is not None:
            found[choice.name] = artifact.fit_s
    return found


def _failures(folder: Path) -> list[Row]:
    """The rows of a run that record a failure."""
    return [row for row in iterate_rows(folder) if row.failure is not None]


def _failed_alone(failures: Sequence[Row]) -> set[tuple[str, int]]:
    """Steps outside of chains that failed; they are tried again."""
    return {(row.method, row.step) for row in failures if row.order is None}


def _dropped(failures: Sequence[Row]) -> dict[tuple[str, int | None], frozenset[str]]:
    """For each chain the edits that could not be put in force."""
    found: dict[tuple[str, int | None], set[str]] = {}
    for row in failures:
        if row.failure is not None and row.failure.stage == "apply" and row.order is not None:
            found.setdefault((row.method, row.order), set()).add(row.edit_id)
    return {chain: frozenset(ids) for chain, ids in found.items()}


def _zero_shot(recipe: Recipe, workload: Workload, model: Model, on_progress: Progress | None) -> ZeroShotRecord | None:
    """What the recipe's zero-shot filter lets through; None if it has none."""
    if not recipe.benchmark.zero_shot_filter:
        return None
    show = on_progress or (lambda done, total, label: None)
    return ask_zero_shot(
        workload.edits,
        model,
        limit=recipe.benchmark.limit,
        max_new_tokens=recipe.protocol.max_new_tokens,
        on_progress=lambda done, total: show(done, total, "filter"),
    )


@contextmanager
def _about_files_of(folder: Path) -> Iterator[None]:
    """Name the run directory where the system refuses to read or write in it, be it rights or a full disk."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read or write in {str(folder)!r}: {error.strerror or error}.",
            "a directory with room in it, whose files can be read and written",
            f"put that right; if the run had begun, `reground run resume {folder}` goes on with it.",
        ) from error


def require_empty(folder: Path) -> None:
    """Nothing, if a run can start in ``folder``: it is empty, or not there yet.

    Raises:
        RunDirectoryError: It is a file, holds something, or cannot be looked into.
    """
    with _about_files_of(folder):
        _require_empty(folder)


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunDirectoryError(
            f"cannot run into {str(folder)!r}: it is a file.",
            "a new or empty directory",
            "give one with --out.",
        )
    # A process that was killed can leave its lock, and a manifest that had not got its name yet.
    leftovers = (".lock", f".{MANIFEST_FILE}.")
    found = [path.name for path in folder.iterdir() if not path.name.startswith(leftovers)] if folder.is_dir() else []
    if MANIFEST_FILE in found:
        raise RunDirectoryError(
            f"cannot start a run in {str(folder)!r}: there is one already.",
            "a new or empty directory",
            f"run `reground run resume {folder}` to go on with it, or give another directory with --out.",
        )
    if found:
        raise RunDirectoryError(
            f"cannot start a run in {str(folder)!r}: it holds {sorted(found)[0]!r}.",
            "a new or empty directory",
            "give another directory with --out.",
        )
