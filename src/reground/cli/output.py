"""How the command line prints: data on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reground.errors import printable

if TYPE_CHECKING:
    from reground.runner.run import Progress

__all__ = ["AsJson", "Engine", "print_fields", "print_json", "print_records", "progress_bar", "size_words"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Engine = Annotated[str | None, typer.Option(help="What a checkpoint is answered by, e.g. vllm; default: as it says.")]


def print_json(value: Any) -> None:
    """Print a value for machines."""
    can_hold_all = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not can_hold_all))


def print_records(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print a list of records, as a table for people or as JSON for machines."""
    if as_json:
        print_json([dict(record) for record in records])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not records:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in records[0]:
        table.add_column(key, overflow="fold")
    for record in records:
        table.add_row(*(Text(_words(value)) for value in record.values()))
    Console().print(table)


def print_fields(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record, a field a line for people or as JSON for machines."""
    if as_json:
        print_json(dict(record))
        return
    width = max(map(len, record), default=0)
    for key, value in record.items():
        if isinstance(value, Mapping):
            typer.echo(f"{key}:")
            for inner, number in value.items():
                typer.echo(f"  {inner}: {_words(number)}")
        else:
            typer.echo(f"{key:<{width}}  {_words(value)}")


@contextmanager
def progress_bar(*, is_quiet: bool) -> Iterator[Progress | None]:
    """A bar with the time left on stderr; nothing if ``is_quiet`` or if stderr is no terminal."""
    if is_quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps,"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bar(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("loading", total=None)

        def show(done: int, total: int, label: str) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield show


def size_words(num_bytes: int | None) -> str | None:
    """Bytes in the unit a reader would choose."""
    if num_bytes is None:
        return None
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes} B"


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(printable(str(item)) for item in value) or "–"
    return printable(str(value))
