"""``reground models``: which models there are, and what they offer."""

from __future__ import annotations

from typing import Annotated

import typer

from reground.cli.output import AsJson, print_fields, print_records

__all__ = ["app"]

app = typer.Typer(help="Models that can be edited.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models and families of models, without loading any."""
    from reground.models.registry import MODEL_FAMILIES, MODELS

    entries = [*MODELS.items(), *MODEL_FAMILIES.values()]
    print_records(
        [
            {"name": name, "capabilities": sorted(entry.capabilities), "summary": entry.summary}
            for name, entry in entries
        ],
        as_json=as_json,
    )


@app.command("show")
def show_model(name: Annotated[str, typer.Argument(help="Name of the model.")], as_json: AsJson = False) -> None:
    """Show one model: what it offers, and which methods work with it."""
    from reground.methods.registry import METHODS
    from reground.models.registry import model_entry

    entry = model_entry(name)
    print_fields(
        {
            "name": name,
            "summary": entry.summary,
            "capabilities": sorted(entry.capabilities),
            "methods": [method for method, line in METHODS.items() if line.needs <= entry.capabilities],
        },
        as_json=as_json,
    )
