"""``reground methods``: which editing methods there are, their settings, and the training of those that need one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from reground.cli.output import AsJson, print_fields, print_records, progress_bar

__all__ = ["app"]

app = typer.Typer(help="Editing methods.", no_args_is_help=True)


@app.command("list")
def list_methods(as_json: AsJson = False) -> None:
    """List the methods and what each needs of a model."""
    from reground.methods.registry import METHODS

    print_records(
        [{"name": name, "needs": sorted(entry.needs), "summary": entry.summary} for name, entry in METHODS.items()],
        as_json=as_json,
    )


@app.command("show")
def show_method(name: Annotated[str, typer.Argument(help="Name of the method.")], as_json: AsJson = False) -> None:
    """Show one method: its settings, their defaults and what they mean."""
    from reground.methods.registry import create_config, create_fit_config, method_entry

    entry = method_entry(name)
    config = create_config(name)
    training = create_fit_config(name) if entry.fit is not None else None
    print_fields(
        {
            "name": name,
            "summary": entry.summary,
            "needs": sorted(entry.needs),
            "fixed": dict(entry.preset),
            "settings": {
                key: value for key, value in config.model_dump(mode="json").items() if key not in entry.preset
            },
            **({"training": training.model_dump(mode="json")} if training is not None else {}),
        },
        as_json=as_json,
    )
    for described in (config, training):
        if not as_json and described is not None and type(described).__doc__:
            typer.echo(f"\n{inspect.getdoc(type(described))}")


@app.command("fit")
def fit_method_command(
    name: Annotated[str, typer.Argument(help="Name of a method that has to be trained.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model it is to edit.")],
    out: Annotated[Path, typer.Option(help="Folder of the artifact; a training that stopped there goes on.")],
    benchmark: Annotated[str, typer.Option(help="Where the edits to learn from are.")] = "phantom",
    split: Annotated[str, typer.Option(help="Edits that are trained on.")] = "train",
    validation_split: Annotated[str, typer.Option(help="Edits that tell when it went best.")] = "calibration",
    limit: Annotated[int | None, typer.Option(min=1, help="Edits that are trained on, at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 0,
    dtype: Annotated[str | None, typer.Option(help="Number format of the weights.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. num_steps=200.")
    ] = None,
    is_quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a method for a model, on subjects that are never scored; `artifact=OUT` then edits with it."""
    from reground.runner.fit import fit_method
    from reground.runner.recipe import read_settings

    with progress_bar(is_quiet=is_quiet) as show:
        artifact = fit_method(
            name,
            model,
            out,
            settings=read_settings(settings or ()),
            benchmark_name=benchmark,
            split=split,
            validation_split=validation_split,
            limit=limit,
            seed=seed,
            dtype=dtype,
            device=device,
            on_step=show,
        )
    report, data = artifact.report, artifact.data
    best = next(point for point in report.curve if point.step == report.best_step)
    print_fields(
        {
            "artifact": str(out),
            "method": artifact.method,
            "model": artifact.model.name,
            "steps": report.num_steps,
            "best step": report.best_step,
            "seconds": round(report.wall_s, 1),
            "parameters": report.num_parameters,
            "edits": data.num_edits,
            "subjects": len(data.subjects),
            "validation loss at first": round(report.curve[0].validation_loss, 4),
            "validation loss at best": round(best.validation_loss, 4),
        },
        as_json=as_json,
    )
