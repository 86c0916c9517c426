"""``reground benchmarks``: which benchmarks there are, what they hold, and whether they are sound."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
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
def validate(
    name: _Name,
    format_name: Annotated[str | None, typer.Option("--format", help="Published format of the paths.")] = None,
    against: Annotated[str | None, typer.Option(help="Training data that nothing may be shared with.")] = None,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of a published data set's images; each is opened.")
    ] = None,
    num_examples: Annotated[int, typer.Option("--examples", min=0, help="Examples shown of each kind.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Report every defect of the records, the images and the content; ends with code 2 if there is any."""
    from reground.benchmarks.defects import check_benchmark

    found = check_benchmark(name, format_name=format_name, against=against, image_root=image_root)
    defects = [
        {
            "kind": defect.kind,
            "count": len(defect.examples),
            "examples": [asdict(example) for example in defect.examples[:num_examples]],
        }
        for defect in found.defects
    ]
    num_defects = sum(len(defect.examples) for defect in found.defects)
    if as_json:
        print_json({"records": found.num_records, "defects": defects})
    else:
        for defect in found.defects:
            typer.echo(f"{defect.kind}: {len(defect.examples)}")
            for example in defect.examples[:num_examples]:
                at = f"{example.file}, line {example.line}: " if example.line and example.file else ""
                typer.echo(
                    printable(f"  {'' if example.file and example.file in example.problem else at}{example.problem}")
                )
        typer.echo(f"{printable(name)}: {found.num_records} records, {num_defects} defects.")
    if found.defects:
        if as_json:
            typer.echo(f"{num_defects} defects.", err=True)
        raise typer.Exit(2)


@app.command("split")
def split(
    path: Annotated[Path, typer.Argument(help="File in a published format.")],
    format_name: Annotated[str, typer.Option("--format", help="Published format of both files.")],
    against: Annotated[Path, typer.Option(help="Training file that no subject may be shared with.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Write the records of a published file whose subjects are not trained on."""
    from reground.benchmarks.disjoint import write_disjoint

    num_kept, num_left_out = write_disjoint(format_name, path, against, out)
    typer.echo(f"{num_kept} records written to {printable(str(out))}; {num_left_out} left out.")
