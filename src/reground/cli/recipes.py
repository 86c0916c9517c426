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
    from reground.runner.recipe import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    print_records(
        [
            {
                "name": recipe.name,
                "model": recipe.model,
                "methods": list(recipe.methods),
                "for": recipe.description,
            }
            for recipe in recipes
        ],
        as_json=as_json,
    )


@app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="Name of a built-in recipe, or a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Print a recipe in full, defaults included, as YAML to copy and change."""
    import yaml

    from reground.runner.recipe import load_recipe

    value = load_recipe(name).model_dump(mode="json")
    if as_json:
        print_json(value)
    else:
        typer.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
