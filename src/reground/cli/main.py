"""The command line: one thin file per noun, put together here."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reground.cli import ask, benchmarks, cache, doctor, library, methods, models, quickstart, recipes, run, train
from reground.errors import InputError, RegroundError

__all__ = ["app", "main"]


#: What a shell reports of a program that a closed pipe ended; 1 would claim failed steps.
_CLOSED_PIPE = 128 + 13

_EXIT_CODES = (
    "Exit codes: 0 done; 1 done with failed steps; 2 a mistake that the message says how to put right; "
    "70 a fault of reground itself; 130 interrupted."
)


#: What typer raises for words it cannot make a command of; it has no public name of its own.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class _ErrorPrintingGroup(TyperGroup):
    """Ends with code 2 and the message, not with a traceback, when the user made a mistake."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        try:
            return super().make_context(*arguments, **settings)
        except _UsageError as error:
            raise _refusal(error) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RegroundError as error:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
            raise typer.Exit(2) from error
        except _UsageError as error:
            raise _refusal(error) from error
        except BrokenPipeError:
            # Whoever read us, such as `head`, has had enough. What is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_CLOSED_PIPE) from None
        except SystemExit as ending:
            if isinstance(ending.__context__, BrokenPipeError):  # as rich ends a process
                raise typer.Exit(_CLOSED_PIPE) from None
            raise
        except OSError as error:
            refused = RegroundError(
                f"the system refused to read or write: {error}.",
                "files and streams that can be read and written, on a disk with room",
                "put that right and run the command again.",
            )
            typer.echo(f"{type(error).__name__}: {refused}", err=True)
            raise typer.Exit(2) from error


def _refusal(error: Any) -> Exception:
    """How the program ends on a command it cannot make sense of; a group called without a command shows its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error  # type: ignore[no-any-return]
    context = error.ctx
    known = getattr(context.command, "commands", None)
    usage = context.command.get_usage(context).strip().removeprefix("Usage: ")
    refused = InputError(
        f"`{context.command_path}` cannot be run like this: {error.format_message()}",
        f"one of the commands {', '.join(known)}" if known else usage,
        f"see `{context.command_path} --help`.",
    )
    typer.echo(f"{type(refused).__name__}: {refused}", err=True)
    return typer.Exit(2)


app = typer.Typer(
    name="reground",
    cls=_ErrorPrintingGroup,
    help="Edit what a multimodal reasoning model believes, and see whether the edit reached its reasoning.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart.quickstart)
app.command("ask")(ask.ask)
app.add_typer(run.app, name="run")
app.add_typer(recipes.app, name="recipes")
app.add_typer(train.app, name="train")
app.add_typer(methods.app, name="methods")
app.add_typer(models.app, name="models")
app.add_typer(benchmarks.app, name="benchmarks")
app.add_typer(cache.app, name="cache")
app.add_typer(library.app, name="library")
app.command("doctor")(doctor.doctor)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        import reground

        typer.echo(reground.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line with the arguments of the process."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a character shows a question mark
        sys.stdout.reconfigure(errors="replace")
    app()
