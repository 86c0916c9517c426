"""``reground train``: make what ships with the package, from its committed recipe."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reground.cli.output import AsJson, print_json, print_records
from reground.errors import CapabilityError, UnknownNameError

if TYPE_CHECKING:
    from reground.models.hf.adapter import HfModel
    from reground.training.policy_card import PolicyCard

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train what ships with the package, from its recipe.")


@app.command("phantom")
def phantom(
    recipe: Annotated[str, typer.Argument(help="phantom-med, phantom-general, or a recipe file.")],
    work: Annotated[Path, typer.Option(help="Folder of checkpoints; a run that stopped goes on from here.")] = Path(
        "work/phantom"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the finished model; WORK/NAME if not given.")] = None,
    measure_count: Annotated[int, typer.Option("--count", min=1, help="Questions per skill in the measurement.")] = 400,
) -> None:
    """Train a built-in model from scratch, export it, measure it, and write its card."""
    from reground.models.hf.adapter import load_hf_model
    from reground.training.phantom.build import build_phantom, read_phantom_recipe, write_card
    from reground.training.phantom.measure import measure

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = read_phantom_recipe(_recipe_file(recipe))
    folder = build_phantom(settings, work, out or work / settings.name)
    measured = measure(load_hf_model(str(folder), name=settings.name), count=measure_count)
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    typer.echo(write_card(folder).read_text(encoding="utf-8"))


_Out = Annotated[Path | None, typer.Option(help="Folder of the policy; a training that stopped there goes on.")]


@app.command("sft")
def sft(
    recipe: Annotated[str, typer.Argument(help="crane-sft, or a recipe file.")],
    out: _Out = None,
    as_json: AsJson = False,
) -> None:
    """Train a policy that reads edit cards, on chains that are right; `artifact=OUT` then edits with it."""
    from reground.training.policy_settings import SftRecipe
    from reground.training.recipe_file import read_training_recipe

    settings = read_training_recipe(_recipe_file(recipe), SftRecipe, "crane-sft")
    model = _policy_model(settings.model)
    from reground.training.sft import train_sft

    _print_policy(train_sft(settings, model, out or Path("work") / settings.name), as_json=as_json)


@app.command("grpo")
def grpo(
    recipe: Annotated[str, typer.Argument(help="crane-grpo, or a recipe file.")],
    policy: Annotated[Path | None, typer.Option(help="Folder of the policy to go on from.")] = None,
    out: _Out = None,
    as_json: AsJson = False,
) -> None:
    """Go on training a policy with the Cognitive Routing Reward."""
    from reground.training.policy_settings import GrpoRecipe
    from reground.training.recipe_file import read_training_recipe

    settings = read_training_recipe(_recipe_file(recipe), GrpoRecipe, "crane-grpo")
    model = _policy_model(settings.model)
    from reground.training.grpo import train_grpo

    _print_policy(train_grpo(settings, model, out or Path("work") / settings.name, policy), as_json=as_json)


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a policy that `reground train` wrote.")],
    num_points: Annotated[int, typer.Option("--points", min=2, help="Rows of the curve.")] = 12,
    as_json: AsJson = False,
) -> None:
    """How a policy was trained: its curve, and what it does by kind of sample on the calibration split."""
    from reground.training.policy_card import PolicyCard

    card = PolicyCard.read(folder)
    if as_json:
        _print_policy(card, as_json=True)
        return
    print_records(_thinned(card.curve_rows, num_points), as_json=False)
    _print_policy(card, as_json=False)


def _thinned(rows: Sequence[dict[str, Any]], num_points: int) -> list[dict[str, Any]]:
    """As many rows, the first and the last among them, as evenly spread as they can be."""
    if len(rows) <= num_points:
        return list(rows)
    return [rows[round(point * (len(rows) - 1) / (num_points - 1))] for point in range(num_points)]


def _policy_model(name: str) -> HfModel:
    """The model a policy is trained for, whose weights have to be here."""
    from reground.models.hf.adapter import HfModel
    from reground.models.registry import load_model

    model = load_model(name)
    if not isinstance(model, HfModel):
        raise CapabilityError(
            f"a policy was to be trained for {name!r}, whose weights are out of reach.",
            "a model with weights, e.g. phantom-med or hf:ORG/NAME",
            "name one as `model` in the recipe; 'crane-prompt' works without a policy.",
        )
    return model


def _print_policy(card: PolicyCard, *, as_json: bool) -> None:
    """Where the training ended, and the policy by kind of sample on the calibration split."""
    if as_json:
        print_json(card.model_dump(mode="json") | {"id": card.id})
        return
    typer.echo(
        f"policy {card.id} ({card.stage}) for {card.model}: {card.data['num_samples']} samples, {card.wall_s:g} s"
    )
    rows = [
        {"kind": score.kind, "n": score.n, "reward": round(score.reward, 3)}
        | {name: round(value, 3) for name, value in score.terms.items()}
        for score in card.measured
    ]
    print_records(rows, as_json=False)


def _recipe_file(name_or_path: str) -> Path:
    folder = Path(str(resources.files("reground") / "recipes" / "train"))
    known = {file.stem: file for file in folder.glob("*.yaml")}
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise UnknownNameError("recipe", name_or_path, [*known, "path/to/recipe.yaml"])
    return path
