"""``reground library``: edit cards, what is found among them, and with what guarantee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reground.cli.output import AsJson, print_fields, print_json, print_records
from reground.errors import InputError, printable

if TYPE_CHECKING:
    from reground.edits.records import ImageRef
    from reground.library.calibration import AskedQuery
    from reground.library.routing import Calibration, Route, Router
    from reground.library.store import Added, Library

__all__ = ["app"]

app = typer.Typer(help="Edit cards in a library, and which of them a question receives.", no_args_is_help=True)

_Uri = Annotated[str, typer.Argument(metavar="LIBRARY", help="A folder, or an address LanceDB takes.")]
_TextEncoder = Annotated[
    str | None, typer.Option(help="Of a new library: ngrams, minilm, sentence:..., clip:..., A+B.")
]
_ImageEncoder = Annotated[str | None, typer.Option(help="Of a new library: phantom-med, clip:..., or none.")]
_Joined = Annotated[bool, typer.Option("--joined", help="Make it with one side for all cards: an ablation.")]

#: Beside the table of a library that is a folder.
_CALIBRATION_FILE = "calibration.json"


@app.command("add")
def add(
    uri: _Uri,
    cards: Annotated[Path | None, typer.Option(help="JSONL file of cards, or the folder of an export.")] = None,
    statement: Annotated[str | None, typer.Option(help="The change in one sentence.")] = None,
    question: Annotated[str | None, typer.Option(help="A question whose answer changes.")] = None,
    answer: Annotated[str | None, typer.Option(help="What holds from now on.")] = None,
    aliases: Annotated[
        list[str] | None, typer.Option("--alias", help="Another spelling of the answer; repeat.")
    ] = None,
    prior: Annotated[str | None, typer.Option(help="What held before.")] = None,
    images: Annotated[
        list[str] | None, typer.Option("--image", help="Image of a visual card; repeat for frames.")
    ] = None,
    percept: Annotated[str | None, typer.Option(help="What the model itself says it sees in the image.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the fact is about.")] = None,
    relation: Annotated[str | None, typer.Option(help="Which fact about it.")] = None,
    who: Annotated[str | None, typer.Option(help="Who enters it.")] = None,
    source: Annotated[str | None, typer.Option(help="What it rests on.")] = None,
    supersedes: Annotated[list[str] | None, typer.Option(help="Id of a card it takes the place of; repeat.")] = None,
    text_encoder: _TextEncoder = None,
    image_encoder: _ImageEncoder = None,
    is_joined: _Joined = False,
    as_json: AsJson = False,
) -> None:
    """Put a card in force, or all cards of a file; the library is made if it is not there."""
    from reground.library.exchange import read_cards

    single: dict[str, Any] = {
        "statement": statement,
        "question": question,
        "answer": answer,
        "alias": aliases,
        "prior": prior,
        "image": images,
        "percept": percept,
        "subject": subject,
        "relation": relation,
        "who": who,
        "source": source,
        "supersedes": supersedes,
    }
    given = [f"--{name}" for name, value in single.items() if value]
    if cards is not None and given:
        raise InputError(
            f"library add was given --cards and {', '.join(given)}.",
            "a file of cards, or the parts of one card",
            "drop one of the two.",
        )
    entered = [_single_card(single)] if cards is None else read_cards(cards)
    _print_added(_opened(uri, text_encoder, image_encoder, is_joined).add(entered), as_json=as_json)


@app.command("import")
def import_cards(
    uri: _Uri,
    path: Annotated[Path, typer.Argument(help="The folder of an export, or a JSONL file of cards.")],
    text_encoder: _TextEncoder = None,
    image_encoder: _ImageEncoder = None,
    is_joined: _Joined = False,
    as_json: AsJson = False,
) -> None:
    """Put the active cards of an export in force, in one version."""
    from reground.library.exchange import read_cards

    cards = read_cards(path)
    _print_added(_opened(uri, text_encoder, image_encoder, is_joined).add(cards), as_json=as_json)


@app.command("export")
def export(
    uri: _Uri,
    folder: Annotated[Path, typer.Argument(help="Where to write; new or empty.")],
    has_withdrawn: Annotated[bool, typer.Option("--all", help="Withdrawn cards as well.")] = False,
) -> None:
    """Write cards as JSON lines, and their images."""
    from reground.library.exchange import export_cards

    number = export_cards(_present(uri), folder, status=None if has_withdrawn else "active")
    typer.echo(f"{number} cards written to {printable(str(folder))}.")


@app.command("list")
def list_cards(
    uri: _Uri,
    has_withdrawn: Annotated[bool, typer.Option("--all", help="Withdrawn cards as well.")] = False,
    has_versions: Annotated[bool, typer.Option("--versions", help="List versions in place of cards.")] = False,
    version: Annotated[int | None, typer.Option(min=0, help="Cards as they were in this version.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the cards in force, or the versions."""
    library = _present(uri)
    if has_versions:
        print_records([one.model_dump(mode="json") for one in library.versions()], as_json=as_json)
        return
    cards = library.cards(status=None if has_withdrawn else "active", version=version)
    print_records(
        [
            {
                "id": one.id,
                "status": one.status,
                "modality": one.card.modality,
                "statement": one.card.statement,
                "who": one.card.provenance.who,
                "source": one.card.provenance.source,
                "version": one.entered,
            }
            for one in cards
        ],
        as_json=as_json,
    )


