"""``reground cache``: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

from typing import Annotated

import typer

from reground.cli.output import AsJson, print_fields, print_json
from reground.errors import printable

__all__ = ["app"]

app = typer.Typer(help="What is kept between runs: it can all be had again.", no_args_is_help=True)


@app.command("show")
def show_cache(as_json: AsJson = False) -> None:
    """Show where the cache is and what it holds, in bytes."""
    from reground.edits.cache import cache_entries, cache_folder

    entries = cache_entries()
    folder, num_bytes = str(cache_folder()), sum(entry.num_bytes for entry in entries)
    if as_json:
        print_json({"folder": folder, "num_bytes": num_bytes, "entries": [entry.model_dump() for entry in entries]})
        return
    typer.echo(f"{printable(folder)}: {num_bytes:,} bytes")
    for entry in entries:
        typer.echo(f"  {printable(entry.name)}  {entry.num_files} files, {entry.num_bytes:,} bytes")


@app.command("clear")
def clear(
    name: Annotated[
        str | None, typer.Argument(help="An entry, as `cache show` names it; all of them if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete one entry of the cache, or all of it."""
    from reground.edits.cache import clear_cache

    deleted = clear_cache(name)
    print_fields(
        {"deleted": [entry.name for entry in deleted], "num_bytes": sum(entry.num_bytes for entry in deleted)},
        as_json=as_json,
    )
