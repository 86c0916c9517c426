"""``reground doctor``: load a model and say what it offers, which methods work with it, and whether it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reground.cli.output import AsJson, Engine, print_fields, print_json, print_records, size_words

if TYPE_CHECKING:
    from reground.runner.doctor import Diagnosis

__all__ = ["doctor"]


def doctor(
    model: Annotated[str, typer.Option(help="Name of the model.")],
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="Ask about this image; default: a drawn red circle.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Number format of the weights; default: as stored.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the best there is.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Token budget of the answer.")] = 256,
    engine: Engine = None,
    as_json: AsJson = False,
) -> None:
    """Load a model, ask it about one image, and say what it offers. Ends with code 1 if a check failed."""
    from reground.edits.images import open_image
    from reground.edits.records import ImageRef
    from reground.models.loading import with_engine
    from reground.models.registry import check_placement, load_model
    from reground.runner.doctor import diagnose

    ref = ImageRef(frames=(image,)) if image else None
    model = with_engine(model, engine)
    check_placement(model, dtype, device)
    if ref is not None:
        open_image(ref)
    found = diagnose(load_model(model, dtype=dtype, device=device), ref, max_new_tokens=max_new_tokens)
    if as_json:
        print_json({**found.model_dump(mode="json"), "num_failed": found.num_failed})
    else:
        _print(found)
    if found.num_failed:
        typer.echo(f"{found.num_failed} of {len(found.checks)} checks failed.", err=True)
        raise typer.Exit(1)


def _print(found: Diagnosis) -> None:
    print_fields(
        {
            **found.model.model_dump(),
            "family": found.family,
            "weights": size_words(found.weights_bytes),
            "offers": found.capabilities,
            "lacks": found.lacked,
            "end tokens": found.end_tokens,
            "delimiters": {key: value for key, value in found.delimiters.model_dump().items() if value is not None},
        },
        as_json=False,
    )
    typer.echo("")
    print_records(
        [
            {
                "method": line.method,
                "works": "yes" if line.is_available else "no",
                "memory of an edit": size_words(line.working_bytes),
                "why not": line.reason,
            }
            for line in found.methods
        ],
        as_json=False,
    )
    typer.echo("")
    print_fields(
        {
            "question": found.question,
            "output": found.output,
            "answer": found.answer,
            "seconds": f"{found.answer_s:.2f}",
        },
        as_json=False,
    )
    typer.echo("")
    words = {True: "passed", False: "FAILED", None: "not tried"}
    print_records(
        [{"check": check.name, "result": words[check.passed], "found": check.found} for check in found.checks],
        as_json=False,
    )
