"""MultiMedBench's own records: lettered options, one image, several frames or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import med_record, write_json
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits


def test_the_target_is_a_letter_and_its_text_counts(tmp_path: Path) -> None:
    path = write_json(tmp_path / "filtered_data.json", [med_record()])
    benchmark = open_benchmark(f"multimedbench:{path}", str(tmp_path / "images"))
    (edit,) = benchmark.edits("test")
    assert edit.new_answer.spellings == ("B", "a cleft")
    assert edit.options == ("a ring", "a cleft", "a band")
    assert edit.image is not None
    assert edit.image.frames == ("a_1.jpg", "a_2.jpg")
    asked = benchmark.probes(edit)
    assert [(probe.kind, probe.level, len(probe.options)) for probe in asked] == [
        ("reliability", "exact", 3),
        ("generality", "text_rephrase", 3),
        ("text_locality", "natural_questions", 0),
        ("image_locality", "vqav2", 0),
    ]
    assert asked[-1].image is not None
    assert asked[-1].image.folder == str(tmp_path / "images")
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_a_record_without_images_is_a_textual_edit(tmp_path: Path) -> None:
    path = write_json(tmp_path / "filtered_data.json", [med_record(images=[])])
    benchmark = open_benchmark(f"multimedbench:{path}")
    (edit,) = benchmark.edits("test")
    assert edit.modality == "textual"
    asked = benchmark.probes(edit)[-1].image
    assert asked is not None
    assert asked.folder == str(tmp_path)


def test_the_tier_is_told_by_the_place_in_the_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "filtered_data.json", [med_record(id=number) for number in range(1356)])
    edits = open_benchmark(f"multimedbench:{path}").edits("test")
    assert [edit.relation for edit in edits].index("reasoning") == 1355


def test_the_rewording_is_read_in_both_spellings(tmp_path: Path) -> None:
    record = med_record()
    record["rephrase_question"] = record.pop("rephase_question")
    found = scan_published("multimedbench", write_json(tmp_path / "filtered_data.json", [record]))
    assert (len(found.items), found.reading.errors) == (1, [])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"label_ans": "D"}, "label_ans is the letter"),
        ({"options": {"A": "a ring", "C": "a cleft"}}, "without a gap"),
        ({"options": {"A": "a ring"}}, "at least 2"),
        ({"label_ans": " "}, "form"),
    ],
)
def test_letters_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    found = scan_published("multimedbench", write_json(tmp_path / "filtered_data.json", [med_record(**changes)]))
    assert [problem in error.accepted for error in found.reading.errors] == [True], found.reading.errors
