"""``reground benchmarks build``: make a benchmark from published question sets, and check it by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reground.cli.output import AsJson, print_fields, progress_bar

__all__ = ["app", "check_sheet"]

app = typer.Typer(help="Make a benchmark from published question sets.", no_args_is_help=True)

_Sheet = Annotated[Path, typer.Argument(help="The sheet.csv of a build, with both annotators' columns filled in.")]


@app.command("multimed")
def multimed(
    pmc_vqa: Annotated[Path, typer.Option(help="Folder of PMC-VQA.")],
    medframeqa: Annotated[Path, typer.Option(help="Folder of MedFrameQA.")],
    nq: Annotated[Path, typer.Option(help="File with Natural Questions.")],
    vqav2: Annotated[Path, typer.Option(help="Folder of VQAv2.")],
    model: Annotated[str, typer.Option(help="Model whose mistakes are kept, e.g. hf:ORG/NAME.")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark; a build that stopped goes on from there.")],
    paraphraser: Annotated[str, typer.Option(help="URL of an OpenAI-compatible endpoint, or rules.")],
    paraphraser_model: Annotated[str | None, typer.Option(help="Name of the endpoint's model.")] = None,
    medxpertqa: Annotated[Path | None, typer.Option(help="Folder of MedXpertQA.")] = None,
    omnimedvqa: Annotated[Path | None, typer.Option(help="Folder of OmniMedVQA.")] = None,
    slake: Annotated[Path | None, typer.Option(help="Folder of SLAKE: near locality.")] = None,
    vqa_rad: Annotated[Path | None, typer.Option(help="Folder of VQA-RAD: near locality.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items of each set.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every sample.")] = 0,
    sheet_share: Annotated[float, typer.Option(help="How much people are to check, above 0 and up to 1.")] = 0.2,
    dtype: Annotated[str | None, typer.Option(help="Number format of the model's weights.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs.")] = None,
    is_quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build by the recipe of MultiMedBench: zero-shot filter, paraphrase, general locality, and a sheet for people."""
    from reground.benchmarks.builders.paraphrase import create_paraphraser
    from reground.errors import InputError
    from reground.models.registry import check_placement, load_model
    from reground.runner.build import BuildSettings, Sources, build_multimed

    if not 0 < sheet_share <= 1:
        raise InputError(f"--sheet-share {sheet_share} was given.", "a share above 0 and up to 1", "give e.g. 0.2.")
    check_placement(model, dtype, device)
    chosen = create_paraphraser(paraphraser, paraphraser_model)
    sources = Sources(
        pmc_vqa=pmc_vqa,
        medframeqa=medframeqa,
        medxpertqa=medxpertqa,
        omnimedvqa=omnimedvqa,
        nq=nq,
        vqav2=vqav2,
        slake=slake,
        vqa_rad=vqa_rad,
    )
    settings = BuildSettings(model=model, paraphraser=chosen.name, limit=limit, seed=seed, sheet_share=sheet_share)
    try:
        with progress_bar(is_quiet=is_quiet) as progress:
            report = build_multimed(
                sources,
                settings,
                out,
                load=lambda: load_model(model, dtype=dtype, device=device),
                paraphraser=chosen,
                on_progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo("Interrupted. Finished items are kept: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    print_fields(report.model_dump(mode="json"), as_json=as_json)
    if report.num_left_out:
        typer.echo(f"{report.num_left_out} entries do not fit; {out / 'left_out.jsonl'} says why.", err=True)
        raise typer.Exit(1)


def check_sheet(sheet: _Sheet, as_json: AsJson = False) -> None:
    """Print how far the two annotators of a build's sheet agree: share, Cohen's kappa, and what they rejected."""
    from reground.benchmarks.builders import sheet as sheets

    print_fields(sheets.check_sheet(sheet).model_dump(mode="json"), as_json=as_json)
