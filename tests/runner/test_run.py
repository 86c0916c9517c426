"""A run end to end on the scripted model: the four rules, failures, interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import scripted_world
from scripted_world import OF_THE_MOMENT, SEEN, SKY, question

import reground
from reground.edits.files import read_edits, read_probes
from reground.errors import CapabilityError, InputError, ModelError, RunDirectoryError
from reground.evaluation.results import read_summary
from reground.models.base import Model, ModelInfo, Query
from reground.models.scripted import ScriptedFact, ScriptedModel
from reground.runner import journal
from reground.runner.journal import read_beliefs, read_rows
from reground.runner.manifest import read_manifest
from reground.runner.recipe import Recipe
from reground.runner.run import resume_run, start_run
from reground.runner.schedules import REFERENCE

NUM_STEPS = 3 + 2 * 3


def recipe(world: Path, **changes: Any) -> Recipe:
    value = {
        "name": "small",
        "model": "scripted:editable",
        "benchmark": str(world),
        "methods": {"overwrite": {}, "tell": {}},
        "protocol": {"belief_samples": 4, "bootstrap_resamples": 20},
    }
    return Recipe.model_validate(value | changes)


def _out_of_memory(*arguments: object, **settings: object) -> None:
    raise RuntimeError("out of memory")


def lasting_rows(folder: Path) -> list[dict[str, Any]]:
    return [row.model_dump(mode="json", exclude=OF_THE_MOMENT) for row in read_rows(folder)]


def cut_back(folder: Path, num_steps: int) -> None:
    """Leave a run as it was after so many steps."""
    lines = (folder / "steps.jsonl").read_bytes().splitlines(keepends=True)[:num_steps]
    (folder / "steps.jsonl").write_bytes(b"".join(lines))
    for name, end in json.loads(lines[-1])["ends"].items():
        os.truncate(folder / name, end)


def test_a_run_leaves_a_complete_directory(world: Path, tmp_path: Path) -> None:
    result = start_run(recipe(world), tmp_path / "run")
    rows = read_rows(result.folder)
    assert (result.num_steps, result.num_failed_steps) == (NUM_STEPS, 0)
    assert [row.method for row in rows] == [REFERENCE] * 12 + ["overwrite"] * 12 + ["tell"] * 12
    assert {row.phase for row in rows[:12]} == {"before"}
    assert {row.phase for row in rows[12:]} == {"after"}
    assert {row.run for row in rows} == {read_manifest(result.folder).run}
    assert read_edits(result.folder / "edits.jsonl") == tuple(scripted_world.make_edits())
    assert len(read_probes(result.folder / "probes.jsonl")) == 12
    assert [len(belief.answers) for belief in read_beliefs(result.folder)] == [4, 4, 4]
    assert read_summary(result.folder / "summary.json") == result.summary
    exact = next(row for row in rows if row.method == "overwrite" and row.tf is not None)
    assert exact.trace is not None
    assert (exact.tf, exact.trace.answer, exact.is_restored_exactly) == (1.0, "belumide", True)
    assert exact.timings.apply_s == 0.001
    assert exact.timings.restore_s is not None
    checked = {(row.phase, row.is_restored_exactly) for row in rows}
    assert checked == {("before", None), ("after", True)}, "undo is checked for every method, context methods included"


def test_every_row_says_what_produced_it(world: Path, tmp_path: Path) -> None:
    rows = read_rows(start_run(recipe(world), tmp_path / "run").folder)
    for row in rows:
        expected = {"reground", "protocol", "python", "torch", "transformers", "commit", "dirty", "recipe"}
        assert expected | {"model_revision", "benchmark_version"} <= row.versions.keys()
    by_method = {row.method: row.versions.get("method_config") for row in rows}
    assert by_method[REFERENCE] is None
    assert by_method["overwrite"] != by_method["tell"]


def test_locality_probes_have_no_teacher_forced_score(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    local = {probe.id for probe in read_probes(folder / "probes.jsonl") if probe.is_local}
    for row in read_rows(folder):
        assert (row.tf is None) == (row.probe_id in local)


def test_rule_1_the_reference_is_asked_once_before_any_edit(world: Path, tmp_path: Path) -> None:
    start_run(recipe(world, methods=["overwrite"]), tmp_path / "run")
    kinds = [kind for kind, _ in SEEN]
    first_apply = kinds.index("apply")
    asked = [text for kind, texts in SEEN[:first_apply] if kind == "generate" for text in texts]
    # 12 probes, but every sky question and every other-subject question is the same as another
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 7
    assert SKY in asked


def test_rule_2_the_model_is_restored_after_every_edit(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world, methods=["overwrite"]), tmp_path / "run").folder
    kinds = [kind for kind, _ in SEEN if kind in ("apply", "restore")]
    assert kinds == ["apply", "restore"] * 3
    before = {row.probe_id: row.raw for row in read_rows(folder) if row.phase == "before"}
    after = [row for row in read_rows(folder) if row.phase == "after" and row.tf is None]
    assert after
    for row in after:  # what one edit does must not show in the next: the other subject keeps its drug
        assert row.raw == before[row.probe_id]


def test_rule_4_the_editor_sees_the_edit_and_no_probe(world: Path, tmp_path: Path) -> None:
    start_run(recipe(world, methods=["overwrite"]), tmp_path / "run")
    given = [what for kind, what in SEEN if kind == "apply"]
    assert given == [(edit,) for edit in scripted_world.make_edits()]


def test_a_model_that_does_not_come_back_is_replaced(world: Path, tmp_path: Path) -> None:
    settings = {"overwrite": {"forgets_to_restore": True}}
    folder = start_run(recipe(world, methods=settings), tmp_path / "run").folder
    rows = [row for row in read_rows(folder) if row.phase == "after"]
    assert {row.is_restored_exactly for row in rows} == {False}
    assert [kind for kind, _ in SEEN].count("load") == 1 + 3
    before = {row.probe_id: row.raw for row in read_rows(folder) if row.phase == "before"}
    for row in rows:
        if row.tf is None:
            assert row.raw == before[row.probe_id]


@pytest.mark.parametrize("stage", ["apply", "generate", "restore"])
def test_a_failed_step_is_one_row_and_the_run_goes_on(world: Path, tmp_path: Path, stage: str) -> None:
    settings = {"overwrite": {"fail_at": stage, "fail_for": "oskaris"}, "tell": {}}
    result = start_run(recipe(world, methods=settings), tmp_path / "run")
    failed = [row for row in read_rows(result.folder) if row.failure is not None]
    assert [(row.method, row.step, row.probe_id) for row in failed] == [("overwrite", 1, None)]
    assert failed[0].failure is not None
    assert failed[0].failure.stage == stage
    assert "RuntimeError" in failed[0].failure.message
    assert result.num_failed_steps == result.summary.num_failed_steps == 1
    after = [row for row in read_rows(result.folder) if row.phase == "after" and row.failure is None]
    assert len(after) == 8 + 12
    assert {row.is_restored_exactly for row in after if row.method == "overwrite"} == {True}


def test_a_model_that_scores_but_gives_no_logits_is_scored_and_its_undo_left_unchecked(
    world: Path, tmp_path: Path
) -> None:
    """Whoever gave scores was asked for a fingerprint too."""

    class Scorer(scripted_world.SpiedModel):
        def fingerprint(self, queries: Sequence[Query]) -> str:
            raise AssertionError("logits are not offered")

    def load() -> Model:
        offered = scripted_world.CAPABILITIES - {"logits"}
        return Scorer(scripted_world.make_facts(), name="scripted:editable", capabilities=offered)

    result = start_run(recipe(world), tmp_path / "run", load=load)
    after = [row for row in read_rows(result.folder) if row.phase == "after"]
    assert result.num_failed_steps == 0
    assert {row.is_restored_exactly for row in after} == {None}
    assert any(row.tf == 1.0 for row in after)


def test_a_question_the_model_fails_at_is_one_failed_reference_step(world: Path, tmp_path: Path) -> None:
    def load() -> Model:
        facts = [
            fact.model_copy(update={"fault": "error"}) if "quillan" in fact.question else fact
            for fact in scripted_world.make_facts()
        ]
        return ScriptedModel(facts, name="scripted:editable", capabilities=scripted_world.CAPABILITIES)

    result = start_run(recipe(world, methods=["tell"]), tmp_path / "run", load=load)
    failed = [(row.method, row.step) for row in read_rows(result.folder) if row.failure is not None]
    assert failed == [(REFERENCE, 2), ("tell", 2)]


def test_failed_steps_are_tried_again_on_resume(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that failed, for want of memory say, stayed failed however often the run was resumed."""
    monkeypatch.setattr(journal, "_BLOCK_BYTES", 5)  # what marks a failure lies across blocks
    folder = tmp_path / "run"
    contents = []
    with monkeypatch.context() as patched:
        patched.setattr(scripted_world._Edited, "score", _out_of_memory)
        assert start_run(recipe(world), folder).num_failed_steps == 6
        contents.append((folder / "rows.jsonl").read_bytes())
        assert resume_run(folder).num_failed_steps == 6  # each failure is counted once
        contents.append((folder / "rows.jsonl").read_bytes())
    SEEN.clear()
    assert resume_run(folder).num_failed_steps == 0
    assert [kind for kind, _ in SEEN].count("apply") == 3
    contents.append((folder / "rows.jsonl").read_bytes())
    assert contents[2].startswith(contents[1]) and contents[1].startswith(contents[0])
    whole = start_run(recipe(world), tmp_path / "whole").folder
    assert lasting_rows(folder) == lasting_rows(whole)
    SEEN.clear()
    resume_run(folder)
    assert SEEN == []


