"""What every registered benchmark keeps, so that a run of it means something and can be had again."""

from __future__ import annotations

import re

import pytest

from reground.benchmarks.base import Benchmark, Card, TagsEdits
from reground.benchmarks.registry import BENCHMARKS, open_benchmark
from reground.benchmarks.rules import edit_misfits, probe_misfits
from reground.edits.images import open_image
from reground.edits.records import Edit, Probe
from reground.errors import InputError
from reground.models.base import Query
from reground.models.prompts import prompt_text

NAMES = sorted(BENCHMARKS)


@pytest.fixture(scope="module", params=NAMES)
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    return open_benchmark(request.param)


@pytest.fixture(scope="module")
def card(benchmark: Benchmark) -> Card:
    return benchmark.card()


@pytest.fixture(scope="module")
def sample(benchmark: Benchmark, card: Card) -> tuple[Edit, ...]:
    return tuple(benchmark.edits(card.splits[0], 40, 1))


def test_the_card_counts_its_edits_and_names_their_levels(
    benchmark: Benchmark, card: Card, sample: tuple[Edit, ...]
) -> None:
    assert card.name in NAMES
    assert re.fullmatch(r"[0-9a-f]{64}", card.checksum)
    assert card.source and card.licence and card.known_defects
    for split in card.splits:
        assert len(benchmark.edits(split)) == card.counts[f"edits.{split}"] > 0
    levels = {probe.level for edit in sample for probe in benchmark.probes(edit)}
    assert levels <= set(card.levels)


def test_the_same_arguments_give_the_same_records(benchmark: Benchmark, card: Card, sample: tuple[Edit, ...]) -> None:
    again, split = open_benchmark(card.name), card.splits[0]
    assert tuple(again.edits(split, 40, 1)) == sample
    assert tuple(benchmark.edits(split, 40, 2)) != sample
    for edit in sample[:10]:
        assert tuple(again.probes(edit)) == tuple(benchmark.probes(edit))
    assert len({edit.id for edit in benchmark.edits(split)}) == len(benchmark.edits(split))


def test_records_keep_the_rules_and_survive_a_round_trip(benchmark: Benchmark, sample: tuple[Edit, ...]) -> None:
    for edit in sample:
        assert Edit.model_validate_json(edit.model_dump_json()) == edit
        assert not list(edit_misfits(edit))
        probes = benchmark.probes(edit)
        assert len({probe.id for probe in probes}) == len(probes)
        assert {"reliability", "generality"} <= {probe.kind for probe in probes}
        for probe in probes:
            assert probe.edit_id == edit.id
            assert Probe.model_validate_json(probe.model_dump_json()) == probe
            assert not list(probe_misfits(probe))
            assert prompt_text(Query(question=probe.question, options=probe.options))


def test_images_can_be_opened(benchmark: Benchmark, sample: tuple[Edit, ...]) -> None:
    for edit in sample[:5]:
        for record in (edit, *benchmark.probes(edit)):
            if record.image is not None:
                assert len(open_image(record.image)) == len(record.image.frames)


def test_an_unknown_split_is_refused_with_the_known_ones(benchmark: Benchmark, card: Card) -> None:
    with pytest.raises(InputError) as caught:
        benchmark.edits("no-such-split")
    assert card.splits[0] in caught.value.accepted


def test_tags_have_an_axis_and_at_most_one_value_on_it(benchmark: Benchmark, sample: tuple[Edit, ...]) -> None:
    if not isinstance(benchmark, TagsEdits):
        pytest.skip("it has no tags; a benchmark with a method `tags` is checked")
    for edit in sample:
        tags = [tag.split(":") for tag in benchmark.tags(edit, "phantom-med")]
        assert all(len(parts) == 2 and all(parts) for parts in tags)
        assert len({axis for axis, _ in tags}) == len(tags)
