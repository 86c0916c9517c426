"""Planning: what a run costs and whether it can be done, with nothing loaded."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from reground.benchmarks.files import FilesBenchmark
from reground.edits.files import read_edits, read_probes, write_records
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, ImageError, InputError, RecipeError, UnknownNameError
from reground.runner.journal import read_beliefs
from reground.runner.plan import check_capabilities, load_workload, make_plan
from reground.runner.recipe import Recipe
from reground.runner.run import start_run
from reground.runner.schedules import Lifelong, Sequential
from reground.runner.trial import try_out


def recipe(world: Path, *methods: str, model: str = "scripted:editable", **benchmark: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "model": model,
            "benchmark": {"name": str(world), **benchmark},
            "methods": list(methods),
            "protocol": {"belief_samples": 4, "bootstrap_resamples": 0},
        }
    )


def test_a_plan_counts_what_the_run_then_asks(world: Path, tmp_path: Path) -> None:
    from scripted_world import SEEN

    chosen = recipe(world, "tell", "overwrite")
    plan = make_plan(chosen, load_workload(chosen))
    assert (plan.num_edits, plan.num_probes) == (3, 12)
    assert [(m.num_generations, m.num_scores, m.num_steps) for m in plan.methods] == [(12, 6, 3), (12, 6, 3)]
    assert [m.num_applied for m in plan.methods] == [3, 3]
    start_run(chosen, tmp_path / "run")
    num_asked = sum(len(texts) for kind, texts in SEEN if kind == "generate")
    assert plan.num_generations == num_asked + 3 * 4
    assert plan.max_tokens == plan.num_generations * 96


def test_a_plan_of_chains_counts_what_the_run_then_asks(world: Path, tmp_path: Path) -> None:
    from scripted_world import SEEN

    schedule = {"name": "lifelong", "checkpoints": [1, 2], "sample": 2, "orders": 2}
    chosen = recipe(world, "tell").model_copy(update={"schedule": Lifelong.model_validate(schedule)})
    plan = make_plan(chosen, load_workload(chosen))
    start_run(chosen, tmp_path / "run")
    (method,) = plan.methods
    applied = [len(edits) for kind, edits in SEEN if kind == "tell"]
    assert (method.num_steps, method.num_applied) == (len(applied), sum(applied))
    num_asked = sum(len(texts) for kind, texts in SEEN if kind == "generate")
    assert plan.num_generations == num_asked + 4 * len(read_beliefs(tmp_path / "run"))


class Apart(FilesBenchmark):
    """A benchmark that vouches for its edits."""

    def keeps_apart(self) -> bool:
        return True


def test_what_edits_in_force_decide_is_read_though_nothing_is_asked_about_them(world: Path, tmp_path: Path) -> None:
    """A near probe asks what another edit, which no sample holds, has changed: it is not unchanged, nor should be."""
    schedule = Lifelong(checkpoints=(1,), sample=1, orders=1)
    chosen = recipe(world, "tell").model_copy(update={"schedule": schedule})
    workload = load_workload(chosen)
    assert set(workload.probes) == {edit.id for edit in workload.edits}
    summary = start_run(chosen, tmp_path / "run").summary
    score = summary.find("independence_text", level="near", method="tell", checkpoint=3)
    assert score is not None and score.value is None
    assert "another edit in force decides the answer" in score.unscored_reasons


def test_of_edits_that_are_kept_apart_no_probes_are_written_but_those_that_are_put(world: Path, tmp_path: Path) -> None:
    schedule = Lifelong(checkpoints=(1,), sample=1, orders=1)
    chosen = recipe(world, "tell").model_copy(update={"schedule": schedule})
    workload = load_workload(chosen, Apart(world))
    (asked,) = workload.probes
    assert len(workload.edits) == 3 and {probe.edit_id for probe in workload.held} == {asked}
    assert make_plan(chosen, workload).num_probes == len(workload.held) == 4
    start_run(chosen, tmp_path / "run", benchmark=Apart(world))
    assert tuple(read_probes(tmp_path / "run" / "probes.jsonl")) == workload.held
    measured = try_out(chosen, workload, ["tell"], num_edits=2)
    assert measured.steps["tell"], "a trial takes edits whose probes are there"


def test_a_schedule_that_asks_about_no_edit_is_refused(world: Path) -> None:
    chosen = recipe(world, "tell").model_copy(update={"schedule": Sequential(gap=3, orders=1)})
    with pytest.raises(InputError, match="asks about none of its 3 edits"):
        load_workload(chosen)


def test_a_limit_takes_a_sample_that_depends_on_the_seed_alone(world: Path) -> None:
    first = load_workload(recipe(world, "none", limit=2, seed=1))
    assert len(first.edits) == 2
    assert first.edits == load_workload(recipe(world, "none", limit=2, seed=1)).edits
    samples = {load_workload(recipe(world, "none", limit=2, seed=seed)).edits for seed in range(8)}
    assert len(samples) > 1


def test_an_unknown_split_is_refused(world: Path) -> None:
    with pytest.raises(InputError, match="'dev'"):
        load_workload(recipe(world, "none", split="dev"))


def test_missing_capabilities_name_the_methods_that_work(world: Path) -> None:
    with pytest.raises(CapabilityError) as caught:
        check_capabilities(recipe(world, "ft", model="scripted:demo"))
    assert "weights" in caught.value.tried
    assert {"none", "prompt", "tell"} <= set(caught.value.accepted.split(": ")[1].split(", "))
    assert "lora" not in caught.value.accepted


def test_unknown_names_and_settings_are_refused(world: Path) -> None:
    with pytest.raises(UnknownNameError, match="lora"):
        check_capabilities(recipe(world, "loar"))
    wrong = recipe(world, "none").model_copy(update={"methods": {"overwrite": {"fail": 1}}})
    with pytest.raises(RecipeError, match="fail"):
        check_capabilities(wrong)


def test_a_variant_does_not_go_by_the_name_of_another_method(world: Path) -> None:
    wrong = recipe(world, "none").model_copy(update={"methods": {"none": {"method": "tell"}}})
    with pytest.raises(RecipeError, match=r"'tell' was called 'none'") as caught:
        check_capabilities(wrong)
    assert "'tell-2'" in caught.value.next_step


def test_images_are_opened_before_anything_is_loaded(world: Path) -> None:
    (first, *_) = read_edits(world / "edits.jsonl")
    probes = read_probes(world / "probes.jsonl")
    probes = tuple(
        probe.model_copy(update={"image": ImageRef(frames=("a.png",))}) if i == 0 else probe
        for i, probe in enumerate(probes)
    )
    assert probes[0].edit_id == first.id
    write_records(world / "probes.jsonl", probes)
    with pytest.raises(ImageError, match=r"a\.png"):
        load_workload(recipe(world, "none"))
    Image.new("RGB", (4, 4)).save(world / "a.png")
    assert load_workload(recipe(world, "none")).edits


def test_a_number_format_without_weights_is_found_while_planning(world: Path) -> None:
    for key in ("dtype", "device"):
        chosen = recipe(world, "none", model="scripted:demo").model_copy(update={key: "float16"})
        with pytest.raises(InputError, match=f"{key}='float16'"):
            check_capabilities(chosen)


def test_an_address_that_cannot_be_rendered_is_found_in_a_folder(world: Path) -> None:
    """Such a run began, and failed at every step that showed the image."""
    first, *others = read_probes(world / "probes.jsonl")
    unknown = first.model_copy(update={"image": ImageRef(frames=("phantom:finding?organ=none",))})
    write_records(world / "probes.jsonl", [unknown, *others])
    with pytest.raises(ImageError, match="cannot render"):
        load_workload(recipe(world, "none"))


def test_garbage_is_not_searched_for_while_planning_and_is_again_afterwards(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def watched(refs: Sequence[ImageRef], **settings: object) -> list[ImageError]:
        seen.append(gc.isenabled())
        return []

    monkeypatch.setattr("reground.runner.plan.find_image_defects", watched)
    load_workload(recipe(world, "none"))
    with pytest.raises(InputError):
        load_workload(recipe(world, "none", split="dev"))
    assert seen == [False] and gc.isenabled()
    gc.disable()
    try:
        load_workload(recipe(world, "none"))
        assert not gc.isenabled()
    finally:
        gc.enable()
