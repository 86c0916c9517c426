"""Steps that put more than one edit in force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import scripted_world
from scripted_world import question

from reground.benchmarks.base import Card, HasCompanions
from reground.edits.files import read_edits
from reground.edits.records import Edit, Probe
from reground.evaluation.results import Summary
from reground.models.base import Query
from reground.runner.journal import read_rows
from reground.runner.plan import Companion, load_workload
from reground.runner.recipe import Recipe
from reground.runner.run import COMPANIONS_FILE, resume_run, start_run

RECIPE = Recipe.model_validate(
    {
        "name": "revised",
        "model": "scripted:editable",
        "benchmark": "revised",
        "methods": ["tell"],
        "protocol": {"belief_samples": 2, "bootstrap_resamples": 0},
    }
)


class Revised:
    """The first edit comes after the second one, the others stand alone."""

    def card(self) -> Card:
        return Card(
            name="revised", version="1", source="here", licence="none", checksum="0", splits=("test",), counts={}
        )

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        return scripted_world.make_edits()[:limit]

    def probes(self, edit: Edit) -> Sequence[Probe]:
        return scripted_world.make_probes(edit)

    def companions(self, edit: Edit) -> Sequence[Edit]:
        first, second, _ = scripted_world.make_edits()
        return [second] if edit == first else []


def answers(folder: Path) -> list[str | None]:
    """What the edited model said to the questions of the first edit: exact, reworded, about the second, the sky."""
    first = scripted_world.make_edits()[0].id
    rows = [row for row in read_rows(folder) if row.phase == "after" and row.edit_id == first]
    return [row.trace.answer for row in rows if row.trace]


def test_companions_are_in_force_beside_the_edit(tmp_path: Path) -> None:
    assert isinstance(Revised(), HasCompanions)
    folder = start_run(RECIPE, tmp_path / "run", benchmark=Revised()).folder
    edits = scripted_world.make_edits()
    assert answers(folder) == ["belumide", "belumide", "ismodrel", "blue"]
    lines = (folder / COMPANIONS_FILE).read_text().splitlines()
    assert [Companion.model_validate_json(line) for line in lines] == [Companion(edit_id=edits[0].id, edit=edits[1])]
    assert read_edits(folder / "edits.jsonl") == tuple(edits), "a companion has no probes and no scores of its own"


def test_an_editor_is_given_companions_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    apply = scripted_world.TellEditor.apply

    def spy(self: scripted_world.TellEditor, model: object, edits: Sequence[Edit], *, seed: int = 0) -> object:
        given.append([edit.new_answer.text for edit in edits])
        return apply(self, model, edits, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(scripted_world.TellEditor, "apply", spy)
    start_run(RECIPE, tmp_path / "run", benchmark=Revised())
    assert given == [["ismodrel", "belumide"], ["ismodrel"], ["pel"]]


def test_a_resumed_run_applies_the_same_companions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = start_run(RECIPE, tmp_path / "whole", benchmark=Revised())
    crashes = iter([False, True, False])
    apply = scripted_world.TellEditor.apply

    def crash(self: scripted_world.TellEditor, model: object, edits: Sequence[Edit], *, seed: int = 0) -> object:
        if next(crashes):
            raise KeyboardInterrupt
        return apply(self, model, edits, seed=seed)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(scripted_world.TellEditor, "apply", crash)
        with pytest.raises(KeyboardInterrupt):
            start_run(RECIPE, tmp_path / "cut", benchmark=Revised())
    resumed = resume_run(tmp_path / "cut", benchmark=Revised())
    assert answers(resumed.folder) == answers(whole.folder)
    assert _figures(resumed.summary) == _figures(whole.summary)


def _figures(summary: Summary) -> list[tuple[str, str, float | None]]:
    return [(score.metric, score.level, score.value) for score in summary.scores if not score.metric.endswith("_s")]


def test_undo_is_checked_on_the_questions_of_companions_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    fingerprint = scripted_world.SpiedModel.fingerprint

    def spy(self: scripted_world.SpiedModel, queries: Sequence[Query]) -> str:
        asked.append([query.question for query in queries])
        return fingerprint(self, queries)

    monkeypatch.setattr(scripted_world.SpiedModel, "fingerprint", spy)
    start_run(RECIPE, tmp_path / "run", benchmark=Revised())
    first = [questions for questions in asked if questions[0] == question("velmora")]
    assert len(first) >= 2
    assert all(question("oskaris") in questions for questions in first)


def test_edits_without_companions_leave_no_file(tmp_path: Path) -> None:
    workload = load_workload(RECIPE, Revised())
    assert list(workload.companions) == [workload.edits[0].id]
    assert [len(workload.applied(edit)) for edit in workload.edits] == [2, 1, 1]
    alone = Revised()
    alone.companions = lambda edit: []  # type: ignore[method-assign]
    folder = start_run(RECIPE, tmp_path / "run", benchmark=alone).folder
    assert not (folder / COMPANIONS_FILE).exists()
