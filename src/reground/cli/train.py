"""``reground train``: make what ships with the package, from its committed recipe."""

from __future__ import annotations

import json
import logging
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from reground.errors import UnknownNameError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train what ships with the package, from its recipe.")


@app.command("phantom")
def phantom(
    recipe: Annotated[str, typer.Argument(help="phantom-med, phantom-general, or a recipe file.")],
    work: Annotated[Path, typer.Option(help="Folder of checkpoints; a run that stopped goes on from here.")] = Path(
        "work/phantom"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the finished model; WORK/NAME if not given.")] = None,
    measure_count: Annotated[int, typer.Option("--count", min=1, help="Questions per skill in the measurement.")] = 400,
) -> None:
    """Train a built-in model from scratch, export it, measure it, and write its card."""
    from reground.models.hf.adapter import load_hf_model
    from reground.training.phantom.build import build_phantom, read_phantom_recipe, write_card
    from reground.training.phantom.measure import measure

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = read_phantom_recipe(_recipe_file(recipe))
    folder = build_phantom(settings, work, out or work / settings.name)
    measured = measure(load_hf_model(str(folder), name=settings.name), count=measure_count)
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    typer.echo(write_card(folder).read_text(encoding="utf-8"))


def _recipe_file(name_or_path: str) -> Path:
    folder = Path(str(resources.files("reground") / "recipes" / "train"))
    known = {file.stem: file for file in folder.glob("*.yaml")}
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise UnknownNameError("recipe", name_or_path, [*known, "path/to/recipe.yaml"])
    return path
