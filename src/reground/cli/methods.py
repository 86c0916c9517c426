"""``reground methods``: which editing methods there are, and their settings."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from reground.cli.output import AsJson, print_fields, print_records

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
    from reground.methods.registry import create_config, method_entry

    entry = method_entry(name)
    config = create_config(name)
    print_fields(
        {
            "name": name,
            "summary": entry.summary,
            "needs": sorted(entry.needs),
            "fixed": dict(entry.preset),
            "settings": {
                key: value for key, value in config.model_dump(mode="json").items() if key not in entry.preset
            },
        },
        as_json=as_json,
    )
    if not as_json and type(config).__doc__:
        typer.echo(f"\n{inspect.getdoc(type(config))}")
