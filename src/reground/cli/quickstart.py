"""``reground quickstart``: the main job on the built-in world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reground.cli.output import AsJson
from reground.cli.run import Overrides, Quiet, carry_out

__all__ = ["quickstart"]


def quickstart(
    out: Annotated[
        Path | None,
        typer.Option(help="Run directory; one that was interrupted is gone on with.", show_default="runs/quickstart"),
    ] = None,
    overrides: Overrides = None,
    is_quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run several editing methods on the built-in world and print one table. Needs no network and no GPU."""
    from reground.runner.manifest import MANIFEST_FILE, read_manifest
    from reground.runner.recipe import load_recipe
    from reground.runner.run import resume_run, start_run

    recipe = load_recipe("quickstart", overrides or ())
    folder = out or Path("runs") / recipe.name
    is_begun = (folder / MANIFEST_FILE).is_file() and read_manifest(folder).recipe == recipe
    carry_out(
        lambda progress: (
            resume_run(folder, on_progress=progress) if is_begun else start_run(recipe, folder, on_progress=progress)
        ),
        folder,
        is_quiet=is_quiet,
        as_json=as_json,
    )