def test_a_failed_reference_step_is_tried_again_with_its_beliefs(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit of a reference step that failed could never be scored."""
    with monkeypatch.context() as patched:
        patched.setattr(scripted_world.SpiedModel, "score", _out_of_memory)
        assert start_run(recipe(world, methods=["tell"]), tmp_path / "run").num_failed_steps == 6
    assert resume_run(tmp_path / "run").num_failed_steps == 0
    whole = start_run(recipe(world, methods=["tell"]), tmp_path / "whole").folder
    assert lasting_rows(tmp_path / "run") == lasting_rows(whole)
    assert read_beliefs(tmp_path / "run") == read_beliefs(whole)


class _RefusesOne(scripted_world.SpiedModel):
    """As a local model does with a prompt longer than it reads."""

    def fingerprint(self, queries: Sequence[Query]) -> str:
        if any("quillan" in query.question for query in queries[:1]):
            raise InputError("the prompt has 9000 tokens.", "at most 512", "shorten it.")
        return super().fingerprint(queries)


def test_an_edit_whose_undo_cannot_be_checked_fails_alone(world: Path, tmp_path: Path) -> None:
    """One question that the model refuses ended the whole run before its first step, and every resumption."""

    def load() -> Model:
        return _RefusesOne(
            scripted_world.make_facts(), name="scripted:editable", capabilities=scripted_world.CAPABILITIES
        )

    result = start_run(recipe(world), tmp_path / "run", load=load)
    failed = [row for row in read_rows(result.folder) if row.failure is not None]
    assert {(row.method, row.step, row.failure.stage) for row in failed if row.failure} == {
        ("overwrite", 2, "fingerprint"),
        ("tell", 2, "fingerprint"),
    }
    assert [kind for kind, _ in SEEN].count("apply") == 2
    assert result.num_failed_steps == 2


class _Broken(ScriptedModel):
    def __init__(self) -> None:
        raise ModelError("cannot use the weights: they hold NaN.", "finite weights", "download them again.")


def test_nothing_is_written_if_the_model_cannot_be_loaded(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="NaN"):
        start_run(recipe(world), tmp_path / "run", load=_Broken)
    assert not (tmp_path / "run").exists()


def test_nothing_is_written_if_a_method_does_not_fit(world: Path, tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="tell") as caught:
        start_run(recipe(world, model="scripted:demo"), tmp_path / "run")
    assert "overwrite" not in caught.value.accepted
    assert not (tmp_path / "run").exists()


def test_a_directory_in_use_is_refused(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start_run(recipe(world), folder)
    with pytest.raises(RunDirectoryError, match="run resume"):
        start_run(recipe(world), folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(RunDirectoryError, match=r"notes\.txt"):
        start_run(recipe(world), tmp_path / "other")


def test_two_processes_do_not_write_the_same_directory(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    with journal.lock_directory(folder), pytest.raises(RunDirectoryError, match="another process"):
        resume_run(folder)


def test_resuming_a_finished_run_loads_no_model_and_changes_no_row(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    before = (folder / "rows.jsonl").read_bytes(), (folder / "summary.json").read_bytes()
    SEEN.clear()
    resume_run(folder)
    assert [kind for kind, _ in SEEN] == []
    assert ((folder / "rows.jsonl").read_bytes(), (folder / "summary.json").read_bytes()) == before


def _die_at_step(number: int) -> Callable[[], None]:
    def arm() -> None:
        append = journal.Journal.append

        def dying(self: journal.Journal, *arguments: Any) -> None:
            if len(self.finished) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            append(self, *arguments)

        setattr(journal.Journal, "append", dying)  # noqa: B010

    return arm


def _die_in_write(number: int, share: float) -> Callable[[], None]:
    def arm() -> None:
        write = journal._write
        count = iter(range(1000))

        def dying(descriptor: int, block: bytes) -> None:
            if next(count) < number:
                write(descriptor, block)
                return
            write(descriptor, block[: int(len(block) * share)])
            os.kill(os.getpid(), signal.SIGKILL)

        journal._write = dying

    return arm


KILLS = {
    "before the first step": _die_at_step(0),
    "within the reference": _die_at_step(2),
    "between reference and first edit": _die_at_step(3),
    "within a method": _die_at_step(5),
    "before the last step": _die_at_step(NUM_STEPS - 1),
    "half a block of rows": _die_in_write(4, 0.5),
    "rows whole, beliefs missing": _die_in_write(3, 1.0),
    "half a block of beliefs": _die_in_write(4 + 3, 0.5),
    "rows whole, signature missing": _die_in_write(9, 1.0),
    "half a signature": _die_in_write(10, 0.5),
    "signature without its line end": _die_in_write(10, 0.999),
}


@pytest.mark.parametrize("kill", KILLS)
def test_kill_and_resume_equals_an_uninterrupted_run(world: Path, tmp_path: Path, kill: str) -> None:
    whole = start_run(recipe(world), tmp_path / "whole").folder
    folder = tmp_path / "killed"
    child = os.fork()
    if child == 0:  # the child never returns: it is killed, or leaves without pytest's exit handlers
        try:
            KILLS[kill]()
            start_run(recipe(world), folder)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    num_asked = len(SEEN)
    resume_run(folder)
    assert len(SEEN) > num_asked
    assert lasting_rows(folder) == lasting_rows(whole)
    assert read_beliefs(folder) == read_beliefs(whole)
    costs = ("apply_s_p50", "apply_s_p95", "query_overhead_s")
    summaries = [
        [score for score in json.loads((f / "summary.json").read_text())["scores"] if score["metric"] not in costs]
        for f in (folder, whole)
    ]
    assert summaries[0] == summaries[1]


def test_finished_steps_are_not_done_again(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    cut_back(folder, 5)
    SEEN.clear()
    resume_run(folder)
    assert [what[0].subject for kind, what in SEEN if kind == "apply"] == ["quillan"]
    asked = [texts for kind, texts in SEEN if kind == "generate"]
    assert len(asked) == 1 + 3
    assert question("quillan") in asked[0]


def test_a_torn_last_line_is_cut_off(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    whole = (folder / "rows.jsonl").read_bytes()
    with (folder / "rows.jsonl").open("ab") as file:
        file.write(whole[:100])
    assert len(read_rows(folder)) == 36  # readers leave it out too
    resume_run(folder)
    assert (folder / "rows.jsonl").read_bytes() == whole


def test_a_step_cut_short_is_redone_wholly(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    whole = lasting_rows(folder)
    os.truncate(folder / "rows.jsonl", (folder / "rows.jsonl").stat().st_size - 100)
    resume_run(folder)
    assert lasting_rows(folder) == whole


@pytest.mark.parametrize(
    ("name", "keep", "says"),
    [
        ("steps.jsonl", 0.0, "does not name the last 9 steps"),
        ("steps.jsonl", 0.5, "does not name the last"),
        ("beliefs.jsonl", 0.0, "its end is missing"),
        ("beliefs.jsonl", 0.9, "its end is missing"),
    ],
)
def test_whole_rows_are_never_cut_off(world: Path, tmp_path: Path, name: str, keep: float, says: str) -> None:
    """Hours of rows were thrown away without a word where a file beside them had been lost."""
    folder = start_run(recipe(world), tmp_path / "run").folder
    os.truncate(folder / name, int((folder / name).stat().st_size * keep))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunDirectoryError, match=rf"{name} is damaged: .*{says}"):
        resume_run(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7])
def test_rows_that_are_lost_are_asked_for_again(world: Path, tmp_path: Path, keep: float) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    whole = lasting_rows(folder)
    os.truncate(folder / "rows.jsonl", int((folder / "rows.jsonl").stat().st_size * keep))
    resume_run(folder)
    assert lasting_rows(folder) == whole


def test_rows_changed_by_hand_are_found(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    text = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(text.replace("belumide", "belumidE", 1))
    with pytest.raises(RunDirectoryError, match="damaged"):
        resume_run(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": True}, "schema version True"),
        ({"versions": {"reground": "0.0.1"}}, r"reground 0\.0\.1"),
        ({"versions": {"reground": reground.__version__, "protocol": "0"}}, "protocol version '0'"),
        ({"versions": {"reground": reground.__version__}}, "protocol version None"),
        ({"run": "r000000000000"}, "not those of the run it names"),
        ({"colour": "red"}, "there is no field 'colour'"),
        ({"num_edits": "x"}, "num_edits is 'x', and should be a whole number"),
        ({"recipe": 5}, "damaged"),
    ],
)
def test_directories_of_other_versions_are_refused(
    world: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunDirectoryError, match=says):
        resume_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": 1}', "\ud83d"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunDirectoryError, match="damaged"):
        resume_run(tmp_path)


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        resume_run(tmp_path)


def test_changed_data_are_refused(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    lines = (world / "probes.jsonl").read_text().splitlines(keepends=True)
    (world / "probes.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(RunDirectoryError, match="data changed"):
        resume_run(folder)


def test_a_changed_model_is_refused(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    cut_back(folder, 5)

    def load() -> Model:
        return ScriptedModel([ScriptedFact(question="q", answer="a")], capabilities=scripted_world.CAPABILITIES)

    with pytest.raises(RunDirectoryError, match="model changed"):
        resume_run(folder, load=load)


def test_another_device_is_refused(world: Path, tmp_path: Path) -> None:
    """Half of the rows would be compared with a reference from other kernels, under the first device's name."""

    class Elsewhere(scripted_world.SpiedModel):
        @property
        def info(self) -> ModelInfo:
            return super().info.model_copy(update={"device": "cuda:0"})

    def load() -> Model:
        return Elsewhere(
            scripted_world.make_facts(), name="scripted:editable", capabilities=scripted_world.CAPABILITIES
        )

    folder = start_run(recipe(world), tmp_path / "run").folder
    cut_back(folder, 5)
    with pytest.raises(RunDirectoryError, match="device changed"):
        resume_run(folder, load=load)


def test_a_directory_that_cannot_be_made_is_a_users_mistake(world: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="cannot run into"):
        start_run(recipe(world), tmp_path / "file" / "run")


def test_a_run_can_be_resumed_from_another_place(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = start_run(recipe(Path("world")), tmp_path / "run").folder
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.move(folder, tmp_path / "moved")
    resume_run(tmp_path / "moved")


def test_the_same_recipe_gives_the_same_run_id(world: Path, tmp_path: Path) -> None:
    runs = [start_run(recipe(world), tmp_path / name) for name in "ab"]
    manifests = [read_manifest(run.folder) for run in runs]
    assert manifests[0].run == manifests[1].run
    other = start_run(recipe(world, seed=1), tmp_path / "c")
    assert read_manifest(other.folder).run != manifests[0].run
    assert manifests[0].versions["reground"] == reground.__version__


def test_progress_counts_every_step(world: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    start_run(recipe(world), tmp_path / "run", on_progress=lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == list(range(NUM_STEPS + 1))
    assert {total for _, total, _ in seen} == {NUM_STEPS}


def test_a_recipe_changed_by_hand_is_found(world: Path, tmp_path: Path) -> None:
    """Rows of two recipes under one id were the result."""
    folder = start_run(recipe(world), tmp_path / "run").folder
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"max_new_tokens": 96', '"max_new_tokens": 9'))
    with pytest.raises(RunDirectoryError, match="its recipe is not the one"):
        resume_run(folder)


@pytest.mark.parametrize("name", ["edits.jsonl", "probes.jsonl"])
def test_damaged_copies_of_what_is_asked_are_written_anew(world: Path, tmp_path: Path, name: str) -> None:
    """A run that went on left them damaged, and ended as if all were well."""
    folder = start_run(recipe(world), tmp_path / "run").folder
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:50])
    resume_run(folder)
    assert (folder / name).read_bytes() == whole


@pytest.mark.parametrize("name", ["rows.jsonl", "steps.jsonl", "summary.json", ".lock"])
def test_what_the_system_refuses_names_the_directory(world: Path, tmp_path: Path, name: str) -> None:
    folder = start_run(recipe(world), tmp_path / "run").folder
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(RunDirectoryError, match=str(folder)):
        resume_run(folder)


def test_a_full_disk_leaves_nothing_of_a_run_that_had_not_begun(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("reground.runner.run.write_manifest", refuse)
        with pytest.raises(RunDirectoryError, match="No space left"):
            start_run(recipe(world), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with monkeypatch.context() as patched:
        patched.setattr("reground.runner.journal._write", refuse)
        with pytest.raises(RunDirectoryError, match="No space left"):
            start_run(recipe(world), tmp_path / "run")
    assert resume_run(tmp_path / "run").num_failed_steps == 0


def test_a_disk_that_takes_nothing_in_ends_a_run_with_what_it_says(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for while the next step is done, so that it is heard of one step later."""

    def refuse(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("reground.runner.journal._bring_to_disk", refuse)
        with pytest.raises(RunDirectoryError, match="Input/output error"):
            start_run(recipe(world), tmp_path / "run")
    assert len((tmp_path / "run" / "steps.jsonl").read_text().splitlines()) == 1
    assert resume_run(tmp_path / "run").num_failed_steps == 0


def test_a_last_step_whose_bytes_never_reached_the_disk_is_done_again(world: Path, tmp_path: Path) -> None:
    """After a power cut a file may have its length and zeros in the place of what was written last."""
    folder = start_run(recipe(world), tmp_path / "run").folder
    path = folder / "rows.jsonl"
    whole, rows = lasting_rows(folder), path.read_bytes()
    *_, before, _ = map(json.loads, (folder / "steps.jsonl").read_text().splitlines())
    start = before["ends"]["rows.jsonl"]
    path.write_bytes(rows[:start] + bytes(len(rows) - start))
    resume_run(folder)
    assert lasting_rows(folder) == whole
    path.write_bytes(bytes(start) + path.read_bytes()[start:])
    with pytest.raises(RunDirectoryError, match="not those that were written"):
        resume_run(folder)


def test_what_a_killed_start_left_is_no_obstacle(world: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in (".lock", ".manifest.json.x1y2"):
        (tmp_path / "run" / name).touch()
    assert start_run(recipe(world), tmp_path / "run").num_failed_steps == 0


def test_variants_of_a_method_have_rows_and_scores_of_their_own(world: Path, tmp_path: Path) -> None:
    settings = {"overwrite": {}, "overwrite-slow": {"method": "overwrite", "sleep_s": 0.001}}
    result = start_run(recipe(world, methods=settings), tmp_path / "run")
    rows = [row for row in read_rows(result.folder) if row.phase == "after"]
    assert [row.method for row in rows] == ["overwrite"] * 12 + ["overwrite-slow"] * 12
    own, other = ({row.versions["method_config"] for row in rows if row.method == name} for name in settings)
    assert len(own | other) == 2
    assert "method" not in rows[0].versions
    assert (rows[-1].versions["method"], rows[-1].versions["method_settings"]) == ("overwrite", '{"sleep_s": 0.001}')
    assert result.summary.methods == ("overwrite", "overwrite-slow")
    values = [result.summary.find("answer", "exact", method=name) for name in settings]
    assert all(score is not None and score.value == 1.0 for score in values)


def test_a_run_of_variants_goes_on_where_it_was(world: Path, tmp_path: Path) -> None:
    settings = {"overwrite-a": {"method": "overwrite"}, "overwrite-b": {"method": "overwrite", "sleep_s": 0.001}}
    whole = read_rows(start_run(recipe(world, methods=settings), tmp_path / "run").folder)
    steps = tmp_path / "run" / "steps.jsonl"
    steps.write_text("".join(steps.read_text().splitlines(keepends=True)[:7]))
    kept = (tmp_path / "run" / "rows.jsonl").read_text().splitlines(keepends=True)[:28]
    (tmp_path / "run" / "rows.jsonl").write_text("".join(kept))
    resumed = read_rows(resume_run(tmp_path / "run").folder)
    assert [(row.method, row.probe_id, row.raw) for row in resumed] == [
        (row.method, row.probe_id, row.raw) for row in whole
    ]