@app.command("show")
def show(
    uri: _Uri, card: Annotated[str | None, typer.Argument(help="Id of a card.")] = None, as_json: AsJson = False
) -> None:
    """Show a card, or how the library was made and what it holds."""
    library = _present(uri)
    if card is not None:
        stored = library.get(card).model_dump(mode="json")
        print_fields({**{key: stored[key] for key in ("id", "status", "entered")}, **stored["card"]}, as_json=as_json)
        return
    fields = {"library": uri, "version": library.version, "cards": len(library)}
    print_fields({**fields, **library.layout.model_dump(mode="json")}, as_json=as_json)


@app.command("remove")
def remove(
    uri: _Uri,
    cards: Annotated[list[str], typer.Argument(help="Ids of cards.")],
    is_erasing: Annotated[
        bool, typer.Option("--erase", help="Delete them for good: no rollback brings them back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw cards; a rollback can bring them back."""
    library = _present(uri)
    version = library.erase(cards) if is_erasing else library.remove(cards)
    print_fields(version.model_dump(mode="json"), as_json=as_json)


@app.command("rollback")
def rollback(
    uri: _Uri,
    version: Annotated[int, typer.Argument(help="The version to return to; 0 is empty.")],
    as_json: AsJson = False,
) -> None:
    """Put in force what was in force in an earlier version, as a new version."""
    print_fields(_present(uri).rollback(version).model_dump(mode="json"), as_json=as_json)


@app.command("search")
def search(
    uri: _Uri,
    question: Annotated[str, typer.Argument(help="A question, or with --sentence a sentence of a chain.")],
    images: Annotated[list[str] | None, typer.Option("--image", help="What it is about; repeat for frames.")] = None,
    is_sentence: Annotated[bool, typer.Option("--sentence", help="Look a sentence of a chain up.")] = False,
    is_explained: Annotated[bool, typer.Option("--explain", help="Near misses, and why they are none.")] = False,
    calibration: Annotated[str | None, typer.Option(help="Thresholds: a file, `phantom`, or `none`.")] = None,
    limit: Annotated[int, typer.Option(min=2, help="Near misses shown of each way.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the cards a question receives, if any."""
    from reground.library.routing import Router
    from reground.models.base import Query

    if is_sentence and images:
        raise InputError("library search was given --sentence and --image.", "one of the two", "drop one.")
    library = _present(uri)
    router = Router(library, calibration=_thresholds(uri, calibration))
    if is_sentence:
        (route,) = router.lookup([question], num_candidates=limit)
    else:
        (route,) = router.route([Query(question=question, image=_image(images))], num_candidates=limit)
    found = {
        "abstains": route.abstains,
        "cards": [
            {"id": hit.id, "way": hit.way, "score": round(hit.score, 4), "statement": hit.card.statement}
            for hit in route.hits
        ],
    }
    explained = _explained(router, route) if is_explained else []
    if as_json:
        print_json({**found, **({"ways": explained} if is_explained else {})})
        return
    for card in found["cards"]:  # type: ignore[attr-defined]
        typer.echo(printable(f"{card['id']}  {card['way']}  {card['score']:.3f}  {card['statement']}"))
    if route.abstains:
        typer.echo("no card")
    for way in explained:
        typer.echo(
            f"\n{way['way']}: {way['verdict']}; must exceed {_number(way['threshold'])}, "
            f"lead by {_number(way['least_margin'])}, leads by {_number(way['margin'])}"
        )
        for card in way["candidates"]:
            parts = ", ".join(f"{name} {value:.3f}" for name, value in card["parts"].items())
            typer.echo(printable(f"  {card['score']:.3f}  ({parts})  {card['id']}  {card['statement']}"))


@app.command("calibrate")
def calibrate_command(
    uri: Annotated[str | None, typer.Argument(metavar="LIBRARY", help="The library; none with --benchmark.")] = None,
    unrelated: Annotated[
        Path | None, typer.Option(help="JSONL of questions no card concerns: question, image.")
    ] = None,
    related: Annotated[
        Path | None, typer.Option(help="JSONL of others: question, image, cards (ids). For the margin.")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="Calibrate on a benchmark's own cards and questions.")] = None,
    split: Annotated[
        str, typer.Option(help="Edits of the benchmark: halved, to calibrate and to try.")
    ] = "calibration",
    alpha: Annotated[float, typer.Option(help="Share of unrelated questions that may receive a card.")] = 0.05,
    delta: Annotated[float, typer.Option(help="1 minus the confidence.")] = 0.05,
    image_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the image in the joint score.")] = 0.7,
    out: Annotated[Path | None, typer.Option(help="File to write; by default beside the library.")] = None,
    text_encoder: _TextEncoder = None,
    image_encoder: _ImageEncoder = None,
    is_joined: _Joined = False,
    as_json: AsJson = False,
) -> None:
    """Set thresholds so that at most alpha of unrelated questions receive a card, and write the guarantee."""
    from reground.edits.files import write_atomically
    from reground.library.conformal import check_levels

    check_levels(alpha, delta)
    if (benchmark is None) == (uri is None) or (uri is not None and unrelated is None):
        raise InputError(
            f"library calibrate was given LIBRARY={uri!r}, --benchmark {benchmark!r}, --unrelated {unrelated}.",
            "a library with --unrelated FILE, or --benchmark NAME alone",
            "give one of the two.",
        )
    target = out or _beside(uri)
    report = None
    if benchmark is not None:
        from reground.benchmarks.registry import open_benchmark
        from reground.runner.calibrate import calibrate_on_benchmark

        calibration, report = calibrate_on_benchmark(
            open_benchmark(benchmark),
            split,
            _encoders(text_encoder, image_encoder),
            alpha=alpha,
            delta=delta,
            image_share=image_share,
            is_joined=is_joined,
        )
    else:
        assert uri is not None and unrelated is not None
        calibration = _calibrated(uri, unrelated, related, alpha, delta, image_share)
    write_atomically(target, calibration.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json(
            {
                "file": str(target),
                "calibration": calibration.model_dump(mode="json"),
                "tried": None if report is None else report.model_dump(mode="json"),
            }
        )
        return
    typer.echo(printable(calibration.guarantee))
    if report is not None:
        typer.echo(f"\nTried on the other half, {report.num_cards} cards: {report.unrelated['received']} of "
                   f"{report.unrelated['n']} unrelated questions received one.\n")  # fmt: skip
        print_records([level.model_dump() for level in report.levels], as_json=False)
    typer.echo(f"written to {printable(str(target))}")


def _single_card(given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from reground.edits.misfits import misfit_words
    from reground.library.card import EditCard

    missing = [f"--{name}" for name in ("statement", "question", "answer") if not given[name]]
    if missing:
        raise InputError(
            f"library add was given no {', '.join(missing)}.",
            "--cards FILE, or --statement, --question and --answer",
            "give them; see `reground library add --help`.",
        )
    value = {
        "statement": given["statement"],
        "question": given["question"],
        "new_answer": {"text": given["answer"], "aliases": given["alias"] or []},
        "prior_answer": {"text": given["prior"]} if given["prior"] else None,
        "modality": "visual" if given["image"] else "textual",
        "image": {"frames": given["image"]} if given["image"] else None,
        "percept": given["percept"],
        "subject": given["subject"],
        "relation": given["relation"],
        "provenance": {
            **({"who": given["who"]} if given["who"] else {}),
            **({"source": given["source"]} if given["source"] else {}),
            "supersedes": given["supersedes"] or [],
        },
    }
    try:
        return EditCard.model_validate(value)
    except ValidationError as error:
        problem = misfit_words(EditCard, error.errors(include_url=False)[0])
        raise InputError(
            f"library add was given a card that does not fit: {problem}.",
            "text that is not empty; a percept only with an image",
            "correct the option.",
        ) from error


def _print_added(added: Added, *, as_json: bool) -> None:
    for pair in added.contradictions:
        typer.echo(
            f"Warning: {pair.entered} contradicts {pair.standing}, which is in force (same {pair.about}); "
            f"add it with --supersedes {pair.standing}, or remove one of the two.",
            err=True,
        )
    print_fields(added.model_dump(mode="json"), as_json=as_json)


def _encoders(text: str | None, image: str | None) -> Any:
    from reground.library.encoders import default_text_encoder, open_encoders

    return open_encoders(text or default_text_encoder(), None if image == "none" else image or "phantom-med")


def _opened(uri: str, text: str | None, image: str | None, is_joined: bool) -> Library:
    from reground.library.store import Library

    _require_lasting(uri)
    return Library.open(uri, encoders=_encoders(text, image) if text or image else None, is_joined=is_joined)


def _present(uri: str) -> Library:
    from reground.library.store import Library

    _require_lasting(uri)
    return Library.open(uri, is_new=False)


def _require_lasting(uri: str) -> None:
    if uri.startswith("memory:"):
        raise InputError(
            f"the library {uri!r} would be gone when the command ends.", "a folder, or a URI", "name a folder."
        )


def _beside(uri: str | None) -> Path:
    if uri is None or "://" in uri:
        raise InputError(
            "library calibrate has no folder to write to.", "--out FILE", "name the file to write with --out."
        )
    return Path(uri) / _CALIBRATION_FILE


def _thresholds(uri: str, name: str | None) -> Calibration | None:
    from reground.library.calibration import read_calibration

    if name == "none":
        return None
    own = None if "://" in uri else Path(uri) / _CALIBRATION_FILE
    if name is not None:
        return read_calibration(name)
    if own is not None and own.is_file():
        return read_calibration(str(own))
    raise InputError(
        f"the library {uri!r} has not been calibrated.",
        "--calibration with a file, `phantom` (for the built-in world), or `none` (every question receives a card)",
        "run `reground library calibrate`, or name one.",
    )


def _image(addresses: list[str] | None) -> ImageRef | None:
    from reground.edits.records import ImageRef

    return ImageRef(frames=tuple(addresses)) if addresses else None


def _calibrated(
    uri: str, unrelated: Path, related: Path | None, alpha: float, delta: float, image_share: float
) -> Calibration:
    from reground.library.calibration import calibrate
    from reground.library.routing import Router

    library = _present(uri)
    return calibrate(
        Router(library, image_share=image_share),
        _asked(unrelated, has_cards=False),
        related=_asked(related, has_cards=True) if related is not None else (),
        alpha=alpha,
        delta=delta,
        data=f"{unrelated.name}" + (f", margins from {related.name}" if related is not None else ""),
        num_cards=len(library),
        num_looked_up=2,
    )


def _asked(path: Path, *, has_cards: bool) -> list[AskedQuery]:
    from reground.library.calibration import read_asked

    return read_asked(path, has_cards=has_cards)


def _explained(router: Router, route: Route) -> list[dict[str, Any]]:
    calibration = router.calibration
    explained = []
    for way, candidates in route.candidates.items():
        threshold = calibration.thresholds.get(way) if calibration is not None else None
        explained.append(
            {
                "way": way,
                "verdict": route.verdicts[way],
                "threshold": threshold.score if threshold else None,
                "least_margin": threshold.margin if threshold else None,
                "margin": route.margins[way] if len(candidates) > 1 else None,
                "candidates": [
                    {
                        "id": one.id,
                        "score": round(one.score, 4),
                        "parts": {name: round(value, 4) for name, value in router.parts(route.query, one).items()},
                        "statement": one.card.statement,
                    }
                    for one in candidates
                ],
            }
        )
    return explained


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
