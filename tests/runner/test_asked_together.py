"""Edits whose methods change nothing but the question are asked about in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import scripted_world
from scripted_world import SEEN, make_edits, question

from reground.edits.records import Row
from reground.models.base import Output, Query
from reground.runner import work
from reground.runner.journal import read_rows
from reground.runner.recipe import Recipe
from reground.runner.run import resume_run, start_run
from reground.runner.schedules import Lifelong
from reground.runner.together import AskedTogether


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    scripted_world.write_benchmark(tmp_path / "clinic")
    return Recipe.model_validate(
        {
            "name": "together",
            "model": "scripted:editable",
            "benchmark": str(tmp_path / "clinic"),
            "methods": ["none", "prompt"],
            "protocol": {"belief_samples": 2, "bootstrap_resamples": 0},
        }
    )


def calls() -> list[int]:
    """Questions in each call for a single answer, in order."""
    return [len(asked) for kind, asked in SEEN if kind == "generate"]


def rows(folder: Path) -> list[Row]:
    return [
        row.model_copy(update={"timings": None, "run": "", "versions": {}, "peak_bytes": None, "energy": None})
        for row in read_rows(folder)
    ]


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    single = classmethod(lambda cls, recipe, workload: cls(workload.edits, workload.probes, 1))
    monkeypatch.setattr(AskedTogether, "of", single)


def test_all_is_asked_in_three_calls_and_the_rows_are_the_same(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SEEN.clear()
    start_run(recipe, tmp_path / "together")
    num_new = len({probe.question for edit in make_edits() for probe in scripted_world.make_probes(edit)})
    assert calls() == [num_new, 12, 12]
    assert all(row.timings.generate_s is not None for row in read_rows(tmp_path / "together"))
    with monkeypatch.context() as patch:
        one_by_one(patch)
        start_run(recipe, tmp_path / "alone")
    assert rows(tmp_path / "together") == rows(tmp_path / "alone")


def test_the_reference_of_chains_is_asked_in_one_call_too(recipe: Recipe, tmp_path: Path) -> None:
    schedule = {"name": "lifelong", "checkpoints": [1, 2], "sample": 2, "orders": 1}
    chains = recipe.model_copy(update={"schedule": Lifelong.model_validate(schedule)})
    SEEN.clear()
    folder = start_run(chains, tmp_path / "run").folder
    asked = {row.probe_id for row in read_rows(folder) if row.phase == "before"}
    questions = {
        probe.question for edit in make_edits() for probe in scripted_world.make_probes(edit) if probe.id in asked
    }
    assert calls()[0] == len(questions)


def test_what_one_edit_breaks_is_its_own_failure(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = scripted_world.SpiedModel.generate
    broken = make_edits()[1]

    def refuse(self: Any, queries: Sequence[Query], **settings: Any) -> list[list[Output]]:
        if any(query.note is not None and broken.statement in query.note for query in queries):
            raise RuntimeError("no room")
        return generate(self, queries, **settings)

    monkeypatch.setattr(scripted_world.SpiedModel, "generate", refuse)
    result = start_run(recipe, tmp_path / "run")
    failed = {(row.method, row.edit_id) for row in read_rows(tmp_path / "run") if row.failure is not None}
    assert failed == {("prompt", broken.id)}
    assert result.num_failed_steps == 1


def test_a_run_that_goes_on_asks_in_the_same_batches(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    SEEN.clear()
    start_run(recipe, whole)
    batches = [asked for kind, asked in SEEN if kind == "generate"]
    edit_and_probe = work.Worker._edit_and_probe
    stops = iter([False, True])

    def stop(self: work.Worker, step: Any) -> Any:
        if next(stops, False):
            raise KeyboardInterrupt
        return edit_and_probe(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(work.Worker, "_edit_and_probe", stop)
        with pytest.raises(KeyboardInterrupt):
            start_run(recipe, tmp_path / "cut")
    SEEN.clear()
    resume_run(tmp_path / "cut")
    assert [asked for kind, asked in SEEN if kind == "generate"] == batches[1:]
    assert rows(tmp_path / "cut") == rows(whole)
    assert question("velmora") in batches[0]
