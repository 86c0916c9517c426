"""The zero-shot filter and the tags of a benchmark, end to end on the scripted model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import scripted_world
from scripted_world import SEEN

from reground.benchmarks.files import FilesBenchmark
from reground.benchmarks.frequency import frequency_bins
from reground.edits.files import read_edits, write_records
from reground.edits.records import Answer, Edit
from reground.errors import InputError
from reground.models.base import Query
from reground.models.scripted import ScriptedFact, ScriptedModel
from reground.runner import zero_shot
from reground.runner.manifest import read_manifest
from reground.runner.plan import load_workload, make_plan
from reground.runner.recipe import Recipe
from reground.runner.run import resume_run, start_run
from reground.runner.zero_shot import ask_zero_shot


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def edits() -> list[Edit]:
    """Three edits; the model under test already gives the second one's new answer."""
    first, second, third = scripted_world.make_edits()
    known = {"new_answer": Answer(text="norvatine"), "prior_answer": Answer(text="ismodrel")}
    return [first, second.model_copy(update=known), third]


@pytest.fixture
def folder(tmp_path: Path, edits: list[Edit]) -> Path:
    made = tmp_path / "filtered"
    made.mkdir()
    write_records(made / "edits.jsonl", edits)
    write_records(made / "probes.jsonl", [probe for edit in edits for probe in scripted_world.make_probes(edit)])
    return made


def recipe(folder: Path, **benchmark: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "model": "scripted:editable",
            "benchmark": {"name": str(folder), "zero_shot_filter": True, **benchmark},
            "methods": ["tell"],
            "protocol": {"belief_samples": 4, "bootstrap_resamples": 0},
        }
    )


def batches() -> list[list[str]]:
    return [questions for kind, questions in SEEN if kind == "generate"]


def test_only_edits_the_model_gets_wrong_are_run_and_that_is_recorded(
    folder: Path, edits: list[Edit], tmp_path: Path
) -> None:
    result = start_run(recipe(folder), tmp_path / "run")
    kept = [edits[0].id, edits[2].id]
    assert [edit.id for edit in read_edits(result.folder / "edits.jsonl")] == kept
    manifest = read_manifest(result.folder)
    assert manifest.zero_shot is not None
    assert manifest.zero_shot.edit_ids == tuple(kept)
    assert (manifest.zero_shot.model, manifest.zero_shot.revision) == (manifest.model.name, manifest.model.revision)
    assert (manifest.num_edits, manifest.card.counts["zero_shot.asked"], manifest.card.counts["zero_shot.kept"]) == (
        2,
        3,
        2,
    )
    (note,) = [note for note in result.summary.notes if note.startswith("Zero-shot filter")]
    assert manifest.model.revision in note and "3 edits" in note and "got 2 wrong" in note
    assert result.summary.num_edits == 2


def test_without_the_filter_everything_is_run(folder: Path, tmp_path: Path) -> None:
    result = start_run(recipe(folder, zero_shot_filter=False), tmp_path / "run")
    assert result.summary.num_edits == 3
    assert read_manifest(result.folder).zero_shot is None


def test_the_limit_counts_edits_that_are_kept(edits: list[Edit]) -> None:
    model = scripted_world.load_editable("scripted:editable")
    found = ask_zero_shot(edits, model, limit=2, max_new_tokens=96)
    assert (found.num_asked, found.edit_ids) == (3, (edits[0].id, edits[2].id))
    first = ask_zero_shot(edits, model, limit=1, max_new_tokens=96)
    assert (first.num_asked, first.edit_ids) == (1, (edits[0].id,))


def test_what_was_said_is_kept_by_content_and_by_model(edits: list[Edit]) -> None:
    model = scripted_world.load_editable("scripted:editable")
    first = ask_zero_shot(edits, model, max_new_tokens=96)
    assert batches() == [[edit.question for edit in edits]]
    assert ask_zero_shot(edits, model, max_new_tokens=96) == first
    assert len(batches()) == 1, "asked once"
    reworded = edits[0].model_copy(update={"question": scripted_world.reworded(edits[0].subject)})
    ask_zero_shot([reworded, *edits], model, max_new_tokens=96)
    assert batches()[1:] == [[reworded.question]]
    other = scripted_world.SpiedModel(
        [ScriptedFact(question=edit.question, answer=edit.new_answer.text) for edit in edits[:2]]
    )
    assert ask_zero_shot(edits, other, max_new_tokens=96).edit_ids == (edits[2].id,)
    assert len(batches()) == 3, "other weights are asked anew"


def test_another_target_of_the_same_question_needs_no_new_output(edits: list[Edit]) -> None:
    model = scripted_world.load_editable("scripted:editable")
    ask_zero_shot(edits, model, max_new_tokens=96)
    known = edits[0].model_copy(update={"new_answer": Answer(text="tarvexin"), "prior_answer": None})
    assert ask_zero_shot([known, *edits[1:]], model, max_new_tokens=96).edit_ids == (edits[2].id,)
    assert len(batches()) == 1


