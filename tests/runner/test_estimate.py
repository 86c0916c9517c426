"""Estimates: measured quotients times counted numbers, and nothing where nothing was measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scripted_world
from scripted_world import SEEN

from reground.edits.records import Failure, Row, Timings
from reground.errors import RunDirectoryError
from reground.models.base import Output, Query
from reground.models.hf.adapter import HfModel
from reground.models.registry import MODELS, ModelEntry
from reground.runner.estimate import FILTER, Estimate, UnitEstimate, estimate_run, unmeasured
from reground.runner.grid import load_grid, start_grid
from reground.runner.journal import read_rows
from reground.runner.measurements import Measurements, StepCost, costs_of, read_measurements
from reground.runner.plan import load_workload, make_plan
from reground.runner.recipe import Recipe
from reground.runner.run import start_run
from reground.runner.schedules import REFERENCE
from reground.runner.trial import measure_missing, try_out

LIFELONG = {"name": "lifelong", "checkpoints": [1, 2], "sample": 2, "orders": 2}
SEQUENTIAL = {"name": "sequential", "gap": 1, "orders": 2}


def recipe(world: Path, **changes: Any) -> Recipe:
    value = {
        "name": "small",
        "model": "scripted:editable",
        "benchmark": str(world),
        "methods": {"overwrite": {}, "tell": {}},
        "protocol": {"belief_samples": 4, "bootstrap_resamples": 0},
    }
    return Recipe.model_validate(value | changes)


def measured(chosen: Recipe, **changes: Any) -> Measurements:
    """Edits of 2 and 4 s, outputs of 1 and 3 s, for each method; outputs of 0.5 s of the unedited model."""
    costs = (StepCost(1, 2.0, 4, 4.0, 100), StepCost(1, 4.0, 4, 12.0, 300))
    steps = {REFERENCE: (StepCost(0, None, 8, 4.0, None),), **dict.fromkeys(chosen.methods, costs)}
    found = Measurements("runs/a", chosen, "world", "a machine", steps, weights_bytes=1000)
    return replace(found, **changes)


def by_name(estimate: Estimate) -> dict[str, UnitEstimate]:
    return {unit.unit: unit for unit in estimate.units}


def test_nothing_measured_is_unknown_with_a_reason(world: Path) -> None:
    chosen = recipe(world)
    estimate = estimate_run(chosen, load_workload(chosen), [])
    assert estimate.seconds is None and estimate.memory_bytes is None and estimate.used == ()
    assert estimate.num_unknown == estimate.num_unknown_memory == len(estimate.units) == 3
    assert all("--measure" in (unit.seconds_reason or "") for unit in estimate.units)
    assert unmeasured(chosen, []) == [REFERENCE, "overwrite", "tell"]


def test_seconds_are_those_of_an_edit_and_an_output_times_their_numbers(world: Path) -> None:
    chosen = recipe(world)
    estimate = estimate_run(chosen, load_workload(chosen), [measured(chosen)])
    unit = by_name(estimate)["overwrite"]
    assert (unit.num_applied, unit.num_outputs) == (3, 12)
    assert unit.seconds is not None
    assert unit.seconds.value == pytest.approx(3 * 3.0 + 12 * 2.0)
    assert unit.seconds.low == pytest.approx(3 * 2.0 + 12 * 1.0)
    assert unit.seconds.high == pytest.approx(3 * 4.0 + 12 * 3.0)
    assert unit.memory_bytes == 1000 + 300
    reference = by_name(estimate)[REFERENCE]
    assert reference.num_outputs == 7 + 3 * 4
    assert reference.seconds is not None and reference.seconds.value == pytest.approx(0.5 * 19)
    assert reference.memory_bytes == 1000
    assert estimate.seconds is not None
    assert estimate.seconds.value == pytest.approx(sum(one.seconds.value for one in estimate.units if one.seconds))
    assert estimate.memory_bytes == 1300


@pytest.mark.parametrize("schedule", ["single", LIFELONG, SEQUENTIAL])
def test_units_add_up_to_the_plan(world: Path, schedule: Any) -> None:
    chosen = recipe(world, schedule=schedule, methods=["none", "tell", "overwrite"])
    workload = load_workload(chosen)
    plan, estimate = make_plan(chosen, workload), estimate_run(chosen, workload, [])
    assert sum(unit.num_outputs for unit in estimate.units) == plan.num_generations
    for method in plan.methods:
        units = [unit for unit in estimate.units if unit.method == method.method]
        assert sum(unit.num_applied for unit in units) == method.num_applied
        assert sum(unit.num_steps for unit in units) == method.num_steps


def test_a_filter_is_counted_and_is_no_unit(world: Path) -> None:
    chosen = recipe(world, benchmark={"name": str(world), "limit": 1, "zero_shot_filter": True})
    workload = load_workload(chosen)
    estimate = estimate_run(chosen, workload, [measured(chosen)])
    assert [unit.unit for unit in estimate.units] == [FILTER, REFERENCE, "overwrite", "tell"]
    assert estimate.num_units == 3
    first = estimate.units[0]
    assert first.num_outputs == 3
    assert first.seconds is not None and first.seconds.value == pytest.approx(1.5)
    assert sum(unit.num_outputs for unit in estimate.units) == make_plan(chosen, workload).num_generations


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "scripted:demo"}, "its model is scripted:demo"),
        ({"schedule": SEQUENTIAL}, "its schedule is sequential"),
        ({"protocol": {"max_new_tokens": 7}}, "its max_new_tokens is 7"),
        ({"protocol": {"chain_tokens": 16}}, "its chain_tokens is 16"),
        ({"methods": {"overwrite": {"sleep_s": 1.0}}}, "no step of this method with these settings"),
    ],
)
def test_other_measurements_are_not_used_and_the_reason_is_given(
    world: Path, changes: dict[str, Any], says: str
) -> None:
    chosen = recipe(world, methods=["overwrite"])
    estimate = estimate_run(chosen, load_workload(chosen), [measured(recipe(world, **changes))])
    unit = by_name(estimate)["overwrite"]
    assert unit.seconds is None
    assert f"runs/a: {says}" in (unit.seconds_reason or "").replace("it has ", "")
    assert unit.used == ()


def test_a_variant_is_known_by_its_settings_and_not_by_its_name(world: Path) -> None:
    chosen = recipe(world, methods={"slow": {"method": "overwrite", "sleep_s": 1.0}, "overwrite": {}})
    there = recipe(world, methods={"overwrite": {"sleep_s": 1.0}})
    estimate = by_name(estimate_run(chosen, load_workload(chosen), [measured(there)]))
    assert estimate["slow"].seconds is not None
    assert estimate["overwrite"].seconds is None


def test_the_same_benchmark_is_preferred(world: Path) -> None:
    chosen = recipe(world, methods=["overwrite"])
    other = measured(chosen, label="runs/b", benchmark="elsewhere", weights_bytes=5)
    estimate = estimate_run(chosen, load_workload(chosen), [other, measured(chosen)])
    assert [used.label for used in estimate.used] == ["runs/a"]
    assert [used.label for used in estimate_run(chosen, load_workload(chosen), [other]).used] == ["runs/b"]


def test_failures_are_the_reason(world: Path) -> None:
    chosen = recipe(world, methods=["overwrite"])
    failed = measured(chosen, steps={}, failures={"overwrite": Failure(stage="apply", message="no room")})
    estimate = by_name(estimate_run(chosen, load_workload(chosen), [failed]))
    assert "its steps failed, first at apply: no room" in (estimate["overwrite"].seconds_reason or "")


def test_memory_that_was_not_measured_is_computed_or_unknown(world: Path) -> None:
    chosen = recipe(world, methods=["overwrite"])
    costs = {"overwrite": (StepCost(1, 1.0, 4, 1.0, None),)}
    workload = load_workload(chosen)
    unknown = by_name(estimate_run(chosen, workload, [measured(chosen, steps=costs)]))["overwrite"]
    assert unknown.seconds is not None
    assert unknown.memory_bytes is None and "neither measured" in (unknown.memory_reason or "")
    computed = measured(chosen, steps=costs, working_bytes={"overwrite": 70})
    assert by_name(estimate_run(chosen, workload, [computed]))["overwrite"].memory_bytes == 1070
    weightless = measured(chosen, weights_bytes=None)
    assert by_name(estimate_run(chosen, workload, [weightless]))["overwrite"].memory_bytes is None


def test_a_run_says_what_its_steps_took(world: Path, tmp_path: Path) -> None:
    chosen = recipe(world, methods={"overwrite": {"fail_at": "generate", "fail_for": "oskaris"}, "tell": {}})
    start_run(chosen, tmp_path / "run")
    (found,) = read_measurements([tmp_path / "run"])
    assert [cost.num_outputs for cost in found.steps["tell"]] == [4, 4, 4]
    assert len(found.steps["overwrite"]) == 2
    assert found.failures["overwrite"].stage == "generate"
    of_step = {row.step: row.timings.generate_s for row in read_rows(tmp_path / "run") if row.method == "tell"}
    assert [cost.output_s for cost in found.steps["tell"]] == [of_step[step] for step in range(3)]
    assert all(cost.edit_s is not None and cost.edit_s >= 0.001 for cost in found.steps["tell"])
    estimate = estimate_run(chosen, load_workload(chosen), [found])
    assert estimate.num_unknown == 0
    assert estimate.used[0].num_outputs == {REFERENCE: 12, "overwrite": 8, "tell": 12}
    assert "cores, device cpu" in found.machine


def test_a_chain_is_measured_by_the_edits_it_put_in_force(world: Path, tmp_path: Path) -> None:
    chosen = recipe(world, schedule=LIFELONG, methods=["tell"])
    start_run(chosen, tmp_path / "run")
    (found,) = read_measurements([tmp_path / "run"])
    (plan,) = make_plan(chosen, load_workload(chosen)).methods
    assert sum(cost.num_applied for cost in found.steps["tell"]) == plan.num_applied
    assert sum(cost.num_outputs for cost in found.steps["tell"]) == plan.num_generations


def test_a_grid_stands_for_its_runs(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nmodel: scripted:editable\nbenchmark: {world}\nmethods: [tell]\nseeds: [0, 1]\n"
        "protocol: {belief_samples: 1, bootstrap_resamples: 0}\n"
    )
    start_grid(load_grid(str(path)), tmp_path / "grid")
    found = read_measurements([tmp_path / "grid"])
    assert [run.recipe.seed for run in found] == [0, 1]


def test_a_directory_without_steps_is_refused(world: Path, tmp_path: Path) -> None:
    start_run(recipe(world), tmp_path / "run")
    for name in ("rows.jsonl", "steps.jsonl", "beliefs.jsonl"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(RunDirectoryError, match="no step that is done"):
        read_measurements([tmp_path / "run"])
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        read_measurements([tmp_path])


def test_a_step_counts_once_however_many_rows_it_has() -> None:
    fields: dict[str, Any] = {"run": "r", "method": "m", "model": "x", "benchmark": "b", "schedule": "single"}
    fields |= {"step": 0, "checkpoint": 1, "edit_id": "e", "phase": "after", "seed": 0, "dtype": "d", "device": "cpu"}
    timings = Timings(apply_s=1.0, generate_s=2.0, restore_s=0.5)
    rows = [Row(**fields, probe_id=f"p{n}", timings=timings, peak_bytes=7, versions={}) for n in range(3)]
    steps, failures = costs_of(rows)
    assert steps == {"m": (StepCost(1, 1.5, 3, 2.0, 7),)} and failures == {}


class SlowModel(scripted_world.SpiedModel):
    def generate(self, queries: Sequence[Query], **settings: Any) -> list[list[Output]]:
        time.sleep(0.002 * len(queries) * settings.get("num_samples", 1))
        return super().generate(queries, **settings)


def load_slow(spec: str, dtype: str | None = None, device: str | None = None) -> SlowModel:
    return SlowModel(scripted_world.make_facts(), name=spec, capabilities=scripted_world.CAPABILITIES)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> str:
    entry = ModelEntry("reground_slow:load", scripted_world.CAPABILITIES, "Takes its time.", has_weights=False)
    monkeypatch.setitem(MODELS, "scripted:slow", entry)
    return "scripted:slow"


@pytest.mark.parametrize("schedule", ["single", LIFELONG, SEQUENTIAL])
def test_a_trial_does_two_edits_and_leaves_nothing(
    world: Path, tmp_path: Path, slow: str, schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    chosen = recipe(world, model=slow, schedule=schedule, methods=["tell"])
    workload = load_workload(chosen)
    (found,) = measure_missing([(chosen, workload)], [], load=lambda: load_slow(slow))
    assert sorted(tmp_path.rglob("*")) == before
    told = {edit.subject for kind, edits in SEEN if kind == "tell" for edit in edits}
    assert len(told) == 2
    assert found.trial_s is not None and found.trial_s > 0
    estimate = estimate_run(chosen, workload, [found])
    assert estimate.num_unknown == 0
    reference, tell = (next(one for one in estimate.units if one.method == name) for name in (REFERENCE, "tell"))
    assert reference.seconds is not None and reference.seconds.value >= 0.002 * reference.num_outputs
    assert tell.seconds is not None and tell.seconds.value >= 0.002 * tell.num_outputs


def test_a_trial_asks_again_what_is_kept_from_earlier_runs(world: Path, tmp_path: Path, slow: str) -> None:
    """Two kept answers would have made a whole unit cost nothing."""
    chosen = recipe(world, model=slow, methods=["tell"])
    start_run(chosen, tmp_path / "run", load=lambda: load_slow(slow))
    found = try_out(chosen, load_workload(chosen), [REFERENCE], load=lambda: load_slow(slow))
    (cost,) = found.steps[REFERENCE]
    assert cost.output_s is not None and cost.output_s >= 0.002 * cost.num_outputs
    assert "tell" not in found.steps


def test_seeds_share_a_trial_and_what_is_known_is_not_tried(world: Path, slow: str) -> None:
    runs = [(one, load_workload(one)) for one in (recipe(world, model=slow, seed=seed) for seed in (0, 1))]
    assert len(measure_missing(runs, [], load=lambda: load_slow(slow))) == 1
    assert measure_missing(runs, [measured(runs[0][0])], load=lambda: load_slow(slow)) == []
    partly = measured(recipe(world, model=slow, methods=["tell"]))
    (found,) = measure_missing(runs[:1], [partly], load=lambda: load_slow(slow))
    assert set(found.steps) == {"overwrite"}


def test_a_trial_times_applying(world: Path) -> None:
    chosen = recipe(world, methods={"overwrite": {"sleep_s": 0.03}, "tell": {}})
    found = try_out(chosen, load_workload(chosen), list(chosen.methods))
    slow, quick = (sum(cost.output_s or 0.0 for cost in found.steps[name]) for name in ("overwrite", "tell"))
    assert slow > quick + 0.05  # the stand-in does not time its own edits, the trial does


@pytest.mark.parametrize("schedule", ["single", LIFELONG, SEQUENTIAL])
def test_what_a_method_does_once_is_counted_once(world: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was spread over the outputs of two edits, and multiplied by all outputs of the run."""
    started: list[object] = []
    apply = scripted_world.TellEditor.apply

    def apply_slowly(self: Any, *arguments: Any, **settings: Any) -> Any:
        if self not in started:
            started.append(self)
            time.sleep(0.3)
        return apply(self, *arguments, **settings)

    monkeypatch.setattr(scripted_world.TellEditor, "apply", apply_slowly)
    chosen = recipe(world, methods=["tell"], schedule=schedule)
    workload = load_workload(chosen)
    found = try_out(chosen, workload, ["tell"])
    assert 0.2 <= found.start_s["tell"] < 0.6
    assert sum((cost.edit_s or 0) + (cost.output_s or 0) for cost in found.steps["tell"]) < 0.2
    assert found.trial_s is not None and found.trial_s > 0.3
    units = [unit for unit in estimate_run(chosen, workload, [found]).units if unit.method == "tell"]
    first, *rest = [unit.seconds for unit in units]
    assert first is not None and first.low >= 0.2
    assert all(one is not None and one.value < 0.2 for one in rest)


def test_a_trial_of_weights_has_their_bytes_and_what_an_edit_needs(world: Path, tiny_model: HfModel) -> None:
    chosen = recipe(world, model=f"hf:{tiny_model.info.name}", methods={"ft": {"num_steps": 1}, "prompt": {}})
    chosen = chosen.model_copy(update={"protocol": chosen.protocol.model_copy(update={"max_new_tokens": 2})})
    found = try_out(chosen, load_workload(chosen), [REFERENCE, "ft", "prompt"], load=lambda: tiny_model)
    assert found.weights_bytes == 4 * (tiny_model.info.num_parameters or 0)
    assert found.working_bytes["ft"] > 0 and found.working_bytes["prompt"] == 0
    estimate = by_name(estimate_run(chosen, load_workload(chosen), [found]))
    assert estimate["ft"].memory_bytes is not None
    assert estimate["ft"].memory_bytes >= found.weights_bytes + found.working_bytes["ft"]
    assert estimate[REFERENCE].memory_bytes == found.weights_bytes
