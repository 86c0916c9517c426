"""``reground run``: start a recipe, or go on with a run that was interrupted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reground.cli.output import AsJson, Engine, print_json, print_records, progress_bar

if TYPE_CHECKING:
    from reground.evaluation.lenses.base import Lens, LensScore
    from reground.evaluation.results import Summary
    from reground.runner.grid import Grid
    from reground.runner.plan import Plan
    from reground.runner.run import Progress, RunResult

__all__ = ["Overrides", "Quiet", "app", "carry_out"]

app = typer.Typer(help="Run recipes.", no_args_is_help=True)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. benchmark.limit=20."),
]
Where = Annotated[str, typer.Option("--executor", help="Where steps are done: local or ray.")]
NumWorkers = Annotated[int, typer.Option("--workers", help="Processes, or Ray actors, that do steps.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


@app.command("start")
def start(
    recipe: Annotated[str, typer.Argument(help="Name of a built-in recipe, or a YAML file.")],
    out: Annotated[Path | None, typer.Option(help="Run directory, new or empty.", show_default="runs/RECIPE")] = None,
    overrides: Overrides = None,
    image_root: Annotated[
        str | None, typer.Option(help="Folder of a published data set's images; as --set benchmark.image_root=DIR.")
    ] = None,
    engine: Engine = None,
    executor: Where = "local",
    num_workers: NumWorkers = 1,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; load nothing.")] = False,
    known: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="RUNDIR", help="With --dry-run: estimate from what the steps of a run took."),
    ] = None,
    is_measured: Annotated[
        bool,
        typer.Option("--measure", help="With --dry-run: load the model and try two edits where no run says enough."),
    ] = False,
    is_quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or a grid of them: every method on every edit, before and after, and the scores."""
    from reground.runner.grid import load_grid, start_grid

    _require_dry(is_dry, known, is_measured)
    rooted = [] if image_root is None else [f"benchmark.image_root={json.dumps(image_root)}"]
    chosen = load_grid(recipe, [*(overrides or ()), *rooted], engine=engine)
    if is_dry:
        if out is not None:
            from reground.runner.run import require_empty

            require_empty(out)
        _print_plans(chosen, known or (), is_measured=is_measured, as_json=as_json)
        return
    from reground.runner.executors.registry import open_executor
    from reground.runner.run import start_run

    who = open_executor(executor, num_workers)
    folder = out or Path("runs") / chosen.name
    single = chosen.single
    carry_out(
        lambda progress: (
            start_run(single, folder, on_progress=progress, executor=who)
            if single is not None
            else start_grid(chosen, folder, on_progress=progress, executor=who)
        ),
        folder,
        is_quiet=is_quiet,
        as_json=as_json,
    )


def _require_dry(is_dry: bool, known: Sequence[Path] | None, is_measured: bool) -> None:
    """Nothing, unless a run is to start and what only an estimate uses was given.

    Raises:
        InputError: It was.
    """
    from reground.errors import InputError

    given = [option for option, is_given in (("--from", known), ("--measure", is_measured)) if is_given]
    if given and not is_dry:
        raise InputError(
            f"{given[0]} was given without --dry-run; a run that starts estimates nothing.",
            "--from and --measure together with --dry-run",
            f"add --dry-run, or drop {given[0]}.",
        )


@app.command("resume")
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.")],
    executor: Where = "local",
    num_workers: NumWorkers = 1,
    is_quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Finish an interrupted run and try failed steps again; what is done is not done again."""
    from reground.runner.executors.registry import open_executor
    from reground.runner.grid import is_grid_folder, resume_grid
    from reground.runner.run import resume_run

    who = open_executor(executor, num_workers)
    go_on = resume_grid if is_grid_folder(folder) else resume_run
    carry_out(
        lambda progress: go_on(folder, on_progress=progress, executor=who),
        folder,
        is_quiet=is_quiet,
        as_json=as_json,
    )


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.")],
    lens: Annotated[
        str | None, typer.Option(help="Read the rows by another paper's protocol: mmedit, vlkeb, multimedbench, ...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the scores of a run, or what another paper's protocol makes of its rows."""
    if lens is None:
        from reground.evaluation.results import read_summary
        from reground.runner.run import SUMMARY_FILE

        _print_summary(read_summary(folder / SUMMARY_FILE), as_json=as_json)
        return
    from reground.evaluation.lenses.registry import lens_named

    chosen = lens_named(lens)
    _require_one_run(folder, lens)
    scores = _look_through(chosen, folder)
    if as_json:
        print_json([score.model_dump(mode="json") for score in scores])
    else:
        _print_lens(chosen, scores)


def _require_one_run(folder: Path, lens: str) -> None:
    """Nothing, unless the rows are those of several runs.

    Raises:
        RunDirectoryError: They are.
    """
    from reground.errors import RunDirectoryError
    from reground.runner.grid import is_grid_folder, read_grid

    if is_grid_folder(folder):
        runs = [str(folder / name) for name in read_grid(folder).runs]
        raise RunDirectoryError(
            f"{str(folder)!r} holds a grid of {len(runs)} runs; a lens reads the rows of one.",
            ", ".join(runs),
            f"look at one of them, e.g. `reground run show {runs[0]} --lens {lens}`.",
        )


