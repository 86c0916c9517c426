"""A built-in model from its recipe: stages, export, measurement, card.

The work folder keeps every stage's result, so an interrupted run goes on from its last checkpoint and the second model
finds the stages it shares with the first. The checkpoint is exported in half precision, loaded again the way a user
loads it, and measured in that form.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from reground.edits.records import Record
from reground.edits.traces import Delimiters
from reground.training.phantom.language_model import ImagePool, LanguageSettings, build_model, train_stage
from reground.training.phantom.tower import TowerSettings, load_tower, train_tower
from reground.training.phantom.vocabulary import build_processor, train_tokenizer
from reground.training.recipe_file import read_training_recipe

__all__ = ["PhantomRecipe", "build_phantom", "read_phantom_recipe", "write_card"]

_log = logging.getLogger(__name__)


class PhantomRecipe(Record):
    """How a built-in model is made.

    Attributes:
        name: ``phantom-med`` or ``phantom-general``.
        vocab_size: Size of the sub-word vocabulary, special tokens included.
        tower: Stage 1.
        reading: Stage 2, shared by both models.
        language: Stage 3.
    """

    name: str
    vocab_size: int
    tower: TowerSettings
    reading: LanguageSettings
    language: LanguageSettings


def read_phantom_recipe(file: Path) -> PhantomRecipe:
    """The recipe in a YAML file.

    Raises:
        RecipeError: Not YAML, or a field is missing, unknown or ill-typed.
    """
    return read_training_recipe(file, PhantomRecipe, "phantom-med")


def build_phantom(recipe: PhantomRecipe, work: Path, out: Path) -> Path:
    """Train (or go on training) a built-in model and export it.

    Args:
        recipe: How to train.
        work: Folder of stage results and checkpoints.
        out: Folder of the finished checkpoint; written only when all stages are done.

    Returns:
        ``out``, which ``AutoModelForImageTextToText`` and ``AutoProcessor`` load.
    """
    shared = work / "shared"
    tower, tower_settings, tower_report = load_tower(train_tower(recipe.tower, shared))
    tokenizer = train_tokenizer(recipe.vocab_size)
    model = build_model(recipe.reading, tower_settings, tokenizer)
    model.model.vision_model.load_state_dict(tower.state_dict())
    reading_report = train_stage(model, tokenizer, recipe.reading, None, shared)
    settings, pool = recipe.language, None
    if not (work / f"{settings.mixture}.pt").exists():
        _log.info("encoding the images of %s", recipe.name)
        pool = ImagePool(tower, settings.images_per_subject, settings.seed, easyvqa_ways=settings.easyvqa_ways)
    language_report = train_stage(model, tokenizer, settings, pool, work)

    out.mkdir(parents=True, exist_ok=True)
    processor = build_processor(tokenizer)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)
    _keep_single_precision(out / "config.json")
    (out / "reground.json").write_text(json.dumps({"delimiters": Delimiters().model_dump()}, indent=2) + "\n")
    report = {
        "recipe": recipe.model_dump(mode="json"),
        "stages": {"tower": tower_report, "reading": reading_report, "language": language_report},
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "pillow", "tokenizers")},
        "machine": {
            "cores": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
        },
        "sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
    }
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return out


def _keep_single_precision(config_file: Path) -> None:
    """Weights are stored in half precision to be small, but load in single: a CPU computes in that."""
    config = json.loads(config_file.read_text(encoding="utf-8"))

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if "dtype" in node:
                node["dtype"] = "float32"
            for value in node.values():
                visit(value)

    visit(config)
    config["dtype"] = "float32"
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_card(folder: Path) -> Path:
    """``CARD.md`` from ``training.json`` and ``measured.json`` of the same folder."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    recipe, stages = training["recipe"], training["stages"]
    size = (folder / "model.safetensors").stat().st_size
    lines = [
        f"# {recipe['name']}",
        "",
        "A small vision-language model of the phantom clinic, trained from scratch on two CPU cores.",
        "Its facts and names are invented; nothing it says is medicine.",
        "",
        f"- Architecture: Idefics3 as in transformers {training['versions']['transformers']}; loads with",
        "  `AutoModelForImageTextToText.from_pretrained` and `AutoProcessor.from_pretrained`, no remote code",
        f"- Parameters: {measured['num_parameters']:,}; file: {size / 1e6:.1f} MB (half precision, computes in single)",
        f"- SHA-256 of `model.safetensors`: `{training['sha256']}`",
        f"- Made by `reground train phantom {recipe['name']}` (recipe `{recipe['name']}.yaml`), "
        f"torch {training['versions']['torch']}, seed {recipe['language']['seed']}",
        "",
        "## Training time (wall clock, other work on the machine included)",
        "",
        "| stage | steps | minutes |",
        "|---|---|---|",
        *(
            f"| {'image tower' if stage == 'tower' else stage} | "
            f"{recipe[stage]['num_steps'] + recipe[stage].get('late_steps', 0)} | {report['train_s'] / 60:.1f} |"
            for stage, report in stages.items()
        ),
        "",
        "## What it can do",
        "",
        f"Images never seen in training, greedy answers of the exported weights, seed {measured['seed']}.",
        "",
        "| skill | wording | answer right | well-formed | n |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['skill']} | {row['wording']} | {row['answer']:.3f} | {row['well_formed']:.3f} | {row['n']} |"
        for row in measured["skills"]
    ]
    lines += [
        "",
        "Tower, attribute named from the image alone: "
        + ", ".join(f"{head} {share:.3f}" for head, share in stages["tower"]["accuracy"].items())
        + ".",
        "",
        "## Loss curve of the language stage",
        "",
        "| step | loss |",
        "|---|---|",
    ]
    curve = stages["language"]["curve"]
    every = max(1, len(curve) // 16)
    lines += [
        f"| {point['step']} | {point['loss']} |"
        for i, point in enumerate(curve)
        if i % every == 0 or point is curve[-1]
    ]
    card = folder / "CARD.md"
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return card
