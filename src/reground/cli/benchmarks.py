"""``reground benchmarks``: which benchmarks there are, what they hold, and whether they are sound."""

from __future__ import annotations

from typing import Annotated

import typer

from reground.cli import build
from reground.cli.output import AsJson, print_fields, print_json, print_records
from reground.errors import printable

__all__ = ["app"]

app = typer.Typer(help="Edits and probes.", no_args_is_help=True)
app.add_typer(build.app, name="build")
app.command("check-sheet")(build.check_sheet)

_Name = Annotated[str, typer.Argument(help="Registered name, FORMAT:PATH, or a folder of records.")]


@app.command("list")
def list_benchmarks(as_json: AsJson = False) -> None:
    """List the benchmarks, and the formats of published data sets. A folder of one's own is a benchmark too."""
    from reground.benchmarks.published.formats import FORMATS
    from reground.benchmarks.registry import BENCHMARKS

    listed = [{"name": name, "summary": entry.summary} for name, entry in BENCHMARKS.items()]
    listed += [
        {"name": f"{name}:PATH", "summary": f"{entry.title}, {entry.licence}."} for name, entry in FORMATS.items()
    ]
    print_records(listed, as_json=as_json)


@app.command("show")
def show_benchmark(name: _Name, as_json: AsJson = False) -> None:
    """Show a benchmark's card: source, licence, counts, checksum, known defects."""
    from reground.benchmarks.registry import open_benchmark

    print_fields(open_benchmark(name).card().model_dump(mode="json"), as_json=as_json)


@app.command("validate")
def validate(name: _Name, as_json: AsJson = False) -> None:
    """Report every defective record and image; ends with code 2 if there is any."""
    from reground.benchmarks.validation import validate_benchmark

    found = validate_benchmark(name)
    if as_json:
        print_json(
            {
                "name": found.name,
                "num_edits": found.num_edits,
                "num_probes": found.num_probes,
                "defects": [
                    {
                        "problem": defect.tried,
                        "accepted": defect.accepted,
                        "next_step": defect.next_step,
                        **{key: getattr(defect, key, None) for key in ("file", "line", "field")},
                    }
                    for defect in found.defects
                ],
            }
        )
    else:
        for defect in found.defects:
            typer.echo(f"{type(defect).__name__}: {defect}")
        counted = f"{found.num_edits} sound edits, {found.num_probes} sound probes"
        typer.echo(f"{printable(found.name)}: {counted}, {len(found.defects)} defects.")
    if found.defects:
        if as_json:
            typer.echo(f"{len(found.defects)} defects.", err=True)
        raise typer.Exit(2)
