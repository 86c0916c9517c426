"""The ReasonEdit suite on the built-in clinic."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reground.benchmarks.reasonedit import ReasonEditBenchmark
from reground.benchmarks.reasonedit_edits import SPLITS, answer_as_written
from reground.benchmarks.reasonedit_probes import MAX_HOPS
from reground.benchmarks.rules import edit_misfits, probe_misfits
from reground.edits.images import open_image
from reground.edits.records import Edit, Probe
from reground.errors import InputError
from reground.evaluation.matching import names
from reground.phantom.language import PATHS
from reground.phantom.world import RELATIONS, phantom_world


@pytest.fixture(scope="module")
def suite() -> ReasonEditBenchmark:
    return ReasonEditBenchmark()


@pytest.fixture(scope="module")
def asked(suite: ReasonEditBenchmark) -> Callable[[str], list[tuple[Edit, tuple[Probe, ...]]]]:
    """The edits of a split with their probes, written once."""
    found: dict[str, list[tuple[Edit, tuple[Probe, ...]]]] = {}

    def of_split(split: str) -> list[tuple[Edit, tuple[Probe, ...]]]:
        if split not in found:
            found[split] = [(edit, tuple(suite.probes(edit))) for edit in suite.edits(split)]
        return found[split]

    return of_split


Asked = Callable[[str], list[tuple[Edit, tuple[Probe, ...]]]]


def test_at_least_600_edits_over_held_out_subjects(suite: ReasonEditBenchmark) -> None:
    edits = suite.edits("test")
    assert len(edits) >= 600
    assert {edit.modality for edit in edits} == {"visual", "textual"}
    splits = phantom_world().splits
    for split in SPLITS:
        held_out = {splits[edit.subject] for edit in suite.edits(split)}
        assert held_out == {"unseen" if split == "unseen" else "test"}, split


def test_no_two_records_share_an_id(suite: ReasonEditBenchmark, asked: Asked) -> None:
    every = [pair for split in SPLITS for pair in asked(split)]
    edit_ids = [edit.id for edit, _ in every]
    probe_ids = [probe.id for _, probes in every for probe in probes]
    assert len(set(edit_ids)) == len(edit_ids)
    assert len(set(probe_ids)) == len(probe_ids)


def test_every_record_keeps_the_rules(asked: Asked) -> None:
    for split in SPLITS:
        for edit, probes in asked(split):
            assert not list(edit_misfits(edit))
            assert probes
            for probe in probes:
                assert probe.edit_id == edit.id
                assert not list(probe_misfits(probe))


def test_hops_have_the_edit_at_every_place(asked: Asked) -> None:
    levels = {probe.level for _, probes in asked("test") for probe in probes if probe.kind == "portability"}
    places = {1: ("first", "last")} | dict.fromkeys(range(2, MAX_HOPS + 1), ("first", "middle", "last"))
    assert levels == {f"hop{number}.{place}" for number, of_number in places.items() for place in of_number}


def _follow(edits: list[Edit], start: str, path: tuple[str, ...]) -> list[str]:
    """What a path of facts passes when some of them have been edited; the last edit of a fact wins."""
    passed = []
    for relation in path:
        made = [e for e in edits if (e.relation, e.subject) == (relation, start)]
        if made:
            start = made[-1].new_answer.text
        elif relation != "name":
            start = phantom_world().value(relation, start)
        passed.append(start)
    return passed


@pytest.mark.parametrize("split", ["test", "unseen", "composed", "corrected", "withdrawn"])
def test_a_hop_follows_from_the_edits_and_from_nothing_less(
    suite: ReasonEditBenchmark, asked: Asked, split: str
) -> None:
    """Each chain, walked over again from the facts of the clinic; one edit in ten."""
    branches = [("name", *path) if path[:1] in (("maker",), ("mri_status",)) else path for path in PATHS.values()]
    num_walked = 0
    for edit, probes in asked(split)[::10]:
        made = [*suite.companions(edit), edit]
        for probe in (probe for probe in probes if probe.kind == "portability"):
            assert probe.expectation.answer is not None
            stated = [*(entity.text for entity in probe.intermediates), probe.expectation.answer.text]
            assert probe.level.startswith(f"hop{len(stated) - 1}."), "each hop lists its intermediate entity"
            ways = {
                (start, branch[first : first + len(stated)])
                for branch in branches
                for first in range(len(branch) - len(stated) + 1)
                for start in _subjects(branch[first])
                if edit.relation in (path := branch[first : first + len(stated)])
                and _follow(made, start, path) == stated
                and (start, *stated)[path.index(edit.relation)] == edit.subject
            }
            assert ways, (edit.statement, probe.question)
            start, path = next(iter(sorted(ways)))
            place = path.index(edit.relation)
            expected = "first" if place == 0 else "last" if place == len(path) - 1 else "middle"
            assert probe.level.endswith("composed" if split == "composed" else expected)
            assert _follow(made[:-1], start, path)[-1] != stated[-1], "right without the edit"
            if split == "composed":
                assert _follow(made[1:], start, path)[-1] != stated[-1], "right without the companion"
            num_walked += 1
    assert num_walked > 15


def _subjects(relation: str) -> tuple[str, ...]:
    return tuple(phantom_world().devices) if relation == "name" else phantom_world().members(relation)


def test_a_correction_and_a_withdrawal_overrule_their_companion(suite: ReasonEditBenchmark) -> None:
    for split in ("corrected", "withdrawn"):
        for edit in suite.edits(split):
            (earlier,) = suite.companions(edit)
            assert (earlier.subject, earlier.relation) == (edit.subject, edit.relation)
            assert edit.prior_answer == earlier.new_answer
            assert earlier.prior_answer is not None
            assert (edit.new_answer == earlier.prior_answer) == (split == "withdrawn")


def test_a_composed_edit_is_visual_and_its_companion_goes_on_from_it(suite: ReasonEditBenchmark) -> None:
    for edit in suite.edits("composed"):
        (companion,) = suite.companions(edit)
        assert (edit.modality, companion.modality) == ("visual", "textual")
        assert companion.subject == edit.new_answer.text


def test_plain_edits_and_controls_stand_alone(suite: ReasonEditBenchmark) -> None:
    for split in ("test", "unseen", "wrong_fact", "irrelevant_fact"):
        assert not any(suite.companions(edit) for edit in suite.edits(split))


def test_a_control_card_is_about_another_subject_than_its_questions(suite: ReasonEditBenchmark, asked: Asked) -> None:
    of_id = {edit.id: edit for edit in suite.edits("test")}
    for split, distance in (("wrong_fact", "near"), ("irrelevant_fact", "far")):
        facts = set()
        for card, probes in asked(split):
            edit = of_id[card.source.removeprefix("control for ")]
            facts.add((edit.relation, edit.subject))
            assert card.subject != edit.subject
            assert (card.relation == edit.relation) == (split == "wrong_fact")
            assert {probe.question for probe in probes} >= {edit.question}
            for probe in probes:
                assert (probe.level, probe.distance) == (split, distance)
                assert probe.expectation.answer == edit.prior_answer
                assert card.new_answer != edit.prior_answer, "a leak would pass for the truth"
        assert facts == {(edit.relation, edit.subject) for edit in of_id.values()}, "one control for every fact"


def test_a_claim_of_the_user_is_false_and_not_about_the_edit(asked: Asked) -> None:
    for edit, probes in asked("test"):
        (probe,) = [probe for probe in probes if probe.level == "unsanctioned_claim"]
        assert probe.expectation.answer is not None
        claim = probe.question.split(". ")[0]
        assert edit.subject not in claim.lower()
        assert not names(claim, probe.expectation.answer) or edit.relation == "name", "a device is named to be renamed"
        assert (probe.image is not None) == (edit.modality == "visual")


def test_near_and_far_for_text_and_image_follow_every_plain_edit(asked: Asked) -> None:
    for _, probes in asked("test"):
        kinds = {(probe.kind, probe.distance) for probe in probes if probe.level != "unsanctioned_claim"}
        assert {
            (kind, distance) for kind in ("text_locality", "image_locality") for distance in ("near", "far")
        } <= kinds


def test_aliases_are_spellings_one_can_know() -> None:
    world = phantom_world()
    device, drug_class = next(iter(world.devices)), world.objects("drug_class")[0]
    assert names(f"two {device}{'es' if device.endswith('x') else 's'}", answer_as_written(device))
    assert names(f"the {drug_class}s", answer_as_written(drug_class))
    assert names("orthopaedics", answer_as_written("orthopedics"))
    condition = world.value("condition", "ring in the kidney")
    assert answer_as_written(condition).aliases == ()
    # what needs no alias: case, an article, a company after the name
    maker = world.objects("maker")[0]
    assert names(f"The {maker.upper()} company's own", answer_as_written(maker))


def test_a_sample_takes_every_kind_in_turn_and_depends_on_its_seed_alone(suite: ReasonEditBenchmark) -> None:
    again = ReasonEditBenchmark()
    assert suite.edits("test", 40, 1) == again.edits("test", 40, 1)
    assert suite.edits("test", 40, 1) != again.edits("test", 40, 2)
    assert {edit.relation for edit in suite.edits("test", 40, 1)} == {*RELATIONS, "name"}
    assert len(suite.edits("test", 10_000, 1)) == len(suite.edits("test"))


def test_images_can_be_opened_and_are_known(suite: ReasonEditBenchmark) -> None:
    for edit in suite.edits("test", 4, 0):
        for probe in suite.probes(edit):
            if probe.image is not None:
                assert all(frame.size == (64, 64) for frame in open_image(probe.image))
        assert edit.image is not None
        assert suite.shown(edit.image) == {edit.subject}


def test_card_counts_what_is_there(suite: ReasonEditBenchmark, asked: Asked) -> None:
    card = suite.card()
    assert card.splits == SPLITS
    for split in SPLITS:
        assert card.counts[f"edits.{split}"] == len(asked(split))
        assert card.counts[f"probes.{split}"] == sum(len(probes) for _, probes in asked(split))
    assert card.checksum == CHECKSUM, "corrected data are a new version"


#: Of version 1. A change of any edit, companion or probe changes it.
CHECKSUM = "15eafc0a5b5fb6f13ff3850ba50bccecb18214a2e7809bd1a9da7b2c04909fa1"


def test_what_is_not_there_is_refused(suite: ReasonEditBenchmark) -> None:
    with pytest.raises(InputError, match="did you mean 'composed'"):
        suite.edits("compose")
    (edit,) = suite.edits("test", 1)
    with pytest.raises(InputError, match="not in it"):
        suite.probes(edit.model_copy(update={"split": "train"}))
