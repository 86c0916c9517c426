"""Recipes for published models are planned here, without a network, and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import med_record, write_json
from reground.runner.plan import check_capabilities, load_workload, make_plan
from reground.runner.recipe import load_recipe, recipe_names

MULTIMEDBENCH = sorted(name for name in recipe_names() if name.startswith("multimedbench-"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    from PIL import Image

    record = med_record()
    for name in (*record["images"], record["m_loc_img"]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
    return tmp_path / "images"


@pytest.mark.parametrize("name", MULTIMEDBENCH)
def test_the_paper_s_models_are_planned_on_its_layout(name: str, tmp_path: Path, images: Path) -> None:
    records = write_json(tmp_path / "filtered_data.json", [med_record()])
    recipe = load_recipe(name, [f"benchmark.name='multimedbench:{records}'", f"benchmark.image_root='{images}'"])
    check_capabilities(recipe)
    plan = make_plan(recipe, load_workload(recipe))
    assert plan.num_edits == 1
    assert {method.method for method in plan.methods} == {"none", "prompt", "ft-chain", "lora", "grace", "wise"}
    assert plan.num_generations == plan.num_reference_generations + 6 * plan.num_probes


def test_a_thinking_model_is_planned_with_cards_and_room_to_think() -> None:
    recipe = load_recipe("reasonedit-qwen3-vl", ["benchmark.limit=5"])
    check_capabilities(recipe)
    plan = make_plan(recipe, load_workload(recipe))
    assert "crane-prompt" in {method.method for method in plan.methods}
    assert plan.max_new_tokens == 4096


def test_there_is_a_recipe_for_each_of_the_paper_s_models() -> None:
    models = {load_recipe(name).model.split("?")[0] for name in MULTIMEDBENCH}
    assert len(models) == len(MULTIMEDBENCH) == 3


@pytest.mark.parametrize("name", [*MULTIMEDBENCH, "reasonedit-qwen3-vl"])
def test_a_recipe_says_what_it_will_cost_and_that_this_is_an_estimate(name: str) -> None:
    text = (Path(__file__).parents[2] / "src/reground/recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "Estimate, not measured" in text and "GPU hours" in text
