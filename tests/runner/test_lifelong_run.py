"""Chains of edits end to end: what is in force when, what a failure leaves, and runs that are killed on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scripted_world
from scripted_world import OF_THE_MOMENT, SEEN

from method_settings import ALL_METHODS, four_edits, settings_of
from reground.edits.files import write_records
from reground.edits.records import Edit
from reground.errors import WorkerError
from reground.evaluation import stance
from reground.evaluation.results import Summary
from reground.models.base import Model
from reground.runner.chain_state import STATES_FOLDER
from reground.runner.executors import local as local_executor
from reground.runner.executors.inline import InlineExecutor
from reground.runner.executors.local import LocalExecutor
from reground.runner.journal import ROWS_FILE, STEPS_FILE, Journal, read_rows
from reground.runner.recipe import Recipe
from reground.runner.run import resume_run, start_run
from reground.runner.schedules import REFERENCE, Lifelong, Sequential, chain_orders
from reground.runner.work import loader_of
from training_world import probes_of

LIFELONG = {"name": "lifelong", "checkpoints": [1, 2], "sample": 2, "orders": 2}


def recipe(world: Path, **changes: Any) -> Recipe:
    value = {
        "name": "small",
        "model": "scripted:editable",
        "benchmark": str(world),
        "methods": {"tell": {}, "none": {}},
        "schedule": LIFELONG,
        "protocol": {"belief_samples": 2, "bootstrap_resamples": 20},
    }
    return Recipe.model_validate(value | changes)


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The rows without what no two runs share: times, memory in use, and energy."""
    rows = [row.model_dump(mode="json", exclude=OF_THE_MOMENT) for row in read_rows(folder)]
    return sorted(rows, key=lambda row: (row["method"], row["step"], row["edit_id"], row["probe_id"] or ""))


def test_a_checkpoint_probes_with_all_earlier_edits_in_force(world: Path, tmp_path: Path) -> None:
    folder = start_run(recipe(world, methods=["tell"]), tmp_path / "run").folder
    edits = scripted_world.make_edits()
    schedule = Lifelong.model_validate(LIFELONG)
    orders = chain_orders(schedule, edits, 0)
    applied = [what for kind, what in SEEN if kind == "tell"]
    assert applied[-4:] == [orders[0][:2], orders[0], orders[1][:2], orders[1]]
    assert [len(what) for what in applied[:-4]] == [1, 1]
    rows = [row for row in read_rows(folder) if row.phase == "after"]
    assert {(row.order, row.checkpoint) for row in rows} == {(None, 1), (0, 2), (0, 3), (1, 2), (1, 3)}
    for row in rows:
        if row.order is not None:
            place = [edit.id for edit in orders[row.order]].index(row.edit_id)
            assert row.age == row.checkpoint - 1 - place
        if row.tf is not None and row.trace is not None:
            new = next(edit.new_answer.text for edit in edits if edit.id == row.edit_id)
            assert row.trace.answer == new, "no later edit undoes an earlier one"
    last = {row.step: row.is_restored_exactly for row in rows if row.checkpoint == 3}
    assert set(last.values()) == {True}


def test_a_locality_probe_of_what_another_edit_changed_is_not_held_against_a_method(
    world: Path, tmp_path: Path
) -> None:
    """The near probe of each drug asks for another drug, and in the end all of them are edited."""
    summary = start_run(recipe(world, methods=["tell"]), tmp_path / "run").summary
    near = summary.find("independence_text", "near", method="tell", checkpoint=3)
    assert near is not None
    assert (near.value, near.n) == (None, 0)
    assert near.unscored_reasons == {"another edit in force decides the answer": near.num_unscored}
    alone = summary.find("independence_text", "near", method="tell", checkpoint=1)
    assert alone is not None
    assert alone.n == 2


def test_a_sequential_run_is_one_group_however_many_edits_were_in_force(world: Path, tmp_path: Path) -> None:
    summary = start_run(recipe(world, schedule={"name": "sequential", "gap": 1, "orders": 1}), tmp_path / "run").summary
    assert {(score.schedule, score.checkpoint) for score in summary.scores} == {("sequential", 3)}
    exact = summary.find("answer", "exact", method="tell")
    assert exact is not None
    assert (exact.value, exact.n) == (1.0, 2)
    assert Sequential().gap == 10


def test_the_summary_follows_scores_over_checkpoints_orders_and_ages(world: Path, tmp_path: Path) -> None:
    def value(summary: Summary, metric: str, stratum: str = "all", level: str = "exact") -> float | None:
        score = summary.find(metric, level, method="none", stratum=stratum, checkpoint=3)
        assert score is not None, metric
        return score.value

    summary = start_run(recipe(world), tmp_path / "run").summary
    assert value(summary, "answer_order_sd") == 0
    half = summary.find("answer_half_at", "exact", method="tell", checkpoint=3)
    assert half is not None
    assert (half.value, half.reason) == (None, "never below half up to checkpoint 3 (1)")
    ages = {score.stratum for score in summary.scores if score.checkpoint == 3 and score.stratum.startswith("age:")}
    assert ages <= {"age:0", "age:1-9"}
    assert value(summary, "answer", "order:0") == 0
    growth = summary.find("side_effect_growth_text", "far", method="tell", checkpoint=3)
    assert growth is not None
    assert growth.value == 0


