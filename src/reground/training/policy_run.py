"""What both trainings of a policy do around trl's loop: settings, checkpoints, curves, and the finished folder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import reground
from reground.edits.files import write_atomically
from reground.errors import MissingExtraError, RunDirectoryError
from reground.models.hf.adapter import HfModel
from reground.phantom.world import phantom_world
from reground.training.policy_card import ADAPTER_FILE, CARD_FILE, PolicyCard, PolicyStage, file_digest
from reground.training.policy_measure import measure_policy
from reground.training.policy_settings import PolicyRecipe
from reground.training.rewards import RewardWeights

__all__ = ["CURVE_FILE", "finished", "require_trl", "resume_from", "trainer_settings", "write_policy"]

CURVE_FILE = "curve.jsonl"
_RECIPE_FILE = "recipe.json"


def require_trl() -> Any:
    """The package trl.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        importlib.import_module("datasets")
        return importlib.import_module("trl")
    except ImportError as error:
        raise MissingExtraError("trl", "train", "training a policy") from error


def finished(folder: Path, recipe: PolicyRecipe) -> PolicyCard | None:
    """The card of a training by this recipe that is done; None if it is to be begun or gone on with.

    Raises:
        RunDirectoryError: The folder holds a training by another recipe, or something else.
    """
    path, said = folder / _RECIPE_FILE, recipe.model_dump(mode="json")
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != said:
            raise RunDirectoryError(
                f"cannot go on with the training in {str(folder)!r}: it was begun by another recipe.",
                "the recipe it was begun by, setting for setting",
                "restore the recipe, or train into another directory with --out.",
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise RunDirectoryError(
            f"cannot train into {str(folder)!r}: it holds something else.",
            "a new or empty directory, or that of a training to go on with",
            "give another directory with --out.",
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(said, indent=1) + "\n")
    return PolicyCard.read(folder) if (folder / CARD_FILE).is_file() else None


def trainer_settings(recipe: PolicyRecipe, model: HfModel, folder: Path) -> dict[str, Any]:
    """Settings that trl's two trainers share."""
    return {
        "output_dir": str(folder),
        "max_steps": recipe.num_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup_share * recipe.num_steps),
        "max_grad_norm": recipe.gradient_limit,
        "weight_decay": 0.0,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "save_steps": recipe.save_every,
        "save_total_limit": 1,
        "logging_steps": recipe.log_every,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        _checkpointing_name(): False,
        "use_cpu": model.device.type == "cpu",
        "bf16": False,
    }


def _checkpointing_name() -> str:
    """The setting that trades time for memory, as this release of transformers calls it."""
    from transformers import TrainingArguments

    names = {field.name for field in fields(TrainingArguments)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"


def resume_from(folder: Path) -> str | None:
    """The latest checkpoint in a folder; None if there is none."""
    found = {int(path.name.removeprefix("checkpoint-")): path for path in folder.glob("checkpoint-*")}
    whole = [step for step, path in found.items() if (path / "trainer_state.json").is_file()]
    return str(found[max(whole)]) if whole else None


def write_policy(
    folder: Path,
    recipe: PolicyRecipe,
    stage: PolicyStage,
    model: HfModel,
    trainer: Any,
    *,
    base: str,
    num_samples: int,
    wall_s: float,
    started_from: PolicyCard | None = None,
    weights: RewardWeights | None = None,
) -> PolicyCard:
    """Write adapter and curve, measure the policy, and write its card last: with it the training is done.

    Args:
        folder: Where to.
        recipe, stage: How it was trained.
        model: The model, the adapter in its module.
        trainer: trl's trainer after its last step.
        base: See ``base_digest``, from before the training.
        num_samples: Samples it has seen.
        wall_s: Seconds of this session.
        started_from: The policy it went on from.
        weights: Of the reward's terms, for the measurement.
    """
    trainer.model.peft_config["default"].base_model_name_or_path = model.info.name  # and not where it lay here
    trainer.model.save_pretrained(folder, selected_adapters=["default"])
    curve = [_numbers(entry) for entry in trainer.state.log_history]
    write_atomically(folder / CURVE_FILE, "".join(json.dumps(point) + "\n" for point in curve))
    model.module.eval()
    card = PolicyCard(
        stage=stage,
        settings=recipe.model_dump(mode="json"),
        model=model.info.name,
        base=base,
        adapter=file_digest(folder / ADAPTER_FILE),
        started_from=None if started_from is None else started_from.id,
        earlier_s=0.0 if started_from is None else started_from.fit_s,
        data={
            "generator": "reground.training.phantom.policy_samples",
            "split": "train",
            "seed": recipe.seed,
            "num_samples": num_samples,
            "kinds": dict(recipe.kinds),
        },
        subjects=tuple(sorted((*_subjects("finding"), *_subjects("device")))),
        versions={
            "reground": reground.__version__,
            **{name: version(name) for name in ("torch", "transformers", "peft", "trl")},
        },
        wall_s=round(wall_s, 1),
        curve=tuple(curve),
        measured=measure_policy(model, recipe.num_measured, weights),
    )
    card.write(folder)
    return card


def _subjects(kind: str) -> tuple[str, ...]:
    return phantom_world().subjects(kind, "train")  # type: ignore[arg-type]


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}
