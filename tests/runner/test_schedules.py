"""In which order edits come, which are probed when, and how old they are then."""

from __future__ import annotations

import pytest
from scripted_world import make_edits

from reground.edits.records import Answer, Edit
from reground.errors import RecipeError
from reground.runner.recipe import load_recipe
from reground.runner.schedules import Lifelong, Sequential, chain_orders, chain_steps, probed_edits, schedule_steps


def edits(count: int) -> list[Edit]:
    (first, *_) = make_edits()
    return [first.model_copy(update={"new_answer": Answer(text=f"drug {number}")}) for number in range(count)]


def test_a_sequential_chain_probes_each_edit_once_after_the_gap() -> None:
    chain = edits(5)
    steps = chain_steps(Sequential(gap=2), "ft", 0, chain, seed=0)
    assert [step.added for step in steps] == [(edit,) for edit in chain]
    assert [[(one.edit, one.age) for one in step.probed] for step in steps] == [
        [],
        [],
        [(chain[0], 2)],
        [(chain[1], 2)],
        [(chain[2], 2)],
    ]
    assert [step.num_applied for step in steps] == [1, 2, 3, 4, 5]
    assert [step.is_last for step in steps] == [False] * 4 + [True]


def test_without_a_gap_every_edit_is_probed_at_once() -> None:
    steps = chain_steps(Sequential(gap=0), "ft", 0, edits(3), seed=0)
    assert [[one.age for one in step.probed] for step in steps] == [[0], [0], [0]]


def test_a_gap_as_long_as_the_chain_leaves_nothing_to_do() -> None:
    assert chain_steps(Sequential(gap=3), "ft", 0, edits(3), seed=0) == []


def test_lifelong_probes_a_sample_of_all_edits_so_far_at_each_checkpoint() -> None:
    schedule = Lifelong(checkpoints=(1, 4, 10), sample=3, orders=1)
    chain = edits(12)
    steps = chain_steps(schedule, "ft", 0, chain, seed=0)
    assert {step.num_applied: len(step.probed) for step in steps if step.probed} == {4: 3, 10: 3, 12: 3}
    assert [step.checkpoint for step in steps] == [4] * 4 + [10] * 6 + [12] * 2
    place = {edit.id: number for number, edit in enumerate(chain)}
    for step in steps:
        for one in step.probed:
            assert one.age == step.num_applied - 1 - place[one.edit.id] >= 0


def test_an_edit_in_a_sample_was_in_that_of_every_earlier_checkpoint_it_had_been_applied_at() -> None:
    schedule = Lifelong(checkpoints=(5, 20, 60), sample=6, orders=1)
    chain = edits(100)
    place = {edit.id: number for number, edit in enumerate(chain)}
    samples = {
        step.num_applied: {one.edit.id for one in step.probed}
        for step in chain_steps(schedule, "ft", 0, chain, seed=3)
        if step.probed
    }
    points = sorted(samples)
    for number, later in enumerate(points):
        for earlier in points[:number]:
            assert {edit for edit in samples[later] if place[edit] < earlier} <= samples[earlier]


def test_a_method_that_starts_anew_has_steps_only_where_probes_are_put() -> None:
    schedule = Lifelong(checkpoints=(2, 4), sample=9, orders=1)
    chain = edits(5)
    steps = chain_steps(schedule, "prompt", 0, chain, seed=0, is_anew=True)
    assert [step.added for step in steps] == [tuple(chain[:2]), tuple(chain[2:4]), tuple(chain[4:])]
    assert [step.num_applied for step in steps] == [2, 4, 5]


def test_checkpoint_1_is_measured_on_edits_that_stand_alone() -> None:
    schedule = Lifelong(checkpoints=(1, 3), sample=2, orders=2)
    steps = schedule_steps(schedule, ["ft"], edits(4), seed=0)
    alone = [step for step in steps if step.order is None]
    assert [step.index for step in steps] == list(range(len(steps)))
    assert len(alone) == 2
    last = {step.order: {one.edit.id for one in step.probed} for step in steps if step.is_last}
    assert last == {0: {step.edit.id for step in alone}, 1: {step.edit.id for step in alone}}


def test_orders_differ_and_repeat() -> None:
    schedule, some = Lifelong(orders=3), edits(20)
    orders = chain_orders(schedule, some, seed=1)
    assert len(set(orders)) == 3
    assert all(sorted(edit.id for edit in order) == sorted(edit.id for edit in some) for order in orders)
    assert orders == chain_orders(schedule, some, seed=1)
    assert orders != chain_orders(schedule, some, seed=2)


def test_only_edits_that_are_probed_are_asked_about() -> None:
    some = edits(30)
    assert probed_edits("single", some, 0) == some
    asked = probed_edits(Lifelong(checkpoints=(1, 10), sample=2, orders=1), some, 0)
    assert 2 <= len(asked) <= 4
    assert [edit for edit in some if edit in asked] == asked


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["schedule=weekly"], "single, sequential or lifelong"),
        (["schedule.name=lifelong", "schedule.checkpoints=[5,1]"], "checkpoints that rise"),
        (["schedule.name=sequential", "schedule.gap=-1"], "in gap, a number of at least 0"),
        (["schedule.name=sequential", "schedule.sample=3"], "a schedule with the keys name, gap, orders"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(given: list[str], says: str) -> None:
    start = [] if given[0] == "schedule=weekly" else ["schedule={}"]
    with pytest.raises(RecipeError, match=says):
        load_recipe("quickstart", [*start, *given])