def test_a_cache_that_cannot_be_written_costs_no_result(edits: list[Edit], own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    model = scripted_world.load_editable("scripted:editable")
    assert len(ask_zero_shot(edits, model, max_new_tokens=96).edit_ids) == 2


def test_a_question_the_model_refuses_counts_as_wrong_and_alone(edits: list[Edit]) -> None:
    facts = [ScriptedFact(question=edit.question, answer=edit.new_answer.text) for edit in edits]
    facts[0] = facts[0].model_copy(update={"fault": "error"})
    found = ask_zero_shot(edits, ScriptedModel(facts), max_new_tokens=96)
    assert found.edit_ids == (edits[0].id,)


def test_what_was_asked_before_an_interruption_is_kept(edits: list[Edit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_shot, "_BATCH_SIZE", 1)
    model = scripted_world.load_editable("scripted:editable")
    say: Callable[..., Any] = model.generate

    def stop_at_the_third(queries: Sequence[Query], **settings: Any) -> Any:
        if queries[0].question == edits[2].question:
            raise KeyboardInterrupt
        return say(queries, **settings)

    monkeypatch.setattr(model, "generate", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        ask_zero_shot(edits, model, max_new_tokens=96)
    monkeypatch.setattr(model, "generate", say)
    ask_zero_shot(edits, model, max_new_tokens=96)
    assert batches() == [[edit.question] for edit in edits]


def test_a_model_that_knows_it_all_leaves_nothing_to_run(edits: list[Edit], folder: Path, tmp_path: Path) -> None:
    knowing = ScriptedModel(
        [ScriptedFact(question=edit.question, answer=edit.new_answer.text) for edit in edits], name="scripted:editable"
    )
    with pytest.raises(InputError, match="leaves no edit"):
        start_run(recipe(folder), tmp_path / "run", load=lambda: knowing)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_edits_it_began_with(folder: Path, tmp_path: Path, own_cache: Path) -> None:
    first = start_run(recipe(folder), tmp_path / "run")
    steps = (first.folder / "steps.jsonl").read_bytes().splitlines(keepends=True)
    (first.folder / "steps.jsonl").write_bytes(b"".join(steps[:-1]))
    shutil.rmtree(own_cache)
    SEEN.clear()
    again = resume_run(first.folder)
    assert again.summary.num_edits == 2
    assert again.summary.notes == first.summary.notes
    assert not own_cache.exists(), "nothing was asked again"


def test_a_plan_says_what_a_filter_costs_at_most(folder: Path) -> None:
    chosen = recipe(folder, limit=2)
    plan = make_plan(chosen, load_workload(chosen))
    assert (plan.num_filter_generations, plan.num_edits, plan.num_probes) == (3, 2, 8)
    plain = recipe(folder, limit=2, zero_shot_filter=False)
    without = make_plan(plain, load_workload(plain))
    assert (without.num_filter_generations, without.num_edits) == (0, 2)
    assert plan.num_generations == 3 + plan.num_reference_generations + 8


class _Tailed(FilesBenchmark):
    """A folder whose subjects came up with very different frequency in the training of one model."""

    def tags(self, edit: Edit, model: str) -> tuple[str, ...]:
        assert model == "scripted:editable"
        bins = frequency_bins({"velmora": 1, "oskaris": 40, "quillan": 900})
        return ("tier:reasoning", f"frequency:{bins[edit.subject]}")


def test_scores_are_given_for_each_bin_of_a_long_tail(world: Path, tmp_path: Path) -> None:
    plain = recipe(world, zero_shot_filter=False).model_copy(update={"methods": {"overwrite": {}}})
    result = start_run(plain, tmp_path / "run", benchmark=_Tailed(world))
    levels = {score.stratum for score in result.summary.scores}
    assert {"frequency:rare", "frequency:middle", "frequency:frequent", "tier:reasoning"} < levels
    for name in ("rare", "middle", "frequent"):
        score = result.summary.find("answer", "exact", method="overwrite", stratum=f"frequency:{name}")
        assert score is not None and (score.n, score.value) == (1, 1.0)
    whole = result.summary.find("answer", "exact", method="overwrite", stratum="tier:reasoning")
    assert whole is not None and whole.n == 3
    by_edit = json.loads((result.folder / "tags.json").read_text())
    assert sorted(map(len, by_edit.values())) == [2, 2, 2]
    assert set(by_edit) == {edit.id for edit in read_edits(result.folder / "edits.jsonl")}


def test_a_run_without_tags_writes_no_file_of_them(world: Path, tmp_path: Path) -> None:
    result = start_run(recipe(world, zero_shot_filter=False), tmp_path / "run")
    assert not (result.folder / "tags.json").exists()
