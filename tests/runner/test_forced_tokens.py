"""What lenses compare is stored when a recipe asks for it, and leaves no mark on other runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from reground.edits.files import read_edits, read_probes
from reground.evaluation.lenses.base import LensScore, look_through
from reground.evaluation.lenses.registry import lens_named
from reground.runner.journal import read_rows
from reground.runner.plan import load_workload, make_plan
from reground.runner.recipe import Recipe
from reground.runner.run import resume_run, start_run

ASKED = {"belief_samples": 1, "bootstrap_resamples": 0, "keeps_forced_tokens": True}


def recipe(world: Path, **changes: Any) -> Recipe:
    value = {"name": "small", "model": "scripted:editable", "benchmark": str(world), "methods": ["overwrite", "tell"]}
    return Recipe.model_validate(value | {"protocol": ASKED} | changes)


def lens_scores(folder: Path, name: str) -> dict[tuple[str, str], LensScore]:
    edits, probes = read_edits(folder / "edits.jsonl"), read_probes(folder / "probes.jsonl")
    found = look_through(lens_named(name), edits, probes, read_rows(folder))
    return {(score.method, score.metric): score for score in found}


def test_rows_carry_tokens_only_where_they_are_asked_for(world: Path, tmp_path: Path) -> None:
    plain = start_run(recipe(world, protocol={"belief_samples": 1, "bootstrap_resamples": 0}), tmp_path / "plain")
    assert {row.forced for row in read_rows(plain.folder)} == {None}
    asked = start_run(recipe(world), tmp_path / "asked")
    local = {probe.id for probe in read_probes(asked.folder / "probes.jsonl") if probe.is_local}
    rows = read_rows(asked.folder)
    assert len(local) == 6
    for row in rows:
        assert (row.forced is not None) == (row.probe_id in local)
    fed: dict[str | None, set[str]] = {}
    for row in rows:
        if row.forced is not None:
            fed.setdefault(row.probe_id, set()).add(row.forced.text)
    assert all(len(texts) == 1 for texts in fed.values()), "the same text before and after"
    assert {"blue"} in fed.values()


def test_the_plan_counts_what_is_fed(world: Path) -> None:
    silent = recipe(world, protocol={"belief_samples": 1})
    assert [make_plan(one, load_workload(one)).methods[0].num_scores for one in (silent, recipe(world))] == [6, 12]


def test_lenses_read_a_run_that_asked(world: Path, tmp_path: Path) -> None:
    """The script keeps other drugs and the sky; a table edit rewrites its question alone, a note carries over."""
    folder = start_run(recipe(world), tmp_path / "run").folder
    found = lens_scores(folder, "mmedit")
    assert found["overwrite", "reliability"].value == 1.0
    assert found["overwrite", "generality_text"].value == 0.0
    assert found["tell", "generality_text"].value == 1.0
    assert (found["tell", "locality_text"].value, found["tell", "locality_text"].n) == (1.0, 6)
    assert found["tell", "locality_image"].value is None


def test_a_resumed_run_feeds_the_same_texts(world: Path, tmp_path: Path) -> None:
    whole = start_run(recipe(world), tmp_path / "whole").folder
    stopped = start_run(recipe(world), tmp_path / "stopped").folder
    lines = (stopped / "steps.jsonl").read_bytes().splitlines(keepends=True)[:4]
    (stopped / "steps.jsonl").write_bytes(b"".join(lines))
    for name, end in json.loads(lines[-1])["ends"].items():
        os.truncate(stopped / name, end)
    resume_run(stopped)
    assert [row.forced for row in read_rows(stopped)] == [row.forced for row in read_rows(whole)]
