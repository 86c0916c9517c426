"""A few edits with their probes, for trainings that take seconds on a tiny model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reground.edits.records import Edit, Expectation, ImageRef, Probe
from reground.methods.artifact import Artifact, FitData, FitSample, TrainedConfig
from reground.methods.registry import create_config, create_fit_config, fit_entry
from reground.training.policy_card import ADAPTER_FILE, PolicyCard, file_digest

QUICK_FIT: dict[str, dict[str, Any]] = {
    "mend": {
        "num_steps": 4,
        "validate_every": 2,
        "batch_size": 2,
        "max_new_tokens": 6,
        "layers": [-1],
        "rank": 8,
        "step_size": 1e-2,
    },
    "liveedit": {
        "num_steps": 30,
        "validate_every": 10,
        "batch_size": 2,
        "learning_rate": 2e-2,
        "layer": 0,
        "max_new_tokens": 6,
        "num_heads": 2,
        "width": 16,
        "num_queries": 2,
        "num_sentinel": 2,
    },
    "serac": {
        "num_steps": 30,
        "validate_every": 10,
        "batch_size": 2,
        "learning_rate": 2e-2,
        "scope_layer": -1,
        "num_heads": 2,
        "width": 16,
        "rank": 2,
    },
}


def probes_of(edit: Edit, other_image: str) -> tuple[Probe, ...]:
    """The exact question, a rewording, and two questions the edit must leave alone."""
    new = Expectation(kind="answer", answer=edit.new_answer)
    same = Expectation(kind="unchanged")
    shared: dict[str, Any] = {"edit_id": edit.id}
    return (
        Probe(kind="reliability", level="exact", question=edit.question, image=edit.image, expectation=new, **shared),
        Probe(
            kind="generality",
            level="text_rephrase",
            question=f"say: {edit.question}",
            image=edit.image,
            expectation=new,
            **shared,
        ),
        Probe(
            kind="text_locality",
            level="other_subject",
            distance="near",
            question="which drug comes first?",
            expectation=same,
            **shared,
        ),
        Probe(
            kind="image_locality",
            level="look_alike",
            distance="near",
            question="what is this?",
            image=ImageRef(frames=(other_image,)),
            expectation=same,
            **shared,
        ),
    )


def fit_data_of(edits: Sequence[Edit], images: Sequence[str]) -> FitData:
    """Training on the given edits, validation on the same ones under other subjects."""
    others = [edit.model_copy(update={"subject": f"another {edit.subject}"}) for edit in edits]
    return FitData(
        benchmark="tiny",
        version="1",
        checksum="0",
        split="train",
        validation_split="calibration",
        scored_splits=("test",),
        training=tuple(FitSample(edit=edit, probes=probes_of(edit, images[3])) for edit in edits),
        validation=tuple(FitSample(edit=edit, probes=probes_of(edit, images[2])) for edit in others),
    )


def needs_artifact(method: str) -> bool:
    """Whether a method learns something before it can edit."""
    return isinstance(create_config(method), TrainedConfig)


def tiny_policy(model: Any, folder: Path, *, seed: int = 0) -> PolicyCard:
    """A policy of random numbers for a tiny model, in the files that a training writes."""
    import torch
    from safetensors.torch import save_file

    from reground.training.policy_model import adapted_paths, base_digest

    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for path in adapted_paths(model):
        layer = model.module.get_submodule(path)
        tensors[f"base_model.model.{path}.lora_A.weight"] = torch.randn(2, layer.in_features, generator=draw)
        tensors[f"base_model.model.{path}.lora_B.weight"] = 0.1 * torch.randn(layer.out_features, 2, generator=draw)
    save_file(tensors, folder / ADAPTER_FILE)
    (folder / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 4}', encoding="utf-8")
    card = PolicyCard(
        stage="sft",
        settings={},
        model=model.info.name,
        base=base_digest(model, adapted_paths(model)),
        adapter=file_digest(folder / ADAPTER_FILE),
        data={"split": "train"},
        subjects=(),
        versions={},
        wall_s=0.0,
        curve=(),
        measured=(),
    )
    card.write(folder)
    return card


def quick_fit(method: str, model: Any, edits: Sequence[Edit], images: Sequence[str], folder: Path) -> Artifact:
    """Train a method for a few steps."""
    module, _, function = fit_entry(method).function.partition(":")
    fit = getattr(importlib.import_module(module), function)
    artifact: Artifact = fit(
        model, fit_data_of(edits, images), create_fit_config(method, QUICK_FIT[method]), folder, method=method
    )
    return artifact
