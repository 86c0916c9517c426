"""``reground ask``: one question to one model, chain and answer."""

from __future__ import annotations

from typing import Annotated

import typer

from reground.cli.output import AsJson, Engine, print_json
from reground.errors import InputError, printable

__all__ = ["ask"]


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    images: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="FILE", help="Image the question is about; again for a further frame."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="TEXT", help="A choice; again for each further one."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Token budget.")] = 256,
    engine: Engine = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model one question and print its chain of thought and its answer."""
    from reground.edits.images import open_image
    from reground.edits.records import ImageRef, is_blank
    from reground.models.base import Query
    from reground.models.loading import with_engine
    from reground.models.registry import load_model, model_entry

    given = {"question": [question], "--image": images or [], "--option": options or []}
    for name, texts in given.items():
        if any(map(is_blank, texts)):
            raise InputError(f"ask was given an empty {name}.", "text that is not empty", f"give it, or drop {name}.")
        for text in texts:
            _require_unicode(name, text)
    ref = ImageRef(frames=tuple(images)) if images else None
    model = with_engine(model, engine)
    model_entry(model)
    if ref is not None:
        open_image(ref)
    loaded = load_model(model)
    query = Query(question=question, image=ref, options=tuple(options or ()))
    ((output,),) = loaded.generate([query], max_new_tokens=max_new_tokens)
    trace = output.trace(loaded.delimiters)
    if as_json:
        print_json({"raw": output.text, **trace.model_dump(mode="json")})
        return
    if trace.chain:
        typer.echo(f"chain:  {printable(trace.chain)}")
    if trace.answer is not None:
        typer.echo(f"answer: {printable(trace.answer)}")
    else:
        typer.echo(f"no answer ({trace.outcome}: {trace.reason})\nraw:    {printable(output.text)}")


def _require_unicode(name: str, text: str) -> None:
    """Bytes of the command line that are not UTF-8 reach us as lone surrogates, which no record can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"ask was given a {name} that is not valid Unicode: {text!r}.",
            "text encoded as UTF-8",
            "correct the encoding, or rename the file.",
        ) from error
