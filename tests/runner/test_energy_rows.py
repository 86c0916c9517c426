"""Rows carry the energy of applying and asking where it is reported, and are as they were where it is not."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_world import OF_THE_MOMENT

from reground.edits.records import Energy, Row, Timings
from reground.methods import energy
from reground.runner.journal import read_rows
from reground.runner.recipe import Recipe
from reground.runner.run import start_run
from reground.runner.schedules import REFERENCE


def recipe(world: Path, **changes: Any) -> Recipe:
    value = {
        "name": "small",
        "model": "scripted:editable",
        "benchmark": str(world),
        "methods": ["prompt", "overwrite"],
        "protocol": {"belief_samples": 1, "bootstrap_resamples": 0},
    }
    return Recipe.model_validate(value | changes)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor that counts a joule whenever it is looked at."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    joules = iter(range(0, 10**12, 10**6))
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(energy, "_microjoules", lambda zone: next(joules))
    yield


def test_every_step_says_what_it_used(world: Path, tmp_path: Path, counted: None) -> None:
    start_run(recipe(world), tmp_path / "run")
    of = {(row.method, row.step): row.energy for row in read_rows(tmp_path / "run")}
    assert of["overwrite", 0] == Energy(apply_j=None, generate_j=1.0)  # this stand-in does not measure its edits
    prompt, reference = of["prompt", 0], of[REFERENCE, 0]
    assert prompt is not None and prompt.apply_j == 1.0
    assert prompt.generate_j == pytest.approx(1 / 3)  # its share of one call for three edits
    assert reference is not None and reference.apply_j is None
    assert reference.generate_j == pytest.approx(4 / 7)  # four of the seven questions there are


def test_what_an_answer_used_is_kept_with_it(world: Path, tmp_path: Path, counted: None) -> None:
    for name in ("first", "second"):
        start_run(recipe(world, methods=["none"]), tmp_path / name)
    first, second = (
        [row.energy for row in read_rows(tmp_path / name) if row.method == REFERENCE] for name in ("first", "second")
    )
    assert first == second and first[0] is not None


def test_energy_is_of_the_moment(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: None) -> None:
    """Comparisons of two runs would have failed on every machine that reports it."""
    start_run(recipe(world), tmp_path / "first")
    joules = iter(range(0, 10**13, 3 * 10**6))
    monkeypatch.setattr(energy, "_microjoules", lambda zone: next(joules))
    start_run(recipe(world), tmp_path / "second")
    first, second = (list(read_rows(tmp_path / name)) for name in ("first", "second"))
    assert [row.energy for row in first] != [row.energy for row in second]
    both = ([row.model_dump(mode="json", exclude=OF_THE_MOMENT) for row in rows] for rows in (first, second))
    assert next(both) == next(both)
    script = Path(__file__).parents[2] / "perf" / "executors.py"
    assert runpy.run_path(str(script), run_name="executors")["_OF_THE_MOMENT"] >= OF_THE_MOMENT


def test_chains_say_it_too(world: Path, tmp_path: Path, counted: None) -> None:
    schedule = {"name": "lifelong", "checkpoints": [1, 2], "sample": 2, "orders": 1}
    start_run(recipe(world, methods=["prompt"], schedule=schedule), tmp_path / "run")
    rows = [row for row in read_rows(tmp_path / "run") if row.order is not None]
    assert {row.energy for row in rows} == {Energy(apply_j=1.0, generate_j=1.0)}


def test_rows_are_as_they_were_where_nothing_is_reported(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path / "absent")
    start_run(recipe(world), tmp_path / "run")
    lines = (tmp_path / "run" / "rows.jsonl").read_text().splitlines()
    written = {tuple(json.loads(line)) for line in lines}
    assert written == {tuple(name for name in Row.model_fields if name != "energy")}


def test_a_row_comes_back_with_its_energy() -> None:
    fields: dict[str, Any] = {"run": "r", "method": "m", "model": "x", "benchmark": "b", "schedule": "single"}
    fields |= {"step": 0, "checkpoint": 1, "edit_id": "e", "probe_id": "p", "phase": "after", "seed": 0}
    row = Row(**fields, dtype="d", device="cpu", versions={}, timings=Timings(), energy=Energy(generate_j=1.5))
    assert Row.model_validate_json(row.model_dump_json()) == row
