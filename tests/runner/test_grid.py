"""Grids: which runs a recipe stands for, and that each is what it would have been alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from scripted_world import OF_THE_MOMENT, SEEN, write_benchmark

from reground.errors import InputError, RecipeError, RunDirectoryError
from reground.evaluation.results import read_summary
from reground.models.registry import MODELS
from reground.runner.executors.local import LocalExecutor
from reground.runner.grid import is_grid_folder, load_grid, read_grid, resume_grid, start_grid
from reground.runner.journal import read_rows
from reground.runner.recipe import load_recipe
from reground.runner.run import start_run


@pytest.fixture
def path(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(MODELS, "scripted:editable-b", MODELS["scripted:editable"])
    (tmp_path / "small.yaml").write_text(
        "name: small\n"
        "models: [scripted:editable, scripted:editable-b]\n"
        f"benchmark: {{name: {world}}}\n"
        "methods: {tell: {}, tell-b: {method: tell}}\n"
        "seeds: [0, 1]\n"
        "protocol: {belief_samples: 2, bootstrap_resamples: 20}\n"
    )
    return str(tmp_path / "small.yaml")


def timeless(folder: Path) -> list[Any]:
    return sorted(row.model_dump_json(exclude=OF_THE_MOMENT) for row in read_rows(folder))


def test_a_recipe_without_axes_is_one_run(path: str) -> None:
    overrides = ["model=scripted:editable", "seed=3"]
    grid = load_grid(path, overrides)
    assert grid.single == load_recipe(path, overrides)
    assert (grid.axes, len(grid.runs)) == ((), 1)


def test_an_engine_answers_for_every_model() -> None:
    named = load_grid("quickstart", ["model=hf:org/a"], engine="vllm").single
    assert named is not None
    assert named.model == "hf:org/a?engine=vllm"
    both = load_grid("quickstart", ["models=[hf:org/a, hf:org/b]"], engine="vllm")
    assert [run.model for run in both.runs.values()] == ["hf:org/a?engine=vllm", "hf:org/b?engine=vllm"]
    with pytest.raises(InputError, match="phantom-med"):
        load_grid("quickstart", engine="vllm")


def test_axes_are_multiplied(path: str) -> None:
    grid = load_grid(path)
    assert grid.single is None
    assert list(grid.runs) == [
        "scripted-editable--seed-0",
        "scripted-editable--seed-1",
        "scripted-editable-b--seed-0",
        "scripted-editable-b--seed-1",
    ]
    last = grid.runs["scripted-editable-b--seed-1"]
    assert last == load_recipe(path, ["model=scripted:editable-b", "seed=1"])


def test_an_override_turns_a_recipe_into_a_grid_and_goes_into_every_benchmark() -> None:
    grid = load_grid("quickstart", ["benchmarks=[phantom, {name: multimed}]", "benchmark.limit=2", "seeds=[0, 1]"])
    found = [(recipe.benchmark.name, recipe.benchmark.limit, recipe.seed) for recipe in grid.runs.values()]
    assert found == [("phantom", 2, 0), ("phantom", 2, 1), ("multimed", 2, 0), ("multimed", 2, 1)]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seeds=[]", "was given seeds=[]"),
        ("seeds=[1, 1]", "was given seeds=[1, 1]"),
        ("seeds=3", "was given seeds=3"),
        ("seeds=[x]", "was given seed='x'"),
        ("benchmarks=[phantom, {name: phantom, split: dev}]", "names one benchmark twice"),
    ],
)
def test_mistakes_along_an_axis_are_named(path: str, override: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_grid(path, [override])
    assert says in str(caught.value)


def test_one_value_beside_an_axis_is_refused(path: str) -> None:
    Path(path).write_text(Path(path).read_text() + "seed: 0\n")
    with pytest.raises(RecipeError, match="both 'seed' and 'seeds'"):
        load_grid(path)


def test_a_grid_is_not_read_as_one_recipe(path: str) -> None:
    with pytest.raises(RecipeError, match="is a grid: it has models, seeds"):
        load_recipe(path)


def test_folders_that_would_be_called_the_same_are_numbered(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scripted:a", "scripted/a"):
        monkeypatch.setitem(MODELS, name, MODELS["scripted:editable"])
    assert list(load_grid(path, ["models=[scripted:a, scripted/a]", "seed=0"]).runs) == ["scripted-a", "scripted-a--2"]


def test_each_run_of_a_grid_is_what_it_would_have_been_alone(path: str, tmp_path: Path) -> None:
    grid = load_grid(path)
    result = start_grid(grid, tmp_path / "grid")
    assert [what for kind, what in SEEN if kind == "load"] == ["scripted:editable", "scripted:editable-b"] * 2
    assert (result.num_steps, result.num_failed_steps) == (4 * 9, 0)
    assert read_grid(tmp_path / "grid").runs == grid.runs
    for name, recipe in grid.runs.items():
        alone = start_run(recipe, tmp_path / "alone" / name)
        assert timeless(alone.folder) == timeless(tmp_path / "grid" / name)
        assert read_summary(tmp_path / "grid" / name / "summary.json").run == alone.summary.run


def test_the_summary_of_a_grid_has_models_side_by_side_and_means_over_seeds(path: str, tmp_path: Path) -> None:
    result = start_grid(load_grid(path), tmp_path / "grid")
    assert read_summary(tmp_path / "grid" / "summary.json") == result.summary
    for model in ("scripted:editable", "scripted:editable-b"):
        for method in ("tell", "tell-b"):
            score = result.summary.find("answer", "exact", method=method, model=model)
            assert score is not None
            single = read_summary(tmp_path / "grid" / f"{model.replace(':', '-')}--seed-0" / "summary.json")
            own = single.find("answer", "exact", method=method)
            assert own is not None
            assert (score.value, score.num_seeds, score.seed_sd, score.n) == (own.value, 2, 0.0, 2 * own.n)
            assert (score.low, score.high) == (None, None)


class _Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 7, 20])
def test_a_grid_that_was_interrupted_goes_on(path: str, tmp_path: Path, stop: int) -> None:
    grid = load_grid(path)
    whole = start_grid(grid, tmp_path / "whole")

    def interrupt(done: int, total: int, label: str) -> None:
        if done >= stop:
            raise _Interrupted

    with pytest.raises(_Interrupted):
        start_grid(grid, tmp_path / "grid", on_progress=interrupt)
    shutil.rmtree(tmp_path / "grid" / "scripted-editable-b--seed-1")  # as if it had not begun
    result = resume_grid(tmp_path / "grid")
    for name in grid.runs:
        assert timeless(tmp_path / "grid" / name) == timeless(tmp_path / "whole" / name)
    assert result.summary.methods == whole.summary.methods


def test_a_run_by_another_recipe_in_its_place_is_refused(path: str, tmp_path: Path) -> None:
    start_grid(load_grid(path), tmp_path / "grid")
    taken = tmp_path / "grid" / "scripted-editable--seed-0"
    shutil.rmtree(taken)
    start_run(load_recipe(path, ["model=scripted:editable", "seed=7"]), taken)
    with pytest.raises(RunDirectoryError, match="the recipe changed"):
        resume_grid(tmp_path / "grid")


def test_a_grid_that_cannot_begin_leaves_nothing_behind(path: str, tmp_path: Path) -> None:
    def refuse() -> Any:
        raise InputError("a", "b", "c")

    with pytest.raises(InputError):
        start_grid(load_grid(path), tmp_path / "grid", load=refuse)
    assert not (tmp_path / "grid").exists()
    assert not is_grid_folder(tmp_path / "grid")


def test_benchmarks_that_call_themselves_the_same_are_refused(path: str, tmp_path: Path) -> None:
    folders = [tmp_path / side / "world" for side in ("a", "b")]
    for folder in folders:
        folder.parent.mkdir()
        write_benchmark(folder)
    with pytest.raises(InputError, match="both call themselves"):
        start_grid(load_grid(path, [f"benchmarks=[{folders[0]}, {folders[1]}]"]), tmp_path / "grid")


def _load() -> Any:
    from scripted_world import load_editable

    return load_editable("scripted:editable")


def test_two_workers_leave_the_same_rows_of_a_grid_as_one(path: str, tmp_path: Path) -> None:
    grid = load_grid(path, ["methods=[none, prompt]", "model=scripted:editable"])
    start_grid(grid, tmp_path / "one", load=_load)
    start_grid(grid, tmp_path / "two", load=_load, executor=LocalExecutor(2))
    for name in grid.runs:
        assert timeless(tmp_path / "one" / name) == timeless(tmp_path / "two" / name)


@pytest.mark.slow
def test_a_ray_cluster_leaves_the_same_rows_of_a_grid(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run of the grid is shared among the actors of one cluster."""
    pytest.importorskip("ray", reason="the extra 'ray' lifts this")
    from reground.runner.executors.ray import RayExecutor

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    grid = load_grid(path, ["methods=[none, prompt]", "model=scripted:editable"])
    start_grid(grid, tmp_path / "one", load=_load)
    start_grid(grid, tmp_path / "ray", load=_load, executor=RayExecutor(2))
    for name in grid.runs:
        assert timeless(tmp_path / "one" / name) == timeless(tmp_path / "ray" / name)
