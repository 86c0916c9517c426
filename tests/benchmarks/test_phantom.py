"""The benchmark on the built-in clinic."""

import pytest

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.images import open_image
from reground.errors import InputError

SAMPLED = ["ec8b8e1099dfd", "ee06c0471769c", "ec1f25fd11a53", "e374218f974f2", "eba21cb300814", "e685342c7663c"]


@pytest.fixture(scope="module")
def benchmark() -> PhantomBenchmark:
    return PhantomBenchmark()


def test_every_kind_of_probe_occurs_near_and_far(benchmark: PhantomBenchmark) -> None:
    edits = benchmark.edits("test", 48, 0)
    probes = [probe for edit in edits for probe in benchmark.probes(edit)]
    kinds = {(p.kind, p.distance) for p in probes}
    assert kinds == {
        ("reliability", None), ("generality", None), ("portability", None),
        ("text_locality", "near"), ("text_locality", "far"), ("image_locality", "near"), ("image_locality", "far"),
    }  # fmt: skip
    assert {"exact", "text_rephrase", "image_rephrase", "both", "hop1", "hop2", "hop3", "hop4"} <= {
        p.level for p in probes
    }
    assert {edit.modality for edit in edits} == {"visual", "textual"}


def test_a_sample_depends_on_its_seed_alone(benchmark: PhantomBenchmark) -> None:
    again = PhantomBenchmark()
    assert benchmark.edits("test", 20, 3) == again.edits("test", 20, 3)
    assert benchmark.edits("test", 20, 3) != benchmark.edits("test", 20, 4)
    edit = benchmark.edits("test", 1, 3)[0]
    assert benchmark.probes(edit) == again.probes(edit)


def test_subjects_of_splits_do_not_meet(benchmark: PhantomBenchmark) -> None:
    subjects = {
        split: {e.subject for e in benchmark.edits(split)} for split in ("test", "train", "calibration", "unseen")
    }
    for a in subjects:
        for b in subjects:
            assert a == b or not subjects[a] & subjects[b]


def test_an_edit_changes_something_and_its_probes_need_it(benchmark: PhantomBenchmark) -> None:
    for edit in benchmark.edits("test"):
        assert edit.prior_answer is not None and edit.new_answer.text != edit.prior_answer.text
        for probe in benchmark.probes(edit):
            assert probe.expectation.answer is not None
            if probe.is_local:
                # a locality probe whose truth is the new answer could not show a leak
                assert (
                    probe.expectation.answer.text != edit.new_answer.text
                    or probe.distance == "far"
                    or probe.level == "other_relation"
                )


def test_images_can_be_opened(benchmark: PhantomBenchmark) -> None:
    edit = benchmark.edits("test", 1, 0)[0]
    for probe in benchmark.probes(edit):
        if probe.image:
            assert all(frame.size == (64, 64) for frame in open_image(probe.image))


def test_card_counts_what_is_there(benchmark: PhantomBenchmark) -> None:
    card = benchmark.card()
    assert card.counts["edits.test"] == len(benchmark.edits("test"))
    assert card.counts["conditions"] >= 150 and card.counts["devices"] >= 150


def test_the_published_version_never_changes(benchmark: PhantomBenchmark) -> None:
    """Results name this checksum; other edits or probes would have to be a version 2."""
    card = benchmark.card()
    assert card.version == "1"
    assert card.checksum == "d1959f15bed6155a6897908df416c9d4278b22eeb762242f13af402092fe97b9"
    chosen = [edit.id for edit in benchmark.edits("test", 6, 0)]
    assert chosen == SAMPLED, "a sample of a published version does not change either"


def test_an_unknown_split_is_named_with_the_known_ones(benchmark: PhantomBenchmark) -> None:
    with pytest.raises(InputError, match="Accepted: test, calibration, train, unseen"):
        benchmark.edits("validation")
