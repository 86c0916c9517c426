"""The MultiMed suite on the built-in clinic."""

from collections import Counter

import pytest

from reground.benchmarks.multimed import CHECKPOINTS, MultiMedBenchmark
from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import Edit, Probe
from reground.errors import InputError
from reground.evaluation.forgetting import ForceOrder
from reground.evaluation.matching import matches
from reground.phantom.language import Claim, chain_for_path
from reground.phantom.render import uri_keys
from reground.phantom.world import finding_text, phantom_world


@pytest.fixture(scope="module")
def suite() -> MultiMedBenchmark:
    return MultiMedBenchmark()


@pytest.fixture(scope="module")
def edits(suite: MultiMedBenchmark) -> tuple[Edit, ...]:
    return tuple(suite.edits("test"))


def _tag(suite: MultiMedBenchmark, edit: Edit, axis: str, model: str = "phantom-med") -> str:
    return dict(tag.split(":") for tag in suite.tags(edit, model))[axis]


def _level(suite: MultiMedBenchmark, edit: Edit, level: str) -> Probe:
    (found,) = [probe for probe in suite.probes(edit) if probe.level == level]
    return found


def test_two_tiers_two_formats_and_one_or_two_frames(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    assert len(edits) >= CHECKPOINTS[-1]
    tiers: dict[str, set[str]] = {"understanding": set(), "reasoning": set()}
    for edit in edits:
        tiers[_tag(suite, edit, "tier")].add(edit.relation)
        assert edit.image is not None
        assert _tag(suite, edit, "frames") == str(len(edit.image.frames)) == ("2" if edit.relation == "change" else "1")
        assert _tag(suite, edit, "format") == ("multiple_choice" if edit.options else "free_text")
    assert tiers["understanding"] == {"modality", "organ", "sign", "place", "condition"}
    assert tiers["reasoning"] == {"drug", "drug_class", "referral", "change"}
    shares = [sum(bool(edit.options) for edit in edits if edit.relation == relation) for relation in tiers["reasoning"]]
    assert all(shares)


def test_subjects_are_held_out_from_what_editors_are_trained_on(edits: tuple[Edit, ...]) -> None:
    splits = phantom_world().splits
    assert {splits[_finding(edit)] for edit in edits} == {"test", "unseen"}
    clinic = PhantomBenchmark()
    trained = {edit.subject for split in ("train", "calibration") for edit in clinic.edits(split)}
    assert not trained & {edit.subject for edit in edits}


def test_a_smaller_sample_begins_a_larger_one_with_every_relation_in_its_share(
    suite: MultiMedBenchmark, edits: tuple[Edit, ...]
) -> None:
    every = Counter(edit.relation for edit in edits)
    for seed in (0, 7):
        order = suite.edits("test", None, seed)
        assert sorted(edit.id for edit in order) == sorted(edit.id for edit in edits)
        for checkpoint in CHECKPOINTS:
            beginning = suite.edits("test", checkpoint, seed)
            assert beginning == order[:checkpoint] and len(beginning) == checkpoint
            for relation, number in Counter(edit.relation for edit in beginning).items():
                assert abs(number - every[relation] * checkpoint / len(edits)) < 2
    assert suite.edits("test", 50, 0) != suite.edits("test", 50, 7)
    assert suite.edits("test", 20, 3) == MultiMedBenchmark().edits("test", 20, 3)


def test_all_edits_can_be_in_force_together(edits: tuple[Edit, ...]) -> None:
    """No two edits change the same thing, and a finding's new facts follow from its new condition."""
    changed = Counter((edit.subject, edit.relation) for edit in edits)
    assert set(changed.values()) == {1}
    new = {(edit.subject, edit.relation): _text(edit.new_answer.spellings) for edit in edits}
    for finding in {_finding(edit) for edit in edits}:
        claim = Claim("condition", finding, new[finding, "condition"])
        for relation, path in (
            ("drug", ("condition", "drug")),
            ("drug_class", ("condition", "drug", "drug_class")),
            ("referral", ("condition", "referral")),
        ):
            assert chain_for_path(finding, path, claims=[claim])[1] == new[finding, relation]
            assert chain_for_path(finding, path)[1] != new[finding, relation]


def test_no_locality_probe_asks_what_another_edit_changes(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    edited = {_asked(edit.relation, edit) for edit in edits}
    for edit in edits:
        for probe in suite.probes(edit):
            if probe.level in ("look_alike", "other_state"):
                assert _asked(edit.relation, probe) not in edited
                truth = probe.expectation.answer
                assert truth is not None and _text(truth.spellings) != _text(edit.new_answer.spellings)
                assert bool(probe.options) == bool(edit.options)
                assert not probe.options or _text(edit.new_answer.spellings) in probe.options
            elif probe.level == "other_question":
                assert probe.image is not None and probe.expectation.answer is not None
                assert uri_keys(probe.image.frames[0])["size"] == probe.expectation.answer.text


def test_a_letter_is_asked_for_and_means_the_new_answer(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        text = _text(edit.new_answer.spellings)
        for probe in suite.probes(edit):
            answer = probe.expectation.answer
            assert answer is not None
            if probe.options:
                letter = "ABCD".index(answer.text)
                assert matches(answer.text.lower(), answer, probe.options)
                assert matches(probe.options[letter], answer, probe.options)
                assert not matches("ABCD"[letter - 1], answer, probe.options)
                assert 3 <= len(probe.options) <= 4
            if not probe.is_local:
                assert _text(answer.spellings) == text
        prior = edit.prior_answer
        assert prior is not None
        assert not edit.options or edit.options["ABCD".index(prior.text)] == _text(prior.spellings)


def test_options_are_shuffled_and_both_formats_asked(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        exact = _level(suite, edit, "exact")
        assert (exact.question, exact.image, exact.options) == (edit.question, edit.image, edit.options)
        if not edit.options:
            assert _level(suite, edit, "multiple_choice").options
            continue
        shuffled = _level(suite, edit, "shuffled_options")
        assert sorted(shuffled.options) == sorted(edit.options)
        assert (shuffled.question, shuffled.image) == (exact.question, exact.image)
        assert shuffled.expectation.answer is not None
        assert shuffled.expectation.answer.text != edit.new_answer.text
        free = _level(suite, edit, "free_text")
        assert (free.question, free.image, free.options) == (exact.question, exact.image, ())


def test_another_image_shows_what_the_edit_is_about(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        for level in ("image_rephrase", "both"):
            probe = _level(suite, edit, level)
            assert probe.image is not None and edit.image is not None
            assert not set(probe.image.frames) & set(edit.image.frames)
            assert _asked(edit.relation, probe) == _asked(edit.relation, edit)


def test_frequency_follows_the_model(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    splits = phantom_world().splits
    for edit in edits:
        never = splits[_finding(edit)] == "unseen"
        assert _tag(suite, edit, "frequency") == ("never" if never else "even")
        assert not [tag for tag in suite.tags(edit, "hf:somebody/else") if tag.startswith("frequency")]
    general = Counter(_tag(suite, edit, "frequency", "phantom-general") for edit in edits)
    assert general["never"] > general["even"] > 0


def test_card_counts_what_is_there(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    card = suite.card()
    assert card.counts["edits.test"] == len(edits)
    assert card.counts["edits.test.tier.understanding"] + card.counts["edits.test.tier.reasoning"] == len(edits)
    first = Counter(_tag(suite, edit, "tier") for edit in edits[:250])
    assert card.counts["edits.first_250.understanding"] == first["understanding"]
    assert card.counts["probes.test.generality.shuffled_options"] == sum(bool(edit.options) for edit in edits)


def test_the_published_version_never_changes(suite: MultiMedBenchmark) -> None:
    """Results name this checksum; other edits or probes would have to be a version 2."""
    assert suite.card().version == "1"
    assert suite.card().checksum == "d7485d801f29bf6e50444166f738bcdbccf4a70c84d3ae722f50cdae31d863e4"


def test_another_split_is_refused(suite: MultiMedBenchmark) -> None:
    with pytest.raises(InputError, match="Accepted: test"):
        suite.edits("train")


def _finding(edit: Edit) -> str:
    assert edit.image is not None
    keys = uri_keys(edit.image.frames[0])
    return finding_text(keys["organ"], keys["sign"])


def _text(spellings: tuple[str, ...]) -> str:
    """An answer in words: what a letter stands for comes second."""
    return spellings[1] if len(spellings[0]) == 1 else spellings[0]


def _asked(relation: str, record: Edit | Probe) -> tuple[str, ...]:
    """What a question of a relation about a record's image is about, read off the image."""
    assert record.image is not None
    keys = [uri_keys(frame) for frame in record.image.frames]
    about = {"modality": ("modality",), "place": ("place",), "change": ("size",)}.get(relation, ())
    return (relation, keys[0]["organ"], keys[0]["sign"], *(key[name] for key in keys for name in about))


def test_no_edit_decides_a_probe_of_another(suite: MultiMedBenchmark, edits: tuple[Edit, ...]) -> None:
    """The suite vouches for it, and a chain then does without the probes of edits that it asks nothing about."""
    assert suite.keeps_apart()
    probes = [probe for edit in edits for probe in suite.probes(edit)]
    ids = [edit.id for edit in edits]
    order = ForceOrder({edit.id: edit for edit in edits}, probes, [ids, ids[::-1]])
    decided = [probe for probe in probes for way in (0, 1) if order.is_decided_by_another(probe, way, len(ids))]
    assert not decided