def _look_through(lens: Lens, folder: Path) -> tuple[LensScore, ...]:
    from reground.edits.files import read_edits, read_probes
    from reground.evaluation.lenses.base import look_through
    from reground.runner.journal import read_rows
    from reground.runner.manifest import read_manifest
    from reground.runner.run import EDITS_FILE, PROBES_FILE

    settings = read_manifest(folder).recipe.protocol
    edits, probes = read_edits(folder / EDITS_FILE), read_probes(folder / PROBES_FILE)
    return look_through(lens, edits, probes, read_rows(folder), settings=settings)


def _print_lens(lens: Lens, scores: Sequence[LensScore]) -> None:
    if lens.flaw is not None:
        typer.echo(f"FLAWED: {lens.flaw}.")
    name = lens.name if lens.flaw is None else f"{lens.name} (flawed)"
    print_records(
        [
            {
                "lens": name,
                "method": score.method,
                "at": score.checkpoint,
                "metric": score.metric,
                "value": None if score.value is None else f"{score.value:.3f}",
                "interval": None if score.low is None else f"{score.low:.3f} to {score.high:.3f}",
                "n": score.n,
                "unscored": score.num_unscored,
                "why": score.reason or ", ".join(score.unscored_reasons) or None,
            }
            for score in scores
        ],
        as_json=False,
    )


def _print_summary(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    from rich.console import Console

    from reground.reports.tables import print_summary

    # A file or a pipe has no width of its own; the tables are laid out for 120 columns.
    print_summary(summary, Console() if sys.stdout.isatty() else Console(width=120))


def carry_out(work: Callable[[Progress | None], RunResult], folder: Path, *, is_quiet: bool, as_json: bool) -> None:
    """Do a run with its progress bar, print its tables, and end with code 1 if any of its steps failed."""
    try:
        with progress_bar(is_quiet=is_quiet) as progress:
            result = work(progress)
    except KeyboardInterrupt:
        hint = ""
        if any((folder / name).is_file() for name in ("manifest.json", "grid.json")):
            hint = f" Finished steps are kept: `reground run resume {folder}` goes on from there."
        typer.echo(f"Interrupted.{hint}", err=True)
        raise typer.Exit(130) from None
    _print_summary(result.summary, as_json=as_json)
    typer.echo(f"{result.num_steps} steps are in {result.folder}.", err=True)
    if result.num_failed_steps:
        rows = sorted(str(path) for path in result.folder.glob("**/rows.jsonl"))
        typer.echo(
            f"{result.num_failed_steps} of {result.num_steps} steps failed; "
            f"{', '.join(rows)} {'says' if len(rows) == 1 else 'say'} at which stage and why. "
            f"`reground run resume {result.folder}` tries them again.",
            err=True,
        )
        raise typer.Exit(1)


def _print_plans(grid: Grid, known: Sequence[Path], *, is_measured: bool, as_json: bool) -> None:
    """What a run will cost, or each run of a grid and all of them together."""
    from reground.cli.estimate import print_estimate, total_words
    from reground.runner.estimate import estimate_run
    from reground.runner.measurements import read_measurements
    from reground.runner.plan import check_capabilities, load_workload, make_plan
    from reground.runner.trial import measure_missing

    for recipe in grid.runs.values():
        check_capabilities(recipe)
    measurements = read_measurements(known)
    workloads = {name: load_workload(recipe) for name, recipe in grid.runs.items()}
    if is_measured:
        measurements += measure_missing(
            [(grid.runs[name], workload) for name, workload in workloads.items()], measurements
        )
    plans, estimates = {}, {}
    for name, recipe in grid.runs.items():
        plans[name] = make_plan(recipe, workloads[name])
        estimates[name] = estimate_run(recipe, workloads[name], measurements)
    num_units = {name: estimate.num_units for name, estimate in estimates.items()}
    if as_json:
        dumped = {
            name: plan.model_dump(mode="json")
            | {"num_units": num_units[name], "estimate": estimates[name].model_dump(mode="json")}
            for name, plan in plans.items()
        }
        print_json({"runs": dumped} if grid.axes else next(iter(dumped.values())))
        return
    for name, plan in plans.items():
        if grid.axes:
            typer.echo(f"[{name}]")
        _print_plan(plan)
        typer.echo(f"  units       {num_units[name]:>8} that workers can do beside one another")
        print_estimate(estimates[name])
    if grid.axes:
        typer.echo(
            f"{len(plans)} runs, {sum(num_units.values())} units: "
            f"at most {sum(plan.max_tokens for plan in plans.values()):,} tokens, {total_words(estimates.values())}"
        )
    typer.echo("Nothing was written." if is_measured else "Nothing was loaded or written.")


def _print_plan(plan: Plan) -> None:
    typer.echo(f"{plan.recipe}: model {plan.model} on benchmark {plan.benchmark}")
    at_most = "at most " if plan.num_filter_generations else ""
    typer.echo(f"  {at_most}{plan.num_edits} edits, {plan.num_probes} probes")
    if plan.num_filter_generations:
        typer.echo(f"  filter      {plan.num_filter_generations:>8} outputs of the unedited model at most")
    typer.echo(f"  reference   {plan.num_reference_generations:>8} outputs of the unedited model, beliefs included")
    for method in plan.methods:
        typer.echo(
            f"  {method.method:<12}{method.num_generations:>8} outputs, {method.num_scores} scored targets, "
            f"{method.num_applied} edits applied in {method.num_steps} steps"
        )
    typer.echo(
        f"  in all      {plan.num_generations:>8} outputs of at most {plan.max_new_tokens} tokens: "
        f"at most {plan.max_tokens:,} tokens"
    )
