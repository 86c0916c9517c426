"""However many probes an edit has, before and after, each distinct picture passes the vision tower once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe
from reground.models.hf.adapter import HfModel
from reground.runner.plan import load_workload
from reground.runner.recipe import Recipe
from reground.runner.run import EDITS_FILE, PROBES_FILE, start_run
from reground.runner.schedules import REFERENCE
from reground.runner.trial import try_out

NUM_IMAGES = 3


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """One visual edit with nine probes about three pictures, one of them under two names."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(NUM_IMAGES):
        Image.fromarray(random.integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    edit = Edit(
        subject="ring in the kidney",
        relation="condition",
        modality="visual",
        question="which condition does this image show?",
        image=ImageRef(frames=("0.png",)),
        new_answer=Answer(text="drantic fever"),
        prior_answer=Answer(text="velmora syndrome"),
        statement="a ring in the kidney means drantic fever.",
    )
    new, same = Expectation(kind="answer", answer=edit.new_answer), Expectation(kind="unchanged")
    asked: list[tuple[Any, str, str, Expectation]] = [
        ("reliability", "exact", "0.png", new),
        ("generality", "text_rephrase", "0.png", new),
        ("generality", "image_rephrase", "copy.png", new),
        ("generality", "both", "1.png", new),
        ("portability", "hop1", "1.png", new),
        ("image_locality", "look_alike", "2.png", same),
        ("image_locality", "other_question", "0.png", same),
        ("image_locality", "shapes", "2.png", same),
        ("text_locality", "general_knowledge", "", same),
    ]
    probes = [
        Probe(
            edit_id=edit.id,
            kind=kind,
            level=level,
            question=edit.question if level == "exact" else f"what is it? ({number})",
            image=ImageRef(frames=(image,)) if image else None,
            expectation=expectation,
            intermediates=(edit.new_answer,) if kind == "portability" else (),
            distance="near" if kind.endswith("locality") else None,
        )
        for number, (kind, level, image, expectation) in enumerate(asked)
    ]
    write_records(folder / EDITS_FILE, [edit])
    write_records(folder / PROBES_FILE, probes)
    return folder


@pytest.mark.parametrize("method", ["ft", "grace", "prompt"])
def test_each_picture_passes_the_tower_once_while_an_edit_is_probed(
    method: str, benchmark: Path, family_copy: Callable[[str], HfModel], tmp_path: Path
) -> None:
    model = family_copy("qwen2_vl")
    passes: list[Any] = []
    tower = model.module.get_submodule(model.family.vision[0])
    tower.register_forward_hook(lambda *_: passes.append(None))
    recipe = Recipe.model_validate(
        {
            "name": "tower",
            "model": "hf:tiny/qwen2-vl",
            "benchmark": str(benchmark),
            "methods": {method: {} if method == "prompt" else {"num_steps": 2}},
            "protocol": {"max_new_tokens": 4, "belief_samples": 2, "bootstrap_resamples": 0},
        }
    )
    result = start_run(recipe, tmp_path / "run", load=lambda: model)
    assert result.num_failed_steps == 0
    assert len(passes) == NUM_IMAGES


def test_a_trial_leaves_alone_what_is_kept_of_images(
    benchmark: Path, tiny_folders: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that nothing was written, filled the store, and the next trial missed the tower's time."""
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "empty"))
    recipe = Recipe.model_validate(
        {
            "name": "tower",
            "model": f"hf:{tiny_folders['qwen2_vl']}",
            "benchmark": str(benchmark),
            "methods": ["prompt"],
            "protocol": {"max_new_tokens": 2, "belief_samples": 1, "bootstrap_resamples": 0},
        }
    )
    found = try_out(recipe, load_workload(recipe), [REFERENCE, "prompt"])
    assert found.steps.keys() == {REFERENCE, "prompt"}
    assert not (tmp_path / "empty").exists()
