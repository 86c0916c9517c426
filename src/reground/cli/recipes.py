"""``reground recipes``: the built-in runs a published number names."""

from __future__ import annotations

from typing import Annotated

import typer

from reground.cli.output import AsJson, print_json, print_records

__all__ = ["app"]

app = typer.Typer(help="Complete, named run configurations.", no_args_is_help=True)


@app.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """List the built-in recipes."""
    from reground.runner.grid import load_grid
    from reground.runner.recipe import recipe_names

    grids = [load_grid(name) for name in recipe_names()]
    print_records(
        [
            {
                "name": grid.name,
                "model": ", ".join(dict.fromkeys(recipe.model for recipe in grid.runs.values())),
                "methods": list(next(iter(grid.runs.values())).methods),
                "for": grid.description,
            }
            for grid in grids
        ],
        as_json=as_json,
    )


@app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="Name of a built-in recipe, or a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Print a recipe in full, defaults included, as YAML to copy and change; of a grid, each of its runs."""
    import yaml

    from reground.runner.grid import load_grid

    grid = load_grid(name)
    value = (grid.single or grid).model_dump(mode="json")
    if as_json:
        print_json(value)
    else:
        typer.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