@pytest.mark.parametrize("method", ["none", "tell", "prompt"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_cut_anywhere_and_resumed_equals_an_uninterrupted_one(
    world: Path, tmp_path: Path, method: str, seed: int
) -> None:
    whole = start_run(recipe(world, methods=[method]), tmp_path / "whole").folder
    steps = (whole / STEPS_FILE).read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / STEPS_FILE).write_bytes(b"".join(steps[: random.Random(seed).randrange(3, len(steps))]))
    rows = (cut / ROWS_FILE).read_bytes()
    Path(cut / "summary.json").unlink()
    _cut_data(cut)
    assert len((cut / ROWS_FILE).read_bytes()) < len(rows)
    resume_run(cut)
    assert timeless(cut) == timeless(whole)


def _cut_data(folder: Path) -> None:
    last = json.loads((folder / STEPS_FILE).read_bytes().splitlines()[-1])
    for name, end in last["ends"].items():
        os.truncate(folder / name, end)


#: Children start from a process that has imported much and done nothing: threads of a store do not survive a fork.
_fresh = multiprocessing.get_context("forkserver")
_fresh.set_forkserver_preload(["reground.runner.run", "reground.models.hf.adapter"])


def _die_on_the_way(
    environment: dict[str, str], function: Callable[..., object], arguments: tuple[Any, ...], num_steps: int
) -> None:
    os.environ.update(environment)
    stance.RuleStanceReader = scripted_world.PlainReader  # type: ignore[misc, assignment]
    append, left = Journal.append, num_steps

    def dying(self: Journal, *arguments: Any) -> None:
        nonlocal left
        append(self, *arguments)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append = dying  # type: ignore[method-assign]
    function(*arguments, executor=InlineExecutor(state_every_s=0))


def _killed(function: Callable[..., object], arguments: tuple[Any, ...], num_steps: int) -> None:
    """Start or resume a run in a process that is killed by SIGKILL once it has written so many steps."""
    child = _fresh.Process(target=_die_on_the_way, args=(dict(os.environ), function, arguments, num_steps))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


TINY_PROTOCOL = {"belief_samples": 1, "bootstrap_resamples": 0, "max_new_tokens": 4}


def write_tiny_benchmark(folder: Path, edits: list[Edit], other_image: str) -> None:
    folder.mkdir()
    write_records(folder / "edits.jsonl", edits)
    write_records(folder / "probes.jsonl", [probe for edit in edits for probe in probes_of(edit, other_image)])


@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_chain_on_a_model_with_weights_goes_on_after_kill_9_as_if_it_had_not_been(
    tmp_path: Path,
    tiny_folders: dict[str, Path],
    tiny_edits: list[Edit],
    tiny_images: list[str],
    fitted: Callable[[str, str], Path],
    method: str,
) -> None:
    """Cut twice, each time in the middle of the chain, with a state written after every edit."""
    write_tiny_benchmark(tmp_path / "tiny", four_edits(method, tiny_edits), tiny_images[3])
    chosen = recipe(
        tmp_path / "tiny",
        model=f"hf:{tiny_folders['idefics3']}",
        methods={method: settings_of(method, "idefics3", fitted)},
        schedule={"name": "sequential", "gap": 1, "orders": 2},
        protocol=TINY_PROTOCOL,
    )
    cut, draw = tmp_path / "cut", random.Random(method)
    _killed(start_run, (chosen, cut), draw.randrange(4, 7))
    _killed(resume_run, (cut,), draw.randrange(1, 3))
    kept = [len(list(chain.iterdir())) for chain in (cut / STATES_FOLDER).glob("*")]
    assert all(number <= 2 for number in kept), "a bounded number of states is kept"
    resumed = resume_run(cut, executor=InlineExecutor(state_every_s=0))
    whole = start_run(chosen, tmp_path / "whole", executor=InlineExecutor(state_every_s=0))
    assert timeless(cut) == timeless(whole.folder)
    assert resumed.num_failed_steps == whole.num_failed_steps == 0
    assert not (cut / STATES_FOLDER).exists()


def test_a_damaged_state_is_passed_over_and_the_edits_are_made_again(
    world: Path, tmp_path: Path, tiny_folders: dict[str, Path]
) -> None:
    chosen = recipe(
        world,
        model=f"hf:{tiny_folders['idefics3']}",
        methods={"ft": {"num_steps": 2, "learning_rate": 1e-2}},
        schedule={"name": "sequential", "gap": 1, "orders": 1},
        protocol=TINY_PROTOCOL,
    )
    whole = start_run(chosen, tmp_path / "whole").folder
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    steps = (cut / STEPS_FILE).read_bytes().splitlines(keepends=True)
    (cut / STEPS_FILE).write_bytes(b"".join(steps[:-1]))
    _cut_data(cut)
    (cut / STATES_FOLDER / "ft-0" / "2").mkdir(parents=True)
    resume_run(cut)
    assert timeless(cut) == timeless(whole)


def _load() -> Any:
    return scripted_world.load_editable("scripted:editable")


class _Killing(LocalExecutor):
    """Kills one of its workers once the first steps of a method are in the journal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(2)
        self._folder, self.has_killed = folder, False

    def _hear(self, worker: Any, feed: Any) -> None:
        super()._hear(worker, feed)
        is_time = any(row.method != REFERENCE for row in read_rows(self._folder))
        if is_time and worker.unit is not None and not self.has_killed:
            self.has_killed = True
            os.kill(worker.process.pid, signal.SIGKILL)


def test_two_worker_processes_leave_the_same_rows_as_one_and_lose_none_when_one_is_killed(
    world: Path, tmp_path: Path
) -> None:
    chosen = recipe(world, methods=["none", "prompt"])
    alone = start_run(chosen, tmp_path / "alone", load=_load).folder
    executor = _Killing(tmp_path / "shared")
    shared = start_run(chosen, tmp_path / "shared", load=_load, executor=executor)
    assert executor.has_killed
    assert timeless(shared.folder) == timeless(alone)
    assert executor.process_ids == []


def _dies() -> Any:
    if os.environ["REGROUND_TEST_PARENT"] != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return _load()


def test_a_run_whose_workers_all_die_is_given_up_with_its_rows_kept(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROUND_TEST_PARENT", str(os.getpid()))
    folder = tmp_path / "run"
    with pytest.raises(WorkerError, match="was lost 3 times, last: it ended by signal 9"):
        start_run(recipe(world, methods=["prompt"]), folder, load=_dies, executor=LocalExecutor(2))
    resume_run(folder, load=_load)
    alone = start_run(recipe(world, methods=["prompt"]), tmp_path / "alone", load=_load).folder
    assert timeless(folder) == timeless(alone)


def _refuses() -> Any:
    from reground.errors import ModelError

    if os.environ.get("REGROUND_TEST_PARENT") != str(os.getpid()):
        raise ModelError("the weights are gone.", "weights", "fetch them.")
    return _load()


def test_what_stops_a_worker_is_said_as_if_it_had_happened_here(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reground.errors import ModelError

    monkeypatch.setenv("REGROUND_TEST_PARENT", str(os.getpid()))
    with pytest.raises(ModelError, match="the weights are gone"):
        start_run(recipe(world, methods=["none"]), tmp_path / "run", load=_refuses, executor=LocalExecutor(1))


@pytest.mark.slow
def test_a_ray_cluster_leaves_the_same_rows_and_loses_none_when_a_worker_is_killed(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' lifts this")
    from reground.runner.executors.ray import RayExecutor

    folders = [Path(__file__).parent, Path(__file__).parents[1], os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    class Killing(RayExecutor):
        has_killed = False

        def _hear(self, actor: Any, feed: Any) -> None:
            super()._hear(actor, feed)
            if not self.has_killed and actor.unit is not None and actor.unit.steps[0].method != REFERENCE:
                type(self).has_killed = True
                ray.kill(actor.handle)
                time.sleep(1)

    chosen = recipe(world, methods=["none", "prompt"])
    alone = start_run(chosen, tmp_path / "alone", load=_load).folder
    shared = start_run(chosen, tmp_path / "shared", load=_load, executor=Killing(2))
    assert Killing.has_killed
    assert timeless(shared.folder) == timeless(alone)
    assert not ray.is_initialized()


def test_workers_that_are_done_end_by_themselves(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is ended by a signal cleans up nothing behind it."""
    ended: list[str] = []
    end = local_executor._Process.end
    monkeypatch.setattr(local_executor._Process, "end", lambda worker: ended.append(end(worker)) or ended[-1])
    start_run(recipe(world, methods=["none"]), tmp_path / "run", load=_load, executor=LocalExecutor(2))
    assert ended == ["it ended with code 0"] * 2


def test_executors_are_opened_by_name() -> None:
    from reground.errors import InputError, UnknownNameError
    from reground.runner.executors.registry import open_executor

    assert isinstance(open_executor("local", 1), InlineExecutor)
    assert isinstance(open_executor("local", 2), LocalExecutor)
    with pytest.raises(UnknownNameError, match="local, ray"):
        open_executor("lokal", 1)
    with pytest.raises(InputError, match="at least one"):
        open_executor("local", 0)


def test_what_loads_a_model_can_be_sent_to_another_process(world: Path) -> None:
    load = pickle.loads(pickle.dumps(loader_of(recipe(world, methods=["none"]))))
    assert isinstance(load(), Model)
